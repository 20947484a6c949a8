"""What to know beside the constants of a fitted surface."""

from typing import Any

import numpy as np

from scaling.fit.data_flags import E_AT_BOUND, data_flags, wide_floor, wide_interval
from scaling.fit.flags import Flag
from scaling.fit.observations import Observations
from scaling.fit.parametric.minimum import PointFit

_FEW_LOST = 0.01  # share of the resamples in which a term may vanish unsaid


def surface_flags(
    observations: Observations, found: dict[str, Any], point: PointFit, lost: np.ndarray
) -> tuple[Flag, ...]:
    """Bounds, wide intervals, terms that resamples lost, and what the runs themselves have."""
    flags: list[Flag] = []
    if point.at_bound:
        flags = [
            Flag("term_at_bound", E_AT_BOUND),
            Flag("floor_unidentified", "the irreducible loss E is not identified; do not quote it"),
        ]
    flags += wide_floor(found["E"])
    if lost.size and lost.mean() > _FEW_LOST:
        text = f"in {lost.mean():.0%} of the resamples a term vanished"
        flags.append(Flag("term_at_bound", text))
    return (*flags, *wide_interval(found["a"]), *data_flags(observations))
