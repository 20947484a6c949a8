"""The best learning rate and batch as power laws of size and data, from runs that vary them.

    lr      eta = c N^p D^q         Step Law (2503.04715) has 1.79 N^-0.713 D^0.307
    batch   B = c D^q               Step Law has 0.58 D^0.571, B in tokens

A cell is the runs of one (N, D). Its best value is the minimum of a parabola in the logarithm
through the lowest loss of each value tried, the other knob being free, near the least of them. A
cell whose least loss is at the end of what was tried has no optimum: it does not count. The laws
are lines through the optima in logarithms; with few of them, Student's t makes the intervals.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scaling.fit.data_flags import wide_interval
from scaling.fit.flags import Flag
from scaling.fit.numerics import estimate, generator, normal_draws
from scaling.fit.observations import Observations
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import TunedCell, TunedLaw

FEWEST_VALUES = 3
FEWEST_CELLS = 3  # that could have an optimum, for a law to be tried unasked
_WINDOW = 2  # values on each side of the least that the parabola sees
_SPREAD = 0.05  # least range, as the sd of the free part of log N or log D, that shows an exponent
_WIDE = 0.5  # width of a 90% interval of an exponent that leaves the law open


def fit_learning_rate(observations: Observations, resamples: int, seed: int) -> TunedLaw:
    """The law `lr`; refuses rather than raises."""
    return _fit_law(observations, "lr", "lr", {"p": "params", "q": "tokens"}, resamples, seed)


def fit_batch(observations: Observations, resamples: int, seed: int) -> TunedLaw:
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


def optima(observations: Observations, column: str) -> list[TunedCell]:
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
        value, reason = best_value(np.log(tried), lowest)
        values_and_losses = tuple(tried.tolist()), tuple(lowest.tolist())
        best = None if reason else value
        found.append(
            TunedCell(float(params), float(tokens), best, len(tried), *values_and_losses, reason)
        )
    return found


def best_value(log_value: np.ndarray, loss: np.ndarray) -> tuple[float, str | None]:
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
    minimum = centre - tilt / (2 * bend)
    if not log_value[least - 1] < minimum < log_value[least + 1]:
        return np.nan, "the parabola's minimum is not beside the least loss"
    return float(np.exp(minimum)), None


def _fit_law(
    observations: Observations,
    name: str,
    column: str,
    exponents: Mapping[str, str],
    resamples: int,
    seed: int,
) -> TunedLaw:
    cells = optima(observations, column)
    used = [cell for cell in cells if cell.reason is None]
    law = TunedLaw(
        **judged(reason=_too_little(observations, column, cells, len(exponents))),
        cells=tuple(cells),
        n_cells=len(used),
    )
    if law.reason is not None:
        return law
    logs = np.log([[getattr(cell, of) for of in exponents.values()] for cell in used])
    centre = logs.mean(axis=0)
    if reason := _hidden(logs - centre, exponents):
        return replace(law, **judged(reason=reason))
    design = np.column_stack([np.ones(len(used)), logs - centre])
    target = np.log([cell.value for cell in used if cell.value is not None])
    theta = np.linalg.lstsq(design, target, rcond=None)[0]
    dof = len(target) - design.shape[1]
    sd = float(np.sqrt(((target - design @ theta) ** 2).sum() / dof))
    # The percentiles of these are those of Student's t.
    draws = normal_draws(sd, len(target), dof, resamples, generator(seed, name))
    samples = theta + draws @ np.linalg.pinv(design).T
    scale, scales = theta[0] - theta[1:] @ centre, samples[:, 0] - samples[:, 1:] @ centre
    with np.errstate(over="ignore"):
        found: dict[str, Any] = {"c": estimate(float(np.exp(scale)), np.exp(scales))}
    flags = []
    if len(used) < len(cells):
        text = f"{len(cells) - len(used)} of {len(cells)} cells have no optimum and do not count"
        flags.append(Flag("edge_optimum", text))
    for index, key in enumerate(exponents, 1):
        found[key] = estimate(float(theta[index]), samples[:, index])
        flags += wide_interval(found[key], key, _WIDE)
    return replace(law, **judged(tuple(flags)), **found, residual_sd=sd, failed_resamples=0)


def _too_little(
    observations: Observations, column: str, cells: list[TunedCell], exponents: int
) -> str | None:
    if column not in observations.columns:
        return f"the table has no column {column}"
    if not cells:
        return f"no (N, D) was run with several values of {column}"
    reasons = [cell.reason for cell in cells if cell.reason]
    used, needed = len(cells) - len(reasons), exponents + 2
    if used >= needed:
        return None
    why = f" ({'; '.join(sorted(set(reasons)))})" if reasons else ""
    return f"{used} of {len(cells)} (N, D) cells have an optimum, expected at least {needed}{why}"


def _hidden(logs: np.ndarray, exponents: Mapping[str, str]) -> str | None:
    """Why the centred logarithms (cells, exponents) hide an exponent; None if they do not."""
    for index, of in enumerate(exponents.values()):
        others, own = np.delete(logs, index, axis=1), logs[:, [index]]
        free = own - others @ np.linalg.lstsq(others, own, rcond=None)[0]
        if free.std() < _SPREAD:
            beside = " apart from the other" if len(exponents) > 1 else ""
            return f"{of} hardly varies{beside} over the optima: its exponent does not show"
    return None
