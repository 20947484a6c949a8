"""Weighted least squares of a curved model, many weightings at once, by Levenberg-Marquardt.

Minimises sum_i w_i (f_i(theta) - y_i)^2 within bounds for each member of a batch: a start, or a
bootstrap resample. It serves the laws of few parameters (power laws with an E, Kaplan's joint
law, over-training), whose residuals are small, so that the Gauss-Newton curvature is all that is
needed. Shapes: S members, n rows, P parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np

# From theta (S, P) to the model (S, n) and its derivatives (S, n, P).
Model = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

_MEMBERS_TIMES_ROWS = 200_000  # of one pass: 6 MB an array of four derivatives
_MOST_STEPS, _LOOSE = 200, 1e-4
# How far residuals may stay from orthogonal, as a cosine: for an estimate, and for a resample.
POINT, RESAMPLE = 1e-10, 3e-5
_ROUNDING = 1e-29  # mean square residual, as a share of the target's, under which nothing is left


@dataclass(frozen=True)
class Solved:
    """Where a batch ended: theta (S, P), weighted squares (S,), converged (S,).

    Converged means that the residuals are orthogonal to every free derivative, as a cosine under
    1e-4, or that there are none left.
    """

    theta: np.ndarray
    squares: np.ndarray
    converged: np.ndarray

    def best(self) -> int:
        """The member of least squares."""
        return int(np.argmin(np.where(np.isfinite(self.squares), self.squares, np.inf)))


def solve(
    model: Model,
    starts_SP: np.ndarray,
    target: np.ndarray,
    weights_Sn: np.ndarray,
    lower_P: np.ndarray,
    upper_P: np.ndarray,
    tight: float = POINT,
    most_steps: int = _MOST_STEPS,
) -> Solved:
    """The minimum downhill of each start, under its own weights.

    `target` is (n,), one for all members, or (S, n); so are weights of one row (1, n).
    """
    shape = len(starts_SP), weights_Sn.shape[1]
    weights_Sn = np.broadcast_to(weights_Sn, shape)
    targets_Sn = np.broadcast_to(target, shape)
    size = max(1, _MEMBERS_TIMES_ROWS // weights_Sn.shape[1])
    parts = [Solved(np.empty((0, lower_P.size)), np.empty(0), np.empty(0, bool))]
    # A member that leaves the range of floats has nan for a cosine: it stops, not converged.
    with np.errstate(all="ignore"):
        for first in range(0, len(starts_SP), size):
            part = slice(first, first + size)
            batch = starts_SP[part], targets_Sn[part], weights_Sn[part]
            parts.append(_solve(model, *batch, (lower_P, upper_P), tight, most_steps))
    names = [field.name for field in fields(Solved)]
    return Solved(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _solve(
    model: Model,
    starts: np.ndarray,
    target: np.ndarray,
    weights: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    tight: float,
    most_steps: int,
) -> Solved:
    lower, upper = bounds
    theta = np.clip(starts, lower, upper)
    members, width = theta.shape
    squares, cosine = np.full(members, np.inf), np.full(members, np.inf)
    damping = np.full(members, 1e-3)
    none_left = _ROUNDING * (weights * target**2).sum(axis=1)
    live = np.arange(members)
    for _ in range(most_steps):
        f, jacobian = model(theta[live])
        r, w = f - target[live], weights[live]
        squares[live] = now = (w * r**2).sum(axis=1)
        weighted = jacobian * w[:, :, None]
        slope = np.einsum("snp,sn->sp", weighted, r)
        gram = np.swapaxes(jacobian, 1, 2) @ weighted
        held = ((theta[live] <= lower) & (slope > 0)) | ((theta[live] >= upper) & (slope < 0))
        slope = np.where(held, 0.0, slope)
        diagonal = np.einsum("spp->sp", gram)
        reach = np.sqrt(np.maximum(diagonal, 1e-150)) * np.sqrt(np.maximum(now, 1e-150))[:, None]
        cosine[live] = np.where(now <= none_left[live], 0.0, np.max(np.abs(slope) / reach, axis=1))
        moving = (cosine[live] > tight) & (damping[live] < 1e12)
        if not moving.any():
            break
        live, held, slope, now = live[moving], held[moving], slope[moving], now[moving]
        gram = np.where(held[:, :, None] | held[:, None, :], 0.0, gram[moving])
        ridge = np.maximum(diagonal[moving], 1e-300) * damping[live, None] + held
        gram[:, range(width), range(width)] += ridge + 1e-300
        tried = np.clip(theta[live] - _ratio(gram, slope), lower, upper)
        after = (weights[live] * (model(tried)[0] - target[live]) ** 2).sum(axis=1)
        better = after < now
        theta[live[better]] = tried[better]
        damping[live] *= np.where(better, 0.1, 10.0)
        damping[live] = np.maximum(damping[live], 1e-12)
    return Solved(theta, squares, cosine < _LOOSE)


def _ratio(gram: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """gram^-1 slope, scaled to a unit diagonal so that no parameter's unit decides the rounding."""
    scale = 1 / np.sqrt(np.einsum("spp->sp", gram))
    scaled = gram * scale[:, :, None] * scale[:, None, :]
    # A resample with too few distinct rows has no inverse; its own ridge keeps the solve defined.
    scaled[:, range(slope.shape[1]), range(slope.shape[1])] += 1e-15
    return scale * np.linalg.solve(scaled, (scale * slope)[:, :, None])[:, :, 0]
