"""How the loss of one model falls with data: a power law towards an asymptote, size by size.

    L(D) = E + (D_c / D)^alpha at a fixed N        Cortes et al. 1993; Hestness et al. 2017

E is what this size would reach with unlimited data, its own limit and that of the text together.
The points are runs that ended at D, since a loss inside a schedule is not that of D tokens.
"""

from collections.abc import Sequence

import numpy as np

from common.text import plural
from scaling.fit.flags import Flag
from scaling.fit.numerics import generator
from scaling.fit.observations import Observations
from scaling.fit.other_laws.power_law import FEWEST, fit_powers
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import LearningCurve, LearningCurveLaw

# Of more sizes those with the most runs: that many curves say how loss falls with data, and among
# many scattered runs sizes are equal by rounding alone.
MOST_SIZES = 50


def fit_learning_curves(observations: Observations, resamples: int, seed: int) -> LearningCurveLaw:
    """One curve for each size with enough amounts of data; of repeated runs the best counts.

    A size may be refused alone; the law is refused where no size has a curve. Of more sizes than
    MOST_SIZES those with the most runs have one, and a flag counts the others.
    """
    curves = []
    sizes, runs = np.unique(observations.params, return_counts=True)
    enough = np.flatnonzero(runs >= FEWEST)
    taken = enough[np.argsort(-runs[enough], kind="stable")[:MOST_SIZES]]
    for size in sizes[np.sort(taken)]:
        rows = best_runs(observations, float(size))
        if len(rows) >= FEWEST:
            curves.append(_fit(observations, rows, resamples, seed))
    if not curves:
        few = f"no size has runs of at least {FEWEST} amounts of data"
        return LearningCurveLaw(**judged(reason=few))
    failed = sum(curve.failed_resamples or 0 for curve in curves)
    standing = [curve for curve in curves if curve.reason is None]
    reason = None if standing else f"N {curves[0].params:.3g}: {curves[0].reason}"
    flags = _shared(standing)
    if len(enough) > MOST_SIZES:
        text = f"{len(enough):,} sizes have enough runs; the {MOST_SIZES} with the most are fitted"
        flags += (Flag("sizes_left_out", text),)
    return LearningCurveLaw(**judged(flags, reason), sizes=tuple(curves), failed_resamples=failed)


def _fit(observations: Observations, rows: np.ndarray, resamples: int, seed: int) -> LearningCurve:
    size = float(observations.params[rows[0]])
    rng = generator(seed, f"learning_curve.{size:.17g}")
    powers = fit_powers(observations.tokens[rows], observations.loss[rows], resamples, rng)
    return LearningCurve(
        params=size,
        **judged(powers.flags, powers.reason),
        **powers.fields("D_c"),
        tokens=tuple(float(d) for d in observations.tokens[rows]),
    )


def _shared(curves: Sequence[LearningCurve]) -> tuple[Flag, ...]:
    """One flag a code: the first size's words, and how many more sizes carry it."""
    by_code: dict[str, list[tuple[float, Flag]]] = {}
    for curve in curves:
        for flag in curve.flags:
            by_code.setdefault(flag.code, []).append((curve.params, flag))
    flags = []
    for code, ((size, first), *others) in by_code.items():
        more = f"; so at {plural(len(others), 'more size')}" if others else ""
        flags.append(Flag(code, f"N {size:.3g}: {first.text}{more}"))
    return tuple(flags)


def best_runs(observations: Observations, size: float) -> np.ndarray:
    """Rows of one size, the least loss of each amount of data, in order of data."""
    best: dict[float, int] = {}
    rows = np.flatnonzero(observations.params == size)
    for i in rows[np.argsort(-observations.loss[rows], kind="stable")]:
        best[float(observations.tokens[i])] = int(i)
    return np.array([best[tokens] for tokens in sorted(best)], dtype=int)
