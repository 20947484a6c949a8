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

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows, solve_huber
from scaling.fit.numerics.huber import SETTLED, HuberFit
from scaling.fit.parametric.bootstrap import kernel

E, U, V, P, Q, LOG_K = range(6)
_LOWER = np.array([0.0, -30.0, -30.0, 0.01, 0.01, np.log(0.05)])
_UPPER = np.array([50.0, 30.0, 30.0, 3.0, 3.0, np.log(20.0)])
_EDGE = 1e-6  # how near a bound counts as at it
_KS = (0.3, 0.6, 1.0, 1.7, 3.0)  # starts of k
_NODES = 101


@dataclass(frozen=True)
class Form:
    """A form: which of the six parameters are free, and how they hang together.

    free     (P, 6): theta = fixed + free parameters @ free
    ceiling  the loss that no model exceeds; infinite but for `bounded`
    """

    name: Literal["hoffmann", "tied", "coupled", "bounded"]
    equation: str
    free: np.ndarray
    ceiling: float = np.inf

    @property
    def parameters(self) -> int:
        """How many constants are fitted."""
        return len(self.free)

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

        def model(reduced: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            value, slopes = self.log_loss(reduced @ self.free, rows)
            return value, slopes @ self.free.T

        starts = self.reduce(starts_S6)
        target = np.log(rows.loss)
        found = solve_huber(
            model, starts, target, weights_Sn, self.bounds, deltas, settled_at=settled_at
        )
        return HuberFit(found.theta @ self.free, found.objective, found.settled)

    def constants(self, theta: np.ndarray, rows: Rows) -> tuple[Surface, Any]:
        """E, A, B, alpha, beta of theta (..., 6) in raw N and D, and k."""
        e, u, v, p, q, log_k = np.moveaxis(theta, -1, 0)
        k = np.exp(log_k)
        with np.errstate(over="ignore"):
            near = Surface(e, np.exp(u / k), np.exp(v / k), p / k, q / k)
            return near.shifted(*rows.centre), k

    def predict(self, theta_6: np.ndarray, rows: Rows, params: Any, tokens: Any) -> np.ndarray:
        """Loss in nats per token of models of `params` on `tokens`, by the fit to `rows`."""
        there = Rows(np.log(params) - rows.centre[0], np.log(tokens) - rows.centre[1], tokens)
        return np.exp(self.log_loss(theta_6[None], there)[0][0])


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
        for floor in (0.0, 0.5 * e, e):
            room = (loss - floor) / max(form.ceiling - loss, 0.05 * loss)
            terms = base[[U, V]] - np.logaddexp(base[U], base[V]) + np.log(max(room, 1e-3))
            about += [[floor, *terms, x * alpha, x * beta, 0.0] for x in (1.0, 1.5)]
        return np.array(about)
    return base[None]


def rise_weight(residuals_n: np.ndarray, delta: float, parameters: int) -> float:
    """2 E[psi'] / E[psi^2] of residuals spread by their kernel, for a fit of `parameters`.

    Times the rise of the objective where a constant is held it is F(1, n - parameters): the
    quasi-likelihood ratio of M-estimates (Schrader & Hettmansperger 1980, Biometrika 67, 93).
    """
    from scipy.stats import norm  # here: a third of a second to import

    n = residuals_n.size
    centred, width, keep = kernel(residuals_n, parameters)
    spread = keep * np.sqrt(n / max(n - parameters, 1))
    nodes = norm.ppf((np.arange(_NODES) + 0.5) / _NODES)
    smooth = spread * (centred[:, None] + width * nodes)
    square = np.mean(np.clip(smooth, -delta, delta) ** 2)
    return float(2 * np.mean(np.abs(smooth) <= delta) / max(square, 1e-300))


def at_bounds(form: Form, theta_S6: np.ndarray) -> np.ndarray:
    """Whether each member (S,) has a constant other than E at its bound."""
    low, high = form.bounds
    reduced = form.reduce(theta_S6)
    return np.asarray(((reduced <= low + _EDGE) | (reduced >= high - _EDGE))[:, 1:].any(axis=1))
