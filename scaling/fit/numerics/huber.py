"""The sum of Huber losses of a curved model, many weightings at once, by reweighted squares.

Minimises sum_i w_i Huber_delta(f_i(theta) - y_i) within bounds. Each round weighs a row by
min(1, delta/|r|), so that the squares have the gradient of the Huber loss, and solves these
(levenberg_marquardt.py); no round raises the objective. The surface of Hoffmann et al. has a Newton
method of its own; this serves every other form. Shapes: S members, n rows, P parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaling.fit.numerics.levenberg_marquardt import Model, solve

_STEP = 1e-6  # of a derivative by central differences, in units of a parameter near 1
_LOOSE, _STEPS = 1e-3, 20  # cosine at which a round's squares are solved, and their most steps
# Relative fall of the objective in a round at which a member ends: an estimate, and a resample.
SETTLED, SETTLED_RESAMPLE = 1e-9, 1e-5
_ROUNDS_OF_STAGE = 3
_MOST_ROUNDS = {SETTLED: 200, SETTLED_RESAMPLE: 40}
_TINY = 1e-18  # of an objective that is rounding alone


@dataclass(frozen=True)
class HuberFit:
    """Where a batch ended: theta (S, P), objective (S,), settled (S,): it falls no further."""

    theta: np.ndarray
    objective: np.ndarray
    settled: np.ndarray

    def best(self) -> int:
        """The member of least objective."""
        return int(np.argmin(np.where(np.isfinite(self.objective), self.objective, np.inf)))


def by_differences(values: Callable[[np.ndarray], np.ndarray]) -> Model:
    """A model (S, n) of theta (S, P) with its derivatives by central differences."""

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        members, width = theta.shape
        steps = _STEP * np.eye(width)[:, None]
        # One call for all: its overhead is most of the cost of few rows.
        every = np.concatenate([theta[None], theta + steps, theta - steps])
        found = values(every.reshape(-1, width))
        found = found.reshape(2 * width + 1, members, found.shape[1])
        slopes = (found[1 : width + 1] - found[width + 1 :]) / (2 * _STEP)
        return found[0], np.moveaxis(slopes, 0, 2)

    return model


def huber(residual: np.ndarray, delta: float) -> np.ndarray:
    """r^2/2 within delta, delta(|r| - delta/2) beyond (Hoffmann et al. 2022, eq. 3)."""
    apart = np.abs(residual)
    within = np.minimum(apart, delta)
    return np.asarray(within * (apart - 0.5 * within))


def solve_huber(
    model: Model,
    starts_SP: np.ndarray,
    target: np.ndarray,
    weights_Sn: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray],
    deltas: tuple[float, ...],
    settled_at: float = SETTLED,
    pulls: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> HuberFit:
    """The minimum downhill of each start, through falling `deltas`, of which the last counts.

    `target` is (n,), one for all members, or (S, n). `pulls` gives the weights of residuals where
    these decide on them.
    """
    theta = np.clip(starts_SP, *bounds)
    targets_Sn = np.broadcast_to(target, weights_Sn.shape)
    members = len(theta)
    objective, settled = np.full(members, np.inf), np.zeros(members, dtype=bool)
    for stage, delta in enumerate(deltas):
        last = stage == len(deltas) - 1
        objective, live = np.full(members, np.inf), np.arange(members)
        for _ in range(_MOST_ROUNDS[settled_at] if last else _ROUNDS_OF_STAGE):
            with np.errstate(all="ignore"):
                residual = model(theta[live])[0] - targets_Sn[live]
                weights = weights_Sn[live]
                weights = weights if pulls is None else pulls(weights, residual)
                now = (weights * huber(residual, delta)).sum(axis=1)
                pull = weights * np.minimum(1.0, delta / np.maximum(np.abs(residual), 1e-300))
            fallen = objective[live] - now
            objective[live] = now
            done = fallen <= settled_at * now + _TINY
            if last:
                settled[live[done]] = True
            live, pull = live[~done], pull[~done]
            if not live.size:
                break
            found = solve(model, theta[live], targets_Sn[live], pull, *bounds, _LOOSE, _STEPS)
            finite = np.isfinite(found.theta).all(axis=1)
            theta[live[finite]] = found.theta[finite]
    return HuberFit(theta, objective, settled & np.isfinite(objective))
