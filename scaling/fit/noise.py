"""How uncertain the losses of a valley are, and draws of how else they might have come out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.fit.uncertainty import t_scale
from scaling.fit.valleys import Valley, window_fit

# The variance common to all valleys counts as so many degrees of freedom beside a valley's own.
_PRIOR_DOF = 4.0
# Fewer residuals than this are too coarse to draw from: the draws are normal instead.
_FEWEST_RESIDUALS = 20


@dataclass(frozen=True)
class Noise:
    """Standard deviation of the losses of each valley's sizes, and its degrees of freedom.

    dof is infinite where the noise is known (loss_se or seeds), else that of all residuals.
    """

    sd: tuple[np.ndarray, ...]
    dof: float
    shapes: np.ndarray  # standardised residuals to draw from; empty: draw normal ones


def valley_noise(usable: Sequence[Valley]) -> Noise:
    """Known noise where there is, else the residuals' own, each valley's drawn to the common one.

    A valley of five sizes has two degrees of freedom, too few for a variance of its own; the
    common variance is mixed in (an empirical-Bayes shrinkage).
    """
    squares, dofs, shapes = [], [], []
    for valley in usable:
        fitted, leverage = window_fit(valley)
        residuals = valley.loss[valley.window] - fitted
        squares.append(float(residuals @ residuals))
        dofs.append(len(residuals) - 3)
        if dofs[-1] > 0:
            shapes.append(residuals / np.sqrt(np.maximum(1 - leverage, 1e-3)))
    dof = sum(dofs)
    common = sum(squares) / dof if dof else 0.0
    sds = []
    for valley, square, own in zip(usable, squares, dofs, strict=True):
        shrunk = np.sqrt((square + _PRIOR_DOF * common) / (own + _PRIOR_DOF))
        known = valley.noise[valley.window]
        missing = shrunk if own or common else np.nan
        kept = np.isfinite(known).all() and not any(f.code == "scatter" for f in valley.flags)
        sds.append(valley.noise if kept else np.full(len(valley.loss), missing))
    known_all = all(np.isfinite(valley.noise).all() for valley in usable)
    pool = np.concatenate([s / max(s.std(), 1e-30) for s in shapes]) if shapes else np.zeros(0)
    enough = pool.size >= _FEWEST_RESIDUALS and not known_all
    return Noise(tuple(sds), np.inf if known_all else float(dof), pool if enough else np.zeros(0))


def noise_draws(
    usable: Sequence[Valley], noise: Noise, resamples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Noise (R, k) for the losses of each valley."""
    scale = t_scale(noise.dof, resamples, rng) if noise.dof > 0 else np.ones(resamples)
    draws = []
    for valley, sd in zip(usable, noise.sd, strict=True):
        shape = (resamples, len(valley.loss))
        if noise.shapes.size:
            unit = rng.choice(noise.shapes - noise.shapes.mean(), size=shape)
            unit /= noise.shapes.std()
        else:
            unit = rng.standard_normal(shape)
        draws.append(unit * np.nan_to_num(sd) * scale[:, None])
    return draws
