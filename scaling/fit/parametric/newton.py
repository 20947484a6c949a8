"""Minimises sum_i w_i Huber_delta(r_i) of the surface E + A N^-alpha + B D^-beta, many at once.

Each member of a batch (a start, or a bootstrap resample) has its own parameters and row weights;
all share the rows. The gradient and the Hessian are closed forms, so a projected Newton descent
ends at machine precision in some ten steps, where L-BFGS on this objective reports success far
from the minimum. Shapes: S members, n rows, 5 parameters (E, A, B, alpha, beta), with A and B the
two terms at the geometric mean of N and of D: there the five are of one size and nearly
uncorrelated, which raw A and B are not.
"""

import logging
from dataclasses import dataclass, fields

import numpy as np

from common.terminal_line import Countdown
from scaling.fit.numerics import Rows

PARAMETERS = 5
E, A, B, ALPHA, BETA = range(PARAMETERS)
# Exponents beyond 3 or under 0.01 are a step or a constant over any range that runs can span.
LOWER = np.array([0.0, 0.0, 0.0, 0.01, 0.01])
UPPER = np.array([np.inf, np.inf, np.inf, 3.0, 3.0])

_ROWS_AT_ONCE = 60_000  # members times rows of one pass: the arrays stay in cache
_TIGHT, _LOOSE = 1e-11, 1e-6
_WARM_STEPS, _WARM = 8, 1e-2  # the wider widths only lead to a basin
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewtonResult:
    """Where a batch ended: parameters (S, 5), objective (S,), gradient (S,), converged (S,).

    `gradient` is the largest component of the free gradient as a share of its greatest possible
    value, that of rows all pulling the same way; it is 0 at a stationary point.
    """

    theta: np.ndarray
    objective: np.ndarray
    gradient: np.ndarray
    converged: np.ndarray


def predicted(theta_S5: np.ndarray, rows: Rows) -> np.ndarray:
    """Loss of each member at each row, (S, n)."""
    x_Sn, y_Sn = _powers(theta_S5, rows)
    return theta_S5[:, E, None] + theta_S5[:, A, None] * x_Sn + theta_S5[:, B, None] * y_Sn


