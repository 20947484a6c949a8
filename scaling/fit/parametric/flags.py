"""What to know beside the constants of a fitted surface."""

from typing import Any

import numpy as np

from scaling.fit.data_flags import E_AT_BOUND, data_flags, wide_floor, wide_interval
from scaling.fit.flags import Flag
from scaling.fit.numerics import robust_sd
from scaling.fit.observations import Observations
from scaling.fit.parametric.minimum import PointFit

_FEW_LOST = 0.01  # share of the resamples in which a term may vanish unsaid
# The runs in order of compute are divided into so many parts of at least so many runs.
_PARTS, _FEWEST = 5, 4
_MISSES = 0.02  # of the loss, by which the surface misses a part of the runs
_BEYOND = 4.0  # standard errors of that miss, in an order of compute that is chance


def surface_flags(
    observations: Observations,
    residuals: np.ndarray,
    found: dict[str, Any],
    point: PointFit,
    lost: np.ndarray,
) -> tuple[Flag, ...]:
    """What it misses, bounds, wide intervals, terms that resamples lost, what the runs have."""
    flags = misfit(observations, residuals, found["E"].value)
    if point.at_bound:
        flags += [
            Flag("term_at_bound", E_AT_BOUND),
            Flag("floor_unidentified", "the irreducible loss E is not identified; do not quote it"),
        ]
    flags += wide_floor(found["E"])
    if lost.size and lost.mean() > _FEW_LOST:
        text = f"in {lost.mean():.0%} of the resamples a term vanished"
        flags.append(Flag("term_at_bound", text))
    return (*flags, *wide_interval(found["a"]), *data_flags(observations))


def misfit(observations: Observations, residuals: np.ndarray, floor: float | None) -> list[Flag]:
    """Whether the surface misses its runs by more than they scatter, or ends above them.

    `residuals` are log of loss over fitted, (n,); medians, since one run in ten may be an outlier.
    """
    said = []
    parts = np.array_split(np.argsort(observations.flops, kind="stable"), _PARTS)
    if len(parts[-1]) >= _FEWEST:
        # About the median of all: runs may lie on one side of it by the objective's design.
        medians = np.array([np.median(residuals[part]) for part in parts]) - np.median(residuals)
        within = np.concatenate([residuals[part] - np.median(residuals[part]) for part in parts])
        error = 1.25 * robust_sd(within, _PARTS) / np.sqrt(len(parts[-1]))
        if np.abs(medians).max() > max(_MISSES, _BEYOND * error):
            low, high = np.expm1(medians.min()), np.expm1(medians.max())
            said.append(
                f"it misses its runs by {low:+.1%} to {high:+.1%} (medians in five bins of "
                "compute), beyond their scatter"
            )
    least = float(np.partition(observations.loss, 1)[1])  # the least alone may be a slip
    if floor is not None and floor > least:
        said.append(f"its irreducible loss {floor:.4g} is above {least:.4g}, which two runs have")
    if not said:
        return []
    text = f"{' and '.join(said)}: losses and sizes by it are off by more than their intervals"
    return [Flag("misfit", text)]
