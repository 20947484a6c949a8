"""Which method the headline takes: the one of least error of a in simulations of this design.

The smooth curves near the runs are those of one skewed shape fitted to all sizes of all profiles
(shared_shape.py), each moved along log N until its minimum is on one power law, so that the true a
is known. At the runs' own sizes and with noise of their own size losses are drawn, every candidate
takes its minima and its exponent, and the root mean square of its errors is compared. Where even
that shape misses the runs by far more than their noise there is no such curve: every candidate but
the spline assumes a form that the runs reject, and the spline is taken if noise lets it resolve
its minima. Shapes: V profiles of k sizes, S simulations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaling.fit.isoflop.akima import akima_minimum, local_noise
from scaling.fit.isoflop.profiles import METHODS, Method, Profile, minima, minimum_variance, window
from scaling.fit.isoflop.shared_shape import Shape, shape_minima, shape_near
from scaling.fit.numerics import (
    FEWEST_POINTS,
    generator,
    inverse_variances,
    regress,
    robust_sd,
)

_SIMULATIONS = 160
_DRAWS = 24  # of noise for the spline's median in each simulation: fewer than in a fit
_MOST_FAILED = 0.1  # of the simulations without an exponent
_AS_GOOD = 1.05  # times the least error: the simpler method is as good
# The shape is rejected where it misses the runs by so many times their noise, and by more where
# few fours of sizes tell that noise.
_FAR, _FAR_OF_FEW = 2.0, 6.0
_NO_NOISE = 1e-6  # of log loss: rounding


@dataclass(frozen=True)
class Choice:
    """The headline's method, why in words, and the simulated error of a of each candidate."""

    method: Method
    reason: str
    errors: Mapping[str, float | None]


@dataclass(frozen=True)
class SmoothCurves:
    """Losses (k,) of each profile's smooth curve, its log N* on a line of slope `a`, and noise."""

    profiles: tuple[Profile, ...]
    losses: tuple[np.ndarray, ...]
    log_n: np.ndarray
    log_c: np.ndarray
    a: float
    sd: tuple[np.ndarray, ...]


def choose(
    usable: Sequence[Profile],
    shape: Shape | None,
    methods: Sequence[Method],
    resolved: bool,
    seed: int,
) -> Choice:
    """Choose among `methods`, by the profiles with a minimum and the shape fitted to their windows.

    `resolved` says whether the spline knows most minima to a step of the grid.
    """
    found = smooth_curves(usable)
    if isinstance(found, str):
        takes_spline = resolved and "spline" in methods
        then = "the spline assumes none" if takes_spline else "noise hides the spline's minima"
        return Choice("spline" if takes_spline else "parabola", f"{found}; {then}", {})
    errors = simulated_errors(found, shape, methods, seed)
    known = {name: error for name, error in errors.items() if error is not None}
    if not known:
        return Choice("parabola", "no method finds the minima of simulated runs", errors)
    least = min(known.values())
    best = next(m for m in METHODS if m in known and known[m] <= _AS_GOOD * least)
    told = ", ".join(
        f"{name} {'unknown' if error is None else f'{error:.2g}'}" for name, error in errors.items()
    )
    reason = f"of least error of a in simulations of these sizes and this noise ({told})"
    return Choice(best, reason, errors)


def smooth_curves(usable: Sequence[Profile]) -> SmoothCurves | str:
    """The curves near these profiles, or in words why there are none."""
    near = shape_near(usable)
    residuals = [np.log(v.loss / own(v.log_n)) for v, own in zip(usable, near, strict=True)]
    every = np.concatenate(residuals)
    if not np.isfinite(every).all():
        return "no smooth shape is near the IsoFLOP curves"
    free = max(len(every) - 3 * len(usable) - 2, 1)
    missed = robust_sd(every, 0) * float(np.sqrt(len(every) / free))
    noise = local_noise([v.log_n for v in usable], [v.loss for v in usable])
    fours = sum(max(len(v.loss) - 3, 0) for v in usable)
    if fours and missed > max(noise, _NO_NOISE) * max(_FAR, 1 + _FAR_OF_FEW / np.sqrt(fours)):
        times = missed / max(noise, _NO_NOISE)
        return f"the IsoFLOP curves differ from any one smooth shape by {times:.1f} times the noise"
    kept = [i for i, own in enumerate(near) if np.isfinite(own.minimum)]
    if len(kept) < FEWEST_POINTS:
        return "no smooth shape with a minimum is near the IsoFLOP curves"
    profiles = tuple(usable[i] for i in kept)
    at = np.array([near[i].minimum for i in kept])
    log_c = np.array([float(v.at(x)[1]) for v, x in zip(profiles, at, strict=True)])
    weights = inverse_variances(np.array([minimum_variance(v) for v in profiles]))
    line = regress(log_c[None], at[None], weights)
    log_n = line.log_scale[0] + line.slope[0] * log_c
    moved = zip(profiles, kept, at - log_n, strict=True)
    known = [np.isfinite(v.noise) for v in profiles]
    return SmoothCurves(
        profiles,
        tuple(near[i](v.log_n + shift) for v, i, shift in moved),
        log_n,
        log_c,
        float(line.slope[0]),
        tuple(
            np.where(there, v.noise, missed * v.loss)
            for v, there in zip(profiles, known, strict=True)
        ),
    )