def newton_minimise(
    theta_S5: np.ndarray,
    rows: Rows,
    weights_Sn: np.ndarray,
    deltas: tuple[float, ...],
    free: tuple[bool, ...] = (True,) * 5,
    max_steps: int = 200,
    ratio_S: np.ndarray | None = None,
) -> NewtonResult:
    """Minimise from each start, through falling `deltas`; the last one is the objective's own.

    A wide Huber is nearly least squares and has one broad basin; narrowing it by steps leads into
    the basin of the narrow one, whose floor has a kink at every row. Weights of one row (1, n)
    are those of every member. `free` fixes parameters, as rows.E does E;
    `ratio_S` ties beta to alpha, as beta/alpha of each member.
    """
    if ratio_S is not None:
        free = (*free[:BETA], False)
    if rows.E is not None:
        free = (False, *free[A:])
        theta_S5 = np.column_stack([np.full(len(theta_S5), rows.E), theta_S5[:, A:]])
    parts = [NewtonResult(np.empty((0, 5)), np.empty(0), np.empty(0), np.empty(0, bool))]
    size = max(1, _ROWS_AT_ONCE // rows.log_n.size)
    countdown = Countdown(_log, "surface, starts or resamples", len(theta_S5))
    for first in range(0, len(theta_S5), size):
        chunk = slice(first, first + size)
        theta, seen = np.clip(theta_S5[chunk], LOWER, UPPER), rows.members(chunk)
        for stage, delta in enumerate(deltas):
            last = stage == len(deltas) - 1
            steps, tight = (max_steps, _TIGHT) if last else (_WARM_STEPS, _WARM)
            held = None if ratio_S is None else ratio_S[chunk]
            weights = np.broadcast_to(weights_Sn, (len(theta_S5), weights_Sn.shape[1]))[chunk]
            batch = theta, seen, weights
            part = _minimise_one(*batch, delta, np.array(free), steps, tight, held)
            theta = part.theta
        parts.append(part)
        countdown.done(first + size)
    names = [field.name for field in fields(NewtonResult)]
    return NewtonResult(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def _minimise_one(
    theta_S5: np.ndarray,
    rows: Rows,
    weights_Sn: np.ndarray,
    delta: float,
    free: np.ndarray,
    max_steps: int,
    tight: float,
    ratio: np.ndarray | None,
) -> NewtonResult:
    theta = theta_S5.copy()
    members = len(theta)
    value, gradient = np.full(members, np.inf), np.full(members, np.inf)
    damping = np.full(members, 1e-4)
    live = np.arange(members)
    current: tuple[np.ndarray, ...] = huber_objective(theta, rows, weights_Sn, delta)
    reach = _reach(theta, rows, weights_Sn, delta)
    mass = weights_Sn.sum(axis=1)
    weights = weights_Sn
    for _ in range(max_steps):
        now, slope, curvature = current
        if ratio is not None:
            slope, curvature = _tied(slope, curvature, ratio)
        value[live] = now
        # A parameter at a bound that the slope pushes against is fixed for this step.
        held = ((theta[live] <= LOWER) & (slope > 0)) | ((theta[live] >= UPPER) & (slope < 0))
        held |= ~free
        slope = np.where(held, 0.0, slope)
        gradient[live] = np.max(np.abs(slope) / reach[live], axis=1)
        moving = (gradient[live] > tight) & (damping[live] < 1e12)
        if not moving.all():
            live, held, slope, now = live[moving], held[moving], slope[moving], now[moving]
            current = tuple(part[moving] for part in current)
            curvature, weights, rows = curvature[moving], weights[moving], rows.members(moving)
            ratio = None if ratio is None else ratio[moving]
        if not live.size:
            break
        step = _newton_step(slope, curvature, held, damping[live], mass[live])
        tried = np.clip(theta[live] + step, LOWER, UPPER)
        if ratio is not None:
            tried[:, BETA] = ratio * tried[:, ALPHA]
        trial = huber_objective(tried, rows, weights, delta)
        better = trial[0] < now
        theta[live[better]] = tried[better]
        current = tuple(
            np.where(better.reshape(-1, *[1] * (new.ndim - 1)), new, old)
            for new, old in zip(trial, current, strict=True)
        )
        damping[live] *= np.where(better, 0.1, 10.0)
        damping[live] = np.maximum(damping[live], 1e-14)
    return NewtonResult(theta, value, gradient, gradient < _LOOSE)


def _tied(
    slope: np.ndarray, curvature: np.ndarray, ratio: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and Hessian where beta = ratio alpha, by the chain rule in the place of alpha."""
    slope, curvature = slope.copy(), curvature.copy()
    slope[:, ALPHA] += ratio * slope[:, BETA]
    curvature[:, ALPHA] += ratio[:, None] * curvature[:, BETA]
    curvature[:, :, ALPHA] += ratio[:, None] * curvature[:, :, BETA]
    return slope, curvature


def _newton_step(
    slope: np.ndarray,
    curvature: np.ndarray,
    held: np.ndarray,
    damping: np.ndarray,
    mass: np.ndarray,
) -> np.ndarray:
    """Newton step (S, 5) with the absolute curvature, so that it always descends.

    `damping` is a share of `mass`, the curvature of a residual if every row lay within delta.
    """
    curvature = np.where(held[:, :, None] | held[:, None, :], 0.0, curvature)
    values, vectors = np.linalg.eigh(curvature)
    along = np.einsum("sji,sj->si", vectors, slope) / (np.abs(values) + (damping * mass)[:, None])
    return -np.einsum("sij,sj->si", vectors, along)


def huber_objective(
    theta: np.ndarray, rows: Rows, weights: np.ndarray, delta: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum over rows of w Huber_delta(r), (S,), its gradient (S, 5) and its Hessian (S, 5, 5).

    Huber_delta(r) is r^2/2 within delta, delta(|r| - delta/2) beyond, of residuals of log loss
    (Hoffmann et al. 2022, eq. 3) or of loss, as `rows` says. `theta` is (S, 5), `weights` (S, n)
    or (1, n).
    """
    x, y = _powers(theta, rows)
    a, b = theta[:, A, None] * x, theta[:, B, None] * y
    # A step too far may end at no loss at all; it is refused for its value, which must be finite.
    loss = np.maximum(theta[:, E, None] + a + b, 1e-9)
    r = rows.residuals(loss)
    weights = rows.pulls(weights, r)
    clipped = np.clip(r, -delta, delta)
    pull = weights * clipped
    inside = np.where(clipped == r, weights, 0.0)
    value = (pull * (r - 0.5 * clipped)).sum(axis=1)
    jacobian = np.empty((len(theta), 5, r.shape[1]))
    if rows.residual == "log":
        # d2 log L = d2 L / L - (d log L)(d log L)': the second part joins the Gram matrix.
        np.divide(1.0, loss, out=jacobian[:, E])
        inside -= pull
        bend = pull * jacobian[:, E]
    else:
        jacobian[:, E] = 1.0
        bend = pull
    np.multiply(x, jacobian[:, E], out=jacobian[:, A])
    np.multiply(y, jacobian[:, E], out=jacobian[:, B])
    np.multiply(jacobian[:, A], -theta[:, A, None] * rows.log_n, out=jacobian[:, ALPHA])
    np.multiply(jacobian[:, B], -theta[:, B, None] * rows.log_d, out=jacobian[:, BETA])
    slope = (jacobian @ pull[:, :, None])[:, :, 0]
    curvature = (jacobian * inside[:, None, :]) @ jacobian.transpose(0, 2, 1)
    for term, exponent, power, log_size in ((A, ALPHA, x, rows.log_n), (B, BETA, y, rows.log_d)):
        bent = (bend * power) @ np.stack([log_size, log_size**2], axis=1)
        curvature[:, term, exponent] -= bent[:, 0]
        curvature[:, exponent, term] -= bent[:, 0]
        curvature[:, exponent, exponent] += theta[:, term] * bent[:, 1]
    return value, slope, curvature


def _reach(theta: np.ndarray, rows: Rows, weights: np.ndarray, delta: float) -> np.ndarray:
    """The gradient's greatest size (S, 5), that of rows all pulling the same way."""
    x, y = _powers(theta, rows)
    # A start may lack a term, whose exponent then moves nothing; the term may come back.
    size_a, size_b = (np.where(theta[:, i] > 0, theta[:, i], rows.loss.mean()) for i in (A, B))
    a, b = size_a[:, None] * x, size_b[:, None] * y
    scale = rows.pulls(weights, np.ones_like(rows.loss))
    if rows.residual == "log":
        scale = scale / (theta[:, E, None] + a + b)
    size_n, size_d = np.abs(rows.log_n), np.abs(rows.log_d)
    parts = (scale.sum(axis=1), (scale * x).sum(axis=1), (scale * y).sum(axis=1))
    reach = np.stack([*parts, (scale * a) @ size_n, (scale * b) @ size_d], axis=1)
    return np.maximum(min(delta, 1.0) * reach, 1e-300)


def _powers(theta: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.exp(-theta[:, ALPHA, None] * rows.log_n), np.exp(-theta[:, BETA, None] * rows.log_d)
