"""The best learning rate and batch as power laws of size and data, from runs that vary them.

    lr      eta = c N^p D^q         Step Law (2503.04715) has 1.79 N^-0.713 D^0.307
    batch   B = c D^q               Step Law has 0.58 D^0.571, B in tokens
    batch_with_size   B = c N^p D^q     N^-0.31 on Step Law's table, N^0.14 on OpenEuroLLM's

A cell is the runs of one (N, D). Its best value is the minimum of a parabola in the logarithm
through the lowest loss of each value tried, the other knob being free, near the least of them. Of a
cell whose least loss is at the end of what was tried only the side is known: its optimum lies
beyond the middle of the last two values. Dropping such cells would drop the longest horizons of
the smallest sizes first, so they are censored (numerics/censored.py). The laws are lines through
the optima in logarithms; with few of them, Student's t makes the intervals.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scaling.fit.data_flags import (
    COLLINEAR,
    collinear_flag,
    unidentified,
    unsteady,
    wide_interval,
)
from scaling.fit.flags import Flag
from scaling.fit.numerics import estimate, generator, identify, normal_draws
from scaling.fit.numerics.censored import tobit
from scaling.fit.observations import Observations
from scaling.fit.results.estimate import Identifiability
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import TunedCell, TunedLaw

FEWEST_VALUES = 3
FEWEST_CELLS = 3  # that could have an optimum, for a law to be tried unasked
_WINDOW = 2  # values on each side of the least that the parabola sees
# Of the logarithm of a best value, at least: no parabola through a few values knows it better, and
# optima without noise would show an exponent of sizes that hardly differ.
_RESOLUTION = 0.1
_CENSORED_RESAMPLES = 1000
_WIDE = 0.5  # width of a 90% interval of an exponent that leaves the law open


def fit_learning_rate(observations: Observations, resamples: int, seed: int) -> TunedLaw:
    """The law `lr`; refuses rather than raises."""
    return _fit_law(observations, "lr", "lr", {"p": "params", "q": "tokens"}, resamples, seed)


def fit_batch(observations: Observations, resamples: int, seed: int) -> TunedLaw:
    """The law `batch`, in tokens; refuses rather than raises."""
    return _fit_law(observations, "batch", "batch_tokens", {"q": "tokens"}, resamples, seed)


def fit_batch_with_size(observations: Observations, resamples: int, seed: int) -> TunedLaw:
    """The law `batch_with_size`, in tokens; refuses rather than raises, as where N is one."""
    exponents = {"p": "params", "q": "tokens"}
    return _fit_law(observations, "batch_with_size", "batch_tokens", exponents, resamples, seed)


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
        cell = TunedCell(float(params), float(tokens), best, len(tried), *values_and_losses, reason)
        found.append(replace(cell, **_beyond(tried, lowest)))
    return found


def _beyond(tried: np.ndarray, lowest: np.ndarray) -> dict[str, Any]:
    """On which side of which value the optimum lies, where the least loss is at an end."""
    least, last = int(np.argmin(lowest)), len(tried) - 1
    if len(tried) < FEWEST_VALUES or least not in (0, last):
        return {}
    # In a bowl the optimum is nearer to the end than to its neighbour.
    pair = tried[:2] if least == 0 else tried[-2:]
    return {"beyond": "low" if least == 0 else "high", "bound": float(np.sqrt(pair.prod()))}


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
    censored = [cell for cell in cells if cell.beyond is not None]
    counted = [*used, *censored]
    logs = np.log([[getattr(cell, of) for of in exponents.values()] for cell in counted])
    centre = logs[: len(used)].mean(axis=0)
    design = np.column_stack([np.ones(len(counted)), logs - centre])
    identified, known = _identified(design[: len(used)], used, exponents)
    law = replace(law, identifiability=identified)
    why = _hidden(identified, exponents)
    if reason := unidentified(identified, observations, known, why):
        return replace(law, **judged(reason=reason))
    rng = generator(seed, name)
    line = _through_optima if not censored else _through_all
    theta, samples, sd = line(design, counted, resamples, rng)
    scale, scales = theta[0] - theta[1:] @ centre, samples[:, 0] - samples[:, 1:] @ centre
    with np.errstate(over="ignore"):
        found: dict[str, Any] = {"c": estimate(float(np.exp(scale)), np.exp(scales))}
    flags = list(_collinear(identified, used))
    if len(used) < len(cells):
        flags.append(Flag("edge_optimum", _lacking(cells, len(used), len(censored))))
    for index, key in enumerate(exponents, 1):
        found[key] = estimate(float(theta[index]), samples[:, index])
        flags += wide_interval(found[key], key, _WIDE)
    failed = int(np.isnan(samples[:, 0]).sum())
    if reason := unsteady(failed, resamples):
        return replace(law, **judged(reason=reason))
    return replace(
        law,
        **judged(tuple(flags)),
        **found,
        n_censored=len(censored) or None,
        residual_sd=sd,
        failed_resamples=failed,
    )


def _lacking(cells: list[TunedCell], used: int, censored: int) -> str:
    parts = []
    if censored:
        parts.append(
            f"{censored} of {len(cells)} cells have their least loss at the end of what was tried: "
            "only the side of their optimum is known (censored)"
        )
    if others := len(cells) - used - censored:
        parts.append(f"{others} of {len(cells)} cells have no optimum and do not count")
    return "; ".join(parts)


def _through_optima(
    design: np.ndarray, cells: list[TunedCell], resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The line of least squares, its resamples (R, P), and the residual sd."""
    target = np.log([cell.value for cell in cells if cell.value is not None])
    theta = np.linalg.lstsq(design, target, rcond=None)[0]
    dof = len(target) - design.shape[1]
    sd = float(np.sqrt(((target - design @ theta) ** 2).sum() / dof))
    # The percentiles of these are those of Student's t.
    draws = normal_draws(sd, len(target), dof, resamples, rng)
    return theta, theta + draws @ np.linalg.pinv(design).T, sd