def simulated_errors(
    curves: SmoothCurves, shape: Shape | None, methods: Sequence[Method], seed: int
) -> dict[str, float | None]:
    """Root mean square error of a by each method; None where it often has no answer."""
    rng = generator(seed, "isoflop choice")
    draws = []
    for loss, sd in zip(curves.losses, curves.sd, strict=True):
        half = rng.standard_normal((_SIMULATIONS // 2, len(loss)))
        draws.append(np.maximum(loss + sd * np.concatenate([half, -half]), 1e-3 * loss))
    errors: dict[str, float | None] = {}
    for method in methods:
        if method == "robust" and shape is not None:
            places = {id(v): i for i, v in enumerate(shape.profiles)}
            weights = tuple(shape.weights[places[id(v)]] for v in curves.profiles)
            own = replace(shape, weights=weights)
            log_n = [pair[0] for pair in shape_minima(curves.profiles, draws, own, free=True)]
        elif method == "spline":
            log_n = [
                _by_spline(v.log_n, np.log(loss), sd / v.loss, rng)
                for v, loss, sd in zip(curves.profiles, draws, curves.sd, strict=True)
            ]
        else:
            log_n = [
                _by_parabola(v, loss, method == "parabola_all")
                for v, loss in zip(curves.profiles, draws, strict=True)
            ]
        errors[method] = _error(np.stack(log_n, axis=1), curves)
    return errors


def _by_parabola(profile: Profile, losses: np.ndarray, all_sizes: bool) -> np.ndarray:
    """log N* (S,), each by the window about its own lowest loss; nan where that is at an end."""
    lowest = losses.argmin(axis=1)
    found = np.full(len(losses), np.nan)
    for place in np.unique(lowest):
        if 0 < place < len(profile.log_n) - 1:
            seen = np.ones(len(profile.log_n), dtype=bool)
            if not all_sizes:
                seen = window(profile.log_n, place, profile.width)
            rows = lowest == place
            found[rows] = minima(replace(profile, window=seen), losses[rows])[0]
    return found


def _by_spline(
    log_n: np.ndarray, log_loss: np.ndarray, sd: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """log N* (S,): the median over draws of noise; nan where most have no minimum inside."""
    half = rng.standard_normal((_DRAWS // 2, len(log_n)))
    drawn = log_loss[:, None] + sd * np.concatenate([half, -half])
    found = akima_minimum(log_n, drawn.reshape(-1, len(log_n)))[0].reshape(len(log_loss), _DRAWS)
    inside = np.isfinite(found).mean(axis=1) > 0.5
    middle = np.full(len(found), np.nan)
    middle[inside] = np.nanmedian(found[inside], axis=1)
    return middle


def _error(log_n_SV: np.ndarray, curves: SmoothCurves) -> float | None:
    there = np.isfinite(log_n_SV)
    missed = np.where(there, log_n_SV - curves.log_n, 0.0)
    count = there.sum(axis=0)
    variance = (missed**2).sum(axis=0) / np.maximum(count, 1)
    # A minimum that is hardly ever found has no spread to weigh it by: that of the others.
    variance = np.where(count > 1, variance, variance.max())
    slope = regress(
        np.broadcast_to(curves.log_c, log_n_SV.shape), log_n_SV, inverse_variances(variance)
    ).slope
    known = np.isfinite(slope)
    if known.mean() < 1 - _MOST_FAILED:
        return None
    return float(np.sqrt(((slope[known] - curves.a) ** 2).mean()))
