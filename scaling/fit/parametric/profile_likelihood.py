"""Profile likelihood of the surface: how fast the objective rises as a, or E, is held elsewhere.

For each value held, all other constants are fitted anew, and the rise is weighed by the
quasi-likelihood ratio of rise.py, F(1, n - 5), or n - 4 where E is held. No resample enters, so it
checks the intervals that come from resamples, and it sees an open end.
Over many rows the objective is a parabola about its minimum: Q(held) - Q(best) is half the square
of the distance over c' H^-1 c, H the Hessian and c the derivatives of a, or of E.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from scipy.special import fdtri

from scaling.fit.flags import Flag
from scaling.fit.numerics import LEVELS, Rows
from scaling.fit.numerics.one_step import MANY_ROWS, total_curvature
from scaling.fit.parametric.bootstrap import constants, free_part, misfit, terms_of
from scaling.fit.parametric.newton import (
    ALPHA,
    BETA,
    LOWER,
    PARAMETERS,
    UPPER,
    A,
    B,
    E,
    newton_minimise,
)
from scaling.fit.parametric.rise import rise_weight
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import ProfileEnds, ProfileResult

_STEPS = np.geomspace(1e-5, 1.0, 26)  # distances from the optimum, as shares of the way to the end
_END = 0.02  # a is held between this and 1 less this
Held = Callable[[np.ndarray], np.ndarray]
_APART = 2.0  # a factor between two widths beyond which the intervals are said to disagree


def agree(own: Estimate, profile: ProfileEnds) -> bool | None:
    """Whether two 90% intervals meet and differ in width by a factor 2 at most."""
    if own.ci90 is None:
        return None
    low, high = profile.ci90
    if low is None or high is None:
        return False
    widths = high - low, own.ci90[1] - own.ci90[0]
    alike = max(widths) <= _APART * min(widths) + 1e-9
    return alike and low <= own.ci90[1] and own.ci90[0] <= high


def profile_flags(profile: ProfileResult) -> tuple[Flag, ...]:
    """What the profile says against the law's own intervals."""
    flags: list[Flag] = []
    if profile.agrees is False:
        low, high = (_end(end) for end in profile.a.ci90)
        text = "by profile likelihood the 90% interval of a is "
        flags.append(Flag("profile_disagrees", f"{text}{low} to {high}: trust the wider of both"))
    if profile.E is not None and profile.E.ci90[0] is None:
        text = "the profile of E is open below at 90%: E = 0 fits these runs as well"
        flags.append(Flag("floor_unidentified", text))
    return tuple(flags)


def profile_likelihood(
    rows: Rows, theta: np.ndarray, objective: float, delta: float, exponent: Estimate
) -> ProfileResult:
    """Profile a and E about the optimum `theta` (5,) of least `objective`, in one batch each.

    An end is None where the objective does not rise enough before it; `exponent` is the law's own
    estimate of a.
    """
    weigh = rise_weight(rows, misfit(rows, theta), delta, constants(rows))
    levels = {
        name: float(fdtri(1, max(rows.loss.size - constants(rows), 1), level))
        for name, level in LEVELS.items()
    }

    def sides(best: float, ends: tuple[float, float], held: Held) -> ProfileEnds:
        found: list[dict[str, float | None]] = []
        values = [best + _STEPS * (end - best) for end in ends]
        rise = np.maximum(held(np.concatenate(values)) - objective, 0.0) * weigh
        for side, part in zip(values, np.split(rise, 2), strict=True):
            root = np.sqrt(np.maximum.accumulate(part))
            found.append({n: _crossing(best, side, root, np.sqrt(q)) for n, q in levels.items()})
        return ProfileEnds(**{name: (found[0][name], found[1][name]) for name in levels})

    best = float(theta[BETA] / (theta[ALPHA] + theta[BETA]))
    if rows.loss.size > MANY_ROWS:
        of_a, of_floor = _parabolas(rows, theta, objective, delta)
    else:
        of_a, of_floor = (
            partial(_holding_a, rows, theta, delta),
            partial(_holding_floor, rows, theta, delta),
        )
    a = sides(best, (_END, 1 - _END), of_a)
    if rows.E is not None:
        return ProfileResult(a, None, agree(exponent, a))
    E_ends = sides(float(theta[E]), (0.0, float(rows.loss.min())), of_floor)
    return ProfileResult(a, E_ends, agree(exponent, a))


def _parabolas(rows: Rows, theta: np.ndarray, objective: float, delta: float) -> tuple[Held, Held]:
    """The objective with a held, and with E held, as parabolas about the optimum."""
    free = free_part(rows)
    inverse = np.zeros((PARAMETERS, PARAMETERS))
    curvature = total_curvature(terms_of(rows, theta, delta), rows.loss.size)
    inverse[free, free] = np.linalg.pinv(curvature)
    total = theta[ALPHA] + theta[BETA]
    slopes = np.zeros((2, PARAMETERS))
    slopes[0, [ALPHA, BETA]] = -theta[BETA] / total**2, theta[ALPHA] / total**2
    slopes[1, E] = 1.0
    centres = theta[BETA] / total, theta[E]

    def parabola(slope: np.ndarray, centre: float) -> Held:
        return lambda values: objective + (values - centre) ** 2 / (2 * slope @ inverse @ slope)

    of_a, of_floor = map(parabola, slopes, centres)
    return of_a, of_floor


def _holding_a(rows: Rows, theta: np.ndarray, delta: float, a: np.ndarray) -> np.ndarray:
    total = theta[ALPHA] + theta[BETA]
    # Both exponents within their bounds.
    alpha = np.clip(total * (1 - a), LOWER[ALPHA], UPPER[ALPHA])
    starts = np.repeat(theta[None], len(a), axis=0)
    starts[:, ALPHA], starts[:, BETA] = alpha, alpha * a / (1 - a)
    return _lowest(rows, starts, delta, (True,) * 5, a / (1 - a))


def _holding_floor(rows: Rows, theta: np.ndarray, delta: float, floor: np.ndarray) -> np.ndarray:
    starts = np.repeat(theta[None], len(floor), axis=0)
    # What leaves the floor goes to the terms, and its absence flattens them.
    share = (rows.loss.mean() - floor) / max(rows.loss.mean() - theta[E], 1e-9)
    starts[:, [A, B]] *= share[:, None]
    starts[:, [ALPHA, BETA]] /= share[:, None]
    starts[:, E] = floor
    return _lowest(rows, starts, delta, (False, True, True, True, True), None)


def _lowest(
    rows: Rows,
    starts: np.ndarray,
    delta: float,
    free: Sequence[bool],
    ratio: np.ndarray | None,
) -> np.ndarray:
    ones = np.ones((1, rows.loss.size))
    widths = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
    stages = (*(w for w in widths if w > 1.5 * delta), delta)
    return newton_minimise(starts, rows, ones, stages, tuple(free), 60, ratio).objective


def _crossing(best: float, values: np.ndarray, root: np.ndarray, level: float) -> float | None:
    """Where the root of tau, 0 at `best`, first reaches `level`, by linear interpolation."""
    if root[-1] < level:
        return None
    at = int(np.argmax(root >= level))
    before, at_before = (0.0, best) if at == 0 else (root[at - 1], values[at - 1])
    return float(at_before + (values[at] - at_before) * (level - before) / (root[at] - before))


def _end(value: float | None) -> str:
    return "open" if value is None else f"{value:.3f}"
