"""How the loss of one model falls with data: a power law towards an asymptote, size by size.

    L(D) = E + (D_c / D)^alpha at a fixed N        Cortes et al. 1993; Hestness et al. 2017

E is what this size would reach with unlimited data, its own limit and that of the text together.
The points are runs that ended at D, since a loss inside a schedule is not that of D tokens.
"""

from typing import Any

import numpy as np

from scaling.fit.laws import Flag, LawFit
from scaling.fit.observations import Observations
from scaling.fit.power import FEWEST, fit_powers
from scaling.fit.uncertainty import generator


def fit_learning_curves(observations: Observations, resamples: int, seed: int) -> LawFit:
    """One curve for each size with enough amounts of data; of repeated runs the best counts.

    details["sizes"] has one entry a size, each a law object with its `params`, which may be
    refused alone. The law is refused where no size has a curve.
    """
    curves = []
    for size in np.unique(observations.params):
        rows = best_runs(observations, float(size))
        if len(rows) >= FEWEST:
            curves.append((float(size), _fit(observations, rows, resamples, seed)))
    if not curves:
        reason = f"no size has runs of at least {FEWEST} amounts of data"
        return LawFit("learning_curve", reason=reason)
    sizes: list[dict[str, Any]] = [{"params": size} | law.document() for size, law in curves]
    details = {
        "sizes": sizes,
        "failed_resamples": sum(law.details.get("failed_resamples", 0) for _, law in curves),
    }
    standing = [(f"N {size:.3g}", law) for size, law in curves if law.reason is None]
    if not standing:
        reason = f"N {curves[0][0]:.3g}: {curves[0][1].reason}"
        return LawFit("learning_curve", details=details, reason=reason)
    flags = _shared([(name, flag) for name, law in standing for flag in law.flags])
    return LawFit("learning_curve", details=details, flags=flags)


def _fit(observations: Observations, rows: np.ndarray, resamples: int, seed: int) -> LawFit:
    size = float(observations.params[rows[0]])
    rng = generator(seed, f"learning_curve.{size:.17g}")
    powers = fit_powers(observations.tokens[rows], observations.loss[rows], resamples, rng)
    details = powers.details("D_c") | {"tokens": [float(d) for d in observations.tokens[rows]]}
    if powers.reason is not None:
        return LawFit("learning_curve", details=details, reason=powers.reason)
    estimates = powers.best.estimates("D_c")
    return LawFit("learning_curve", estimates, details, powers.flags)


def _shared(found: list[tuple[str, Flag]]) -> tuple[Flag, ...]:
    """One flag a code: the first size's words, and how many more sizes carry it."""
    by_code: dict[str, list[tuple[str, Flag]]] = {}
    for name, flag in found:
        by_code.setdefault(flag.code, []).append((name, flag))
    flags = []
    for code, carriers in by_code.items():
        name, first = carriers[0]
        others = f"; so at {len(carriers) - 1} more sizes" if len(carriers) > 1 else ""
        flags.append(Flag(code, f"{name}: {first.text}{others}"))
    return tuple(flags)


def best_runs(observations: Observations, size: float) -> np.ndarray:
    """Rows of one size, the least loss of each amount of data, in order of data."""
    best: dict[float, int] = {}
    rows = np.flatnonzero(observations.params == size)
    for i in rows[np.argsort(-observations.loss[rows], kind="stable")]:
        best[float(observations.tokens[i])] = int(i)
    return np.array([best[tokens] for tokens in sorted(best)], dtype=int)
