"""Other forms of the surface, each fitted by the surface's own objective.

    hoffmann   L = E + A N^-alpha + B D^-beta                                 Hoffmann et al. 2022
    tied       the same with alpha = beta
    coupled    L = E + (A N^-alpha + B D^-beta)^k              k = 1 is hoffmann; 2608.07222
    bounded    L = E + (L0 - E) h/(1 + h), h = A N^-alpha + B D^-beta                 2605.09189

L0 = log V is the loss of guessing, which `bounded` never exceeds. At one budget each is least where
h is, so that N* ~ C^(beta/(alpha + beta)) in all. Parameters (S, 6): E; the logarithms of the two
terms of h^k at the rows' geometric means; the exponents of N and D in those terms, k alpha and
k beta, which k hardly moves; and log k. Shapes: S members, n rows, P free parameters of a form.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows, solve_huber
from scaling.fit.numerics.huber import SETTLED, HuberFit

E, U, V, P, Q, LOG_K = range(6)
_LOWER = np.array([0.0, -30.0, -30.0, 0.01, 0.01, np.log(0.05)])
_UPPER = np.array([50.0, 30.0, 30.0, 3.0, 3.0, np.log(20.0)])
_EDGE = 1e-6  # how near a bound counts as at it
_KS = (0.3, 0.6, 1.0, 1.7, 3.0)  # starts of k


@dataclass(frozen=True)
class Form:
    """A form: which of the six parameters are free, and how they hang together.

    free     (P, 6): theta = free parameters @ free; E is the first, and may be held
    ceiling  the loss that no model exceeds; infinite but for `bounded`
    """

    name: Literal["hoffmann", "tied", "coupled", "bounded"]
    equation: str
    free: np.ndarray
    ceiling: float = np.inf

    @property
    def parameters(self) -> int:
        """How many constants it has."""
        return len(self.free)

    def of(self, rows: Rows) -> np.ndarray:
        """The matrix `free` without E where the rows hold it."""
        return self.free if rows.E is None else self.free[1:]

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the free parameters."""
        first = self.free.argmax(axis=1)
        return _LOWER[first], _UPPER[first]

    def reduce(self, theta: np.ndarray) -> np.ndarray:
        """The free parameters (..., P) nearest to theta (..., 6)."""
        return np.asarray(theta @ self.free.T / self.free.sum(axis=1))

    def log_loss(self, theta: np.ndarray, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Log loss (S, n) of theta (S, 6) and its derivatives (S, n, 6)."""
        e, u, v, p, q, log_k = (theta[:, index, None] for index in range(6))
        k = np.exp(log_k)
        size, data = (u - p * rows.log_n) / k, (v - q * rows.log_d) / k
        total = np.logaddexp(size, data)
        share = np.exp(size - total)
        h, slopes = np.exp(k * total), np.ones((*total.shape, 6))
        if np.isinf(self.ceiling):
            loss, by_h = e + h, h
        else:
            loss = e + (self.ceiling - e) * h / (1 + h)
            by_h = (self.ceiling - e) * h / (1 + h) ** 2
            slopes[..., E] = 1 / (1 + h)
        slopes[..., U], slopes[..., V] = by_h * share, by_h * (1 - share)
        slopes[..., P] = -slopes[..., U] * rows.log_n
        slopes[..., Q] = -slopes[..., V] * rows.log_d
        slopes[..., LOG_K] = by_h * k * (total - share * size - (1 - share) * data)
        return np.log(loss), slopes / loss[..., None]

    def solve(
        self,
        rows: Rows,
        starts_S6: np.ndarray,
        weights_Sn: np.ndarray,
        deltas: tuple[float, ...],
        settled_at: float = SETTLED,
    ) -> HuberFit:
        """The minimum downhill of each start; `theta` (S, 6), all of them."""

        free, first = self.of(rows), self.parameters - len(self.of(rows))
        held = np.zeros(6)
        held[E] = rows.E or 0.0

        def model(reduced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.in_terms_of(rows, reduced @ free + held, free)

        starts = self.reduce(starts_S6)[:, first:]
        bounds = self.bounds[0][first:], self.bounds[1][first:]
        target = rows.loss if rows.residual == "loss" else np.log(rows.loss)
        found = solve_huber(
            model, starts, target, weights_Sn, bounds, deltas, settled_at, rows.pulls
        )
        return HuberFit(found.theta @ free + held, found.objective, found.settled)

    def in_terms_of(
        self, rows: Rows, theta: np.ndarray, free_P6: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log loss (S, n), or loss, as the rows' residuals are, and derivatives (S, n, P)."""
        value, slopes = self.log_loss(theta, rows)
        slopes = slopes @ free_P6.T
        if rows.residual == "loss":
            value = np.exp(value)
            slopes = slopes * value[..., None]
        return value, slopes

    def misfit(self, theta_6: np.ndarray, rows: Rows) -> np.ndarray:
        """Observed less fitted of each row, as the rows' residuals are."""
        log_loss = self.log_loss(theta_6[None], rows)[0][0]
        if rows.residual == "loss":
            return np.asarray(rows.loss - np.exp(log_loss))
        return np.asarray(np.log(rows.loss) - log_loss)

    def surface(self, theta: np.ndarray, rows: Rows) -> Surface:
        """The constants of theta (..., 6) in raw N and D."""
        e, u, v, p, q, log_k = np.moveaxis(theta, -1, 0)
        k = np.exp(log_k)
        with np.errstate(over="ignore"):
            near = Surface(e, np.exp(u / k), np.exp(v / k), p / k, q / k)
            near = near.shifted(*rows.centre)
        if self.name == "coupled":
            return replace(near, k=k)
        return replace(near, ceiling=self.ceiling) if np.isfinite(self.ceiling) else near


def _free(*names: tuple[int, ...]) -> np.ndarray:
    matrix = np.zeros((len(names), 6))
    for row, members in enumerate(names):
        matrix[row, list(members)] = 1.0
    return matrix


HOFFMANN = Form("hoffmann", "L = E + A N^-alpha + B D^-beta", _free((E,), (U,), (V,), (P,), (Q,)))
TIED = Form("tied", "L = E + A N^-alpha + B D^-alpha", _free((E,), (U,), (V,), (P, Q)))
COUPLED = Form(
    "coupled",
    "L = E + (A N^-alpha + B D^-beta)^k",
    _free((E,), (U,), (V,), (P,), (Q,), (LOG_K,)),
)


def bounded(ceiling: float) -> Form:
    """The form that does not exceed the loss of guessing."""
    equation = "L = E + (L0 - E) h/(1 + h), h = A N^-alpha + B D^-beta"
    return Form("bounded", equation, HOFFMANN.free, ceiling)


def starts(form: Form, hoffmann_5: np.ndarray, rows: Rows) -> np.ndarray:
    """Starts (S, 6) about the surface E, A, B, alpha, beta (5,) at the rows' centre."""
    e, a, b, alpha, beta = hoffmann_5
    loss = float(rows.loss.mean())
    base = np.array([e, *np.log(np.maximum([a, b], 1e-6 * loss)), alpha, beta, 0.0])
    if form.name == "coupled":
        found = np.repeat(base[None], len(_KS), axis=0)
        found[:, LOG_K] = np.log(_KS)
        # h^k keeps its size at the centre, where the two terms of h are h's shares of it.
        share = base[[U, V]] - np.logaddexp(base[U], base[V])
        total = np.logaddexp(base[U], base[V])
        found[:, [U, V]] = total + np.array(_KS)[:, None] * share
        return found
    if form.name == "bounded":
        about: list[list[float]] = []
        for floor in (0.0, 0.5 * e, e) if rows.E is None else (e,):
            room = (loss - floor) / max(form.ceiling - loss, 0.05 * loss)
            terms = base[[U, V]] - np.logaddexp(base[U], base[V]) + np.log(max(room, 1e-3))
            about += [[floor, *terms, x * alpha, x * beta, 0.0] for x in (1.0, 1.5)]
        return np.array(about)
    return base[None]


def at_bounds(form: Form, theta_S6: np.ndarray) -> np.ndarray:
    """Whether each member (S,) has a constant other than E at its bound."""
    low, high = form.bounds
    reduced = form.reduce(theta_S6)
    return np.asarray(((reduced <= low + _EDGE) | (reduced >= high - _EDGE))[:, 1:].any(axis=1))
