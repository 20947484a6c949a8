"""The exponent a without each of some runs, by any of the methods, the budgets staying as they are.

A run is in one profile: what the others add to a method's sum is computed once. The minima of
parabolas are refitted. The shared shape moves to where a parabola through its squares about the
shape of all runs is least, each run's weight held. Akima's spline is drawn again for the one
profile, at the noise of all.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from scaling.fit.isoflop.akima import Bag, local_noise
from scaling.fit.isoflop.frontier import (
    Bagged,
    ProfileFrontier,
    UsableProfiles,
    bag_of,
    may_have_minimum,
    parabola_frontier,
    shape_frontier,
    spline_frontier,
)
from scaling.fit.isoflop.noise import profile_noise
from scaling.fit.isoflop.profiles import (
    Method,
    Profile,
    all_sizes,
    budgets_at_one_flops,
    profile_of,
)
from scaling.fit.isoflop.shared_shape import Shape, fit_shape, squares_of
from scaling.fit.numerics import FEWEST_POINTS, generator
from scaling.fit.observations import Observations

Profiles = Sequence[Profile | None]
_DRAWS = 400  # of a spline, enough for what one run changes
_REACH = np.array([0.05, 0.05])  # of the sum of the shape's exponents and of its skew


def exponents_without(
    observations: Observations,
    rows: np.ndarray,
    method: Method,
    tolerance: float,
    width: float,
) -> tuple[float, list[float]]:
    """a with all runs and without each of `rows`, nan where the law would be refused.

    The first is by the same road as the others, with fewer draws than the law's own.
    """
    groups = budgets_at_one_flops(observations, tolerance)
    profiles = [profile_of(*group, width) for group in groups]
    asked = [np.intersect1d(rows, members) for _, _, members in groups]
    place = {row: at for at, here in enumerate(asked) for row in here.tolist()}
    exponent = _METHODS[method](profiles)
    found, whole = [], exponent(None, None)
    for row in rows.tolist():
        at = place.get(row)
        if at is None:  # a run that is in no curve
            found.append(whole)
            continue
        corrected, flops, members = groups[at]
        found.append(exponent(at, profile_of(corrected, flops, members[members != row], width)))
    return whole, found


Exponent = Callable[[int | None, Profile | None], float]


def _usable(profiles: Profiles) -> tuple[Profile, ...]:
    return tuple(p for p in profiles if p is not None and p.reason is None)


def _changed(profiles: Profiles, at: int | None, new: Profile | None) -> Profiles:
    return [new if i == at else old for i, old in enumerate(profiles)]


def _slope(found: ProfileFrontier | None) -> float:
    return float("nan") if found is None else float(found.line.n.slope)


def _parts(usable: tuple[Profile, ...]) -> UsableProfiles:
    draws = [np.zeros((0, len(profile.loss))) for profile in usable]
    return UsableProfiles(usable, profile_noise(usable), draws)


def _by_parabola(profiles: Profiles, wide: bool = False) -> Exponent:
    def exponent(at: int | None, new: Profile | None) -> float:
        usable = _usable(_changed(profiles, at, new))
        if len(usable) < FEWEST_POINTS:
            return float("nan")
        usable = tuple(map(all_sizes, usable)) if wide else usable
        return _slope(parabola_frontier(_parts(usable), seed=0))

    return exponent


def _by_shape(profiles: Profiles) -> Exponent:
    usable = _usable(profiles)
    shape = fit_shape(usable) if len(usable) >= FEWEST_POINTS else None
    if shape is None:
        return lambda at, new: float("nan")
    centre = np.array([shape.total, shape.skew])
    weights = dict(zip(map(id, usable), shape.weights, strict=True))
    corners = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    stencil = centre + np.array(corners) * np.minimum(_REACH, centre[0] / 4)
    own = {id(p): squares_of(p, weights[id(p)], stencil) for p in usable}

    def exponent(at: int | None, new: Profile | None) -> float:
        changed = _usable(_changed(profiles, at, new))
        if len(changed) < FEWEST_POINTS:
            return float("nan")
        weighed = [_weights_of(p, at, profiles, weights) for p in changed]
        known = zip(changed, weighed, strict=True)
        squares = [own[id(p)] if id(p) in own else squares_of(p, w, stencil) for p, w in known]
        moved = Shape(*_least(np.sum(squares, axis=0), stencil), tuple(weighed))
        return _slope(shape_frontier(_parts(changed), moved, 0))

    return exponent


def _weights_of(
    profile: Profile, at: int | None, profiles: Profiles, weights: dict[int, np.ndarray]
) -> np.ndarray:
    """The weights of the sizes in its window; of a changed profile those of the nearest sizes."""
    if id(profile) in weights:
        return weights[id(profile)]
    old = profiles[at] if at is not None else None
    sizes = profile.log_n[profile.window]
    if old is None or id(old) not in weights:
        return np.ones(len(sizes))
    before = old.log_n[old.window]
    return weights[id(old)][np.abs(sizes[:, None] - before).argmin(axis=1)]


def _by_spline(profiles: Profiles) -> Exponent:
    usable = [p for p in profiles if p is not None and may_have_minimum(p)]
    sd = local_noise([p.log_n for p in usable], [p.loss for p in usable])
    if not np.isfinite(sd):
        return lambda at, new: float("nan")

    def bag_for(profile: Profile) -> Bag:
        return bag_of(profile, sd, _DRAWS, generator(0, "isoflop spline noise"))

    own = {id(p): bag_for(p) for p in usable}

    def exponent(at: int | None, new: Profile | None) -> float:
        changed = [p for p in _changed(profiles, at, new) if p is not None and may_have_minimum(p)]
        pairs = [(p, own[id(p)] if id(p) in own else bag_for(p)) for p in changed]
        pairs = [(p, b) for p, b in pairs if np.isfinite(b.minimum)]
        if len(pairs) < FEWEST_POINTS:
            return float("nan")
        found = Bagged(tuple(p for p, _ in pairs), tuple(b for _, b in pairs))
        return _slope(spline_frontier(found, 0, seed=0))

    return exponent


def _least(squares_9: np.ndarray, stencil_92: np.ndarray) -> tuple[float, float]:
    """Where the parabola through a 3 x 3 stencil is least, at most a few steps from its middle."""
    step = stencil_92[8] - stencil_92[4]
    x = (stencil_92 - stencil_92[4]) / step
    terms = [np.ones(9), x[:, 0], x[:, 1], x[:, 0] ** 2 / 2, x[:, 1] ** 2 / 2, x[:, 0] * x[:, 1]]
    _, *slope, bend_0, bend_1, twist = np.linalg.lstsq(np.column_stack(terms), squares_9)[0]
    values, vectors = np.linalg.eigh([[bend_0, twist], [twist, bend_1]])
    along = -(vectors.T @ slope) / np.maximum(values, 1e-3 * max(values[-1], 1e-300))
    moved = stencil_92[4] + step * np.clip(vectors @ along, -4, 4)
    return float(max(moved[0], 0.25)), float(np.clip(moved[1], -0.85, 0.85))


_METHODS: dict[Method, Callable[[Profiles], Exponent]] = {
    "parabola": _by_parabola,
    "parabola_all": partial(_by_parabola, wide=True),
    "robust": _by_shape,
    "spline": _by_spline,
}
