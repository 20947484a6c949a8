"""The runs of a fit, their log N and log D about the means over them.

There the size of a law's two terms and its exponents are nearly uncorrelated, which the constants
of raw N and D are not. Shapes: n rows, S members of a batch.
"""

from dataclasses import astuple, dataclass, replace
from typing import Any, Literal

import numpy as np

from scaling.fit.laws import Surface

Residual = Literal["log", "loss"]


@dataclass(frozen=True)
class Rows:
    """The data of a fit: centred log N and log D, each (n,), and the loss, (n,) or (S, n).

    Losses of (S, n) are other outcomes of the same runs, one for each member of a batch.
    residual: "log" takes r = log Lhat - log L (Hoffmann et al., eq. 3; a report's are the other
        way round, observed over fitted), "loss" Lhat - L.
    centre: the two means that were taken away.
    above: what the objective of a run counts whose loss lies above the law, r < 0.
    weight: what each row counts, (n,); None where all count alike.
    E: the irreducible loss where it is held; None where it is fitted.
    """

    log_n: np.ndarray
    log_d: np.ndarray
    loss: np.ndarray
    residual: Residual = "log"
    centre: tuple[float, float] = (0.0, 0.0)
    above: float = 1.0
    weight: np.ndarray | None = None
    E: float | None = None

    @staticmethod
    def of(
        params: np.ndarray, tokens: np.ndarray, loss: np.ndarray, residual: Residual = "log"
    ) -> "Rows":
        """The rows of runs in raw N and D."""
        log_n, log_d = np.log(params), np.log(tokens)
        centre = log_n.mean(), log_d.mean()
        return Rows(log_n - centre[0], log_d - centre[1], loss, residual, centre)

    def take(self, rows: Any) -> "Rows":
        """Some of the rows about the same centre, by index or slice, each of one loss."""
        weight = None if self.weight is None else self.weight[rows]
        parts = {"log_n": self.log_n[rows], "log_d": self.log_d[rows], "loss": self.loss[rows]}
        return replace(self, **parts, weight=weight)

    def residuals(self, fitted: np.ndarray) -> np.ndarray:
        """r of losses (..., n) that a law says."""
        if self.residual == "loss":
            return fitted - self.loss
        return np.log(np.maximum(fitted, 1e-300) / self.loss)

    def pulls(self, weights: np.ndarray, r: np.ndarray) -> np.ndarray:
        """`weights` times what the rows count where their residuals are `r`."""
        if self.weight is not None:
            weights = weights * self.weight
        return weights if self.above == 1 else weights * np.where(r < 0, self.above, 1.0)

    def members(self, chosen: Any) -> "Rows":
        """The rows as some members of the batch, by mask or slice, see them."""
        return self if self.loss.ndim == 1 else replace(self, loss=self.loss[chosen])

    def surface(self, theta: np.ndarray) -> Surface:
        """The surface in raw N and D of E, A, B, alpha, beta (..., 5) in centred ones."""
        found = Surface(*np.moveaxis(theta, -1, 0)).shifted(*self.centre)
        return Surface(*map(float, astuple(found)[:5])) if theta.ndim == 1 else found

    def theta(self, surface: Surface) -> np.ndarray:
        """E, A, B, alpha, beta (5,) in centred N and D of a surface in raw ones."""
        return np.array(astuple(surface.shifted(-self.centre[0], -self.centre[1]))[:5])