def _through_all(
    design: np.ndarray, cells: list[TunedCell], resamples: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, float]:
    """The same with the cells of which a side is known alone.

    A resample draws every cell's optimum about the line, with the uncertainty of the sd, and
    censors it where the values tried there would not have bracketed it.
    """
    known = [cell.bound if cell.value is None else cell.value for cell in cells]
    target = np.log(np.array(known, dtype=float))
    side = np.array([{None: 0, "low": -1, "high": 1}[cell.beyond] for cell in cells])
    thetas, sds = tobit(design, target[None], side[None])
    theta, sd = thetas[0], float(sds[0])
    low, high = np.log([(_middle(cell.tried[:2]), _middle(cell.tried[-2:])) for cell in cells]).T
    dof = int((side == 0).sum()) - design.shape[1]
    resamples = min(resamples, _CENSORED_RESAMPLES)
    drawn = design @ theta + normal_draws(sd, len(cells), dof, resamples, rng)
    sides = np.where(drawn < low, -1, np.where(drawn > high, 1, 0))
    samples, _ = tobit(design, np.clip(drawn, low, high), sides)
    return theta, samples, sd


def _middle(pair: tuple[float, ...]) -> float:
    """The middle of two values in the logarithm."""
    return float(np.sqrt(pair[0] * pair[1]))


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


def _identified(
    design: np.ndarray, used: list[TunedCell], exponents: Mapping[str, str]
) -> tuple[Identifiability, dict[str, float]]:
    """What the optima determine of the law's constants, and the exponents through them.

    Exponents are sized as 1: that of N may be near 0 and well known.
    """
    names = ("c", *exponents)
    target = np.log([cell.value for cell in used if cell.value is not None])
    line = np.linalg.lstsq(design, target, rcond=None)[0]
    dof = max(len(target) - len(names), 1)
    sd = float(np.sqrt(((target - design @ line) ** 2).sum() / dof))
    found = identify(names, design, np.ones(len(names)), max(sd, _RESOLUTION))
    return found, dict(zip(exponents, line[1:].tolist(), strict=True))


def _hidden(found: Identifiability, exponents: Mapping[str, str]) -> str:
    """Which variable leaves its exponent open, in words."""
    errors = {name: np.inf if e is None else e for name, e in found.relative_se.items()}
    least = max(exponents, key=errors.__getitem__)
    beside = " apart from the other" if len(exponents) > 1 else ""
    return f"{exponents[least]} hardly varies{beside} over the optima"


def _collinear(found: Identifiability, used: list[TunedCell]) -> tuple[Flag, ...]:
    if found.condition is not None and found.condition <= COLLINEAR:
        return ()
    params, tokens = (np.array([getattr(cell, of) for cell in used]) for of in ("params", "tokens"))
    return (collinear_flag(found, params, tokens),)
