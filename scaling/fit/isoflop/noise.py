"""How uncertain the losses of a profile are, and draws of how else they might have come out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.fit.isoflop.profiles import Profile, window_fit
from scaling.fit.numerics import t_scale

# The variance common to all profiles counts as so many degrees of freedom beside a profile's own.
_PRIOR_DOF = 4.0
# Fewer residuals than this are too coarse to draw from: the draws are normal instead.
_FEWEST_RESIDUALS = 20


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the losses of each profile's sizes, and its degrees of freedom.

    dof is infinite where the noise is known (loss_se or seeds), else that of all residuals.
    """

    sd: tuple[np.ndarray, ...]
    dof: float
    shapes: np.ndarray  # standardised residuals to draw from; empty: draw normal ones


def profile_noise(usable: Sequence[Profile]) -> Noise:
    """Known noise where there is, else the residuals' own, each profile's drawn to the common one.

    A profile of five sizes has two degrees of freedom, too few for a variance of its own; the
    common variance is mixed in (an empirical-Bayes shrinkage).
    """
    squares, dofs, shapes = [], [], []
    for profile in usable:
        fitted, leverage = window_fit(profile)
        residuals = profile.loss[profile.window] - fitted
        squares.append(float(residuals @ residuals))
        dofs.append(len(residuals) - 3)
        if dofs[-1] > 0:
            shapes.append(residuals / np.sqrt(np.maximum(1 - leverage, 1e-3)))
    dof = sum(dofs)
    common = sum(squares) / dof if dof else 0.0
    sds = []
    for profile, square, own in zip(usable, squares, dofs, strict=True):
        shrunk = np.sqrt((square + _PRIOR_DOF * common) / (own + _PRIOR_DOF))
        known = profile.noise[profile.window]
        missing = shrunk if own or common else np.nan
        kept = np.isfinite(known).all() and not any(f.code == "scatter" for f in profile.flags)
        sds.append(profile.noise if kept else np.full(len(profile.loss), missing))
    known_all = all(np.isfinite(profile.noise).all() for profile in usable)
    pool = np.concatenate([s / max(s.std(), 1e-30) for s in shapes]) if shapes else np.zeros(0)
    enough = pool.size >= _FEWEST_RESIDUALS and not known_all
    return Noise(tuple(sds), np.inf if known_all else float(dof), pool if enough else np.zeros(0))


def noise_draws(
    usable: Sequence[Profile], noise: Noise, resamples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Noise (R, k) for the losses of each profile."""
    scale = t_scale(noise.dof, resamples, rng) if noise.dof > 0 else np.ones(resamples)
    draws = []
    for profile, sd in zip(usable, noise.sd, strict=True):
        shape = (resamples, len(profile.loss))
        if noise.shapes.size:
            unit = rng.choice(noise.shapes - noise.shapes.mean(), size=shape)
            unit /= noise.shapes.std()
        else:
            unit = rng.standard_normal(shape)
        draws.append(unit * np.nan_to_num(sd) * scale[:, None])
    return draws
