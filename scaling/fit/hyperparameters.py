"""The best learning rate and batch as power laws of size and data, from runs that vary them.

    lr      eta = c N^p D^q         Step Law (2503.04715) has 1.79 N^-0.713 D^0.307
    batch   B = c D^q               Step Law has 0.58 D^0.571, B in tokens

A cell is the runs of one (N, D). Its best value is the vertex of a parabola in the logarithm
through the lowest loss of each value tried, the other knob being free, near the least of them. A
cell whose least loss is at the end of what was tried has no optimum: it does not count. The laws
are lines through the optima in logarithms; with few of them, Student's t makes the intervals.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.laws import Estimate, Flag, LawFit
from scaling.fit.observations import Observations
from scaling.fit.uncertainty import estimate, generator, t_scale

FEWEST_VALUES = 3
FEWEST_CELLS = 3  # that could have an optimum, for a law to be tried unasked
_WINDOW = 2  # values on each side of the least that the parabola sees
_SPREAD = 0.05  # least range, as the sd of the free part of log N or log D, that shows an exponent
_WIDE = 0.5  # width of a 90% interval of an exponent that leaves the law open


@dataclass(frozen=True)
class Optimum:
    """The best value of one cell, or why it has none; the lowest loss of each value tried."""

    params: float
    tokens: float
    value: float
    tried: tuple[float, ...]
    losses: tuple[float, ...]
    reason: str | None = None

    def document(self) -> dict[str, Any]:
        """The cell as fit.json holds it."""
        return {
            "params": self.params,
            "tokens": self.tokens,
            "value": None if self.reason else self.value,
            "n_values": len(self.tried),
            "tried": list(self.tried),
            "losses": list(self.losses),
            "reason": self.reason,
        }


def fit_learning_rate(observations: Observations, resamples: int, seed: int) -> LawFit:
    """The law `lr`; refuses rather than raises."""
    return _fit_law(observations, "lr", "lr", {"p": "params", "q": "tokens"}, resamples, seed)


def fit_batch(observations: Observations, resamples: int, seed: int) -> LawFit:
    """The law `batch`, in tokens; refuses rather than raises."""
    return _fit_law(observations, "batch", "batch_tokens", {"q": "tokens"}, resamples, seed)


def varied(observations: Observations, column: str) -> bool:
    """Whether a few (N, D) were each run with values of `column` enough to show an optimum.

    Most tables have the column because each run has a rate and a batch: such runs say nothing of
    the best one, and the law is tried there only where it is asked for.
    """
    values = observations.columns.get(column)
    if values is None:
        return False
    usable = np.isfinite(values) & (values > 0)
    tried = np.column_stack([observations.params, observations.tokens, values])[usable]
    _, per_cell = np.unique(np.unique(tried, axis=0)[:, :2], axis=0, return_counts=True)
    return int((per_cell >= FEWEST_VALUES).sum()) >= FEWEST_CELLS


def optima(observations: Observations, column: str) -> list[Optimum]:
    """The best value of each cell with several of them, in order of (N, D)."""
    values = observations.columns.get(column, np.full(len(observations), np.nan))
    usable = np.isfinite(values) & (values > 0)
    cells = sorted(set(zip(observations.params[usable], observations.tokens[usable], strict=True)))
    found = []
    for params, tokens in cells:
        rows = usable & (observations.params == params) & (observations.tokens == tokens)
        tried = np.unique(values[rows])
        if len(tried) < 2:
            continue
        lowest = np.array([observations.loss[rows & (values == v)].min() for v in tried])
        value, reason = vertex(np.log(tried), lowest)
        valley = tuple(tried.tolist()), tuple(lowest.tolist())
        found.append(Optimum(float(params), float(tokens), value, *valley, reason))
    return found


def vertex(log_value: np.ndarray, loss: np.ndarray) -> tuple[float, str | None]:
    """(best value, None) of the losses at rising log values, or (nan, why there is none)."""
    if len(log_value) < FEWEST_VALUES:
        return np.nan, f"{len(log_value)} values, expected at least {FEWEST_VALUES}"
    least = int(np.argmin(loss))
    if least in (0, len(loss) - 1):
        end = "smallest" if least == 0 else "largest"
        return np.nan, f"the least loss is at the {end} value tried"
    window = slice(max(0, least - _WINDOW), least + _WINDOW + 1)
    centre = log_value[least]
    bend, tilt, _ = np.polyfit(log_value[window] - centre, loss[window], 2)
    if bend <= 0:
        return np.nan, "the parabola has no minimum"
    vertex = centre - tilt / (2 * bend)
    if not log_value[least - 1] < vertex < log_value[least + 1]:
        return np.nan, "the parabola's vertex is not beside the least loss"
    return float(np.exp(vertex)), None


def _fit_law(
    observations: Observations,
    name: str,
    column: str,
    exponents: dict[str, str],
    resamples: int,
    seed: int,
) -> LawFit:
    cells = optima(observations, column)
    details: dict[str, Any] = {"cells": [cell.document() for cell in cells]}
    used = [cell for cell in cells if cell.reason is None]
    details["n_cells"] = len(used)
    reason = _refusal(observations, column, cells, used, exponents)
    if reason is not None:
        return LawFit(name, details=details, reason=reason)
    logs = np.stack([np.log([getattr(cell, of) for cell in used]) for of in exponents.values()], 1)
    centre = logs.mean(axis=0)
    design = np.column_stack([np.ones(len(used)), logs - centre])
    target = np.log([cell.value for cell in used])
    theta, samples, sd = _regress(design, target, resamples, generator(seed, name))
    details |= {"residual_sd": sd, "failed_resamples": 0}
    scale, scales = theta[0] - theta[1:] @ centre, samples[:, 0] - samples[:, 1:] @ centre
    with np.errstate(over="ignore"):
        estimates = {"c": estimate(float(np.exp(scale)), np.exp(scales))}
    for index, key in enumerate(exponents, 1):
        estimates[key] = estimate(float(theta[index]), samples[:, index])
    return LawFit(name, estimates, details, _flags(estimates, exponents, cells, used))


def _refusal(
    observations: Observations,
    column: str,
    cells: list[Optimum],
    used: list[Optimum],
    exponents: dict[str, str],
) -> str | None:
    if column not in observations.columns:
        return f"the table has no column {column}"
    if not cells:
        return f"no (N, D) was run with several values of {column}"
    needed = len(exponents) + 2
    if len(used) < needed:
        why = "; ".join(sorted({cell.reason for cell in cells if cell.reason}))
        return (
            f"{len(used)} of {len(cells)} (N, D) cells have an optimum, expected at least "
            f"{needed}" + (f" ({why})" if why else "")
        )
    logs = np.stack([np.log([getattr(cell, of) for cell in used]) for of in exponents.values()], 1)
    logs = logs - logs.mean(axis=0)
    for index, of in enumerate(exponents.values()):
        others = np.delete(logs, index, axis=1)
        if others.shape[1]:
            solution = np.linalg.lstsq(others, logs[:, [index]], rcond=None)[0]
            free = logs[:, [index]] - others @ solution
        else:
            free = logs[:, [index]]
        if free.std() < _SPREAD:
            beside = " apart from the other" if len(exponents) > 1 else ""
            return f"{of} hardly varies{beside} over the optima: its exponent does not show"
    return None


def _regress(
    design: np.ndarray, target: np.ndarray, resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The line, draws of it (R, P) whose percentiles are those of Student's t, and residual sd."""
    theta = np.linalg.lstsq(design, target, rcond=None)[0]
    dof = len(target) - design.shape[1]
    sd = float(np.sqrt(((target - design @ theta) ** 2).sum() / dof))
    noise = sd * rng.standard_normal((resamples, len(target)))
    draws = noise * t_scale(dof, resamples, rng)[:, None]
    return theta, theta + draws @ np.linalg.pinv(design).T, sd


def _flags(
    estimates: dict[str, Estimate],
    exponents: dict[str, str],
    cells: list[Optimum],
    used: list[Optimum],
) -> tuple[Flag, ...]:
    flags = []
    if len(used) < len(cells):
        text = f"{len(cells) - len(used)} of {len(cells)} cells have no optimum and do not count"
        flags.append(Flag("edge_optimum", text))
    for key in exponents:
        ci = estimates[key].ci90
        if ci and ci[1] - ci[0] > _WIDE:
            text = f"the 90% interval of {key} is wide, {ci[0]:.2f} to {ci[1]:.2f}"
            flags.append(Flag("wide_interval", text))
    return tuple(flags)
