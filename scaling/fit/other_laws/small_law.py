"""What the laws of few parameters share: least squares from many starts, then for each resample.

Of many rows a random part leads the starts to the minimum, and resamples are one step from it.

Shapes: S starts, R resamples, n rows, P parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.numerics import (
    RESAMPLE,
    Model,
    Solved,
    case_weights,
    generator,
    identify,
    solve,
)
from scaling.fit.numerics.one_step import MANY_ROWS, one_step
from scaling.fit.results.estimate import Identifiability

_MOST_AT_START = 2_000
_STARTS_KEPT = 5
_NEAR = 1e-4  # of a parameter's size, within which starts ended at one minimum
_SAME = 1e-9  # relative difference of squares that are of one minimum
_NOTHING = 1e-9  # share of the other under which a term changes nothing


@dataclass(frozen=True)
class Minimum:
    """The parameters (P,) of least squares, those squares, and which of them the rows determine."""

    theta: np.ndarray
    squares: float
    identified: Identifiability


@dataclass(frozen=True)
class SmallLaw:
    """A law over the rows of a fit, within bounds (P,).

    `whole` says of each member (S, P) whether it is an answer: both terms are there, and no
    exponent is at its bound. `names` are those of the parameters; one without a lower bound is a
    logarithm, and `log_size` says what change of it is as large as its term.
    `part` gives the model of some rows, by index; without it every row is in every pass, however
    many there are.
    """

    model: Model
    lower: np.ndarray
    upper: np.ndarray
    whole: Callable[[np.ndarray], np.ndarray]
    names: tuple[str, ...]
    log_size: Callable[[np.ndarray], float] = lambda theta: 1.0
    part: Callable[[Any], Model] | None = None

    def fit(self, starts_SP: np.ndarray, target_n: np.ndarray) -> Minimum | str:
        """The best minimum that the starts lead to, or why it is no answer."""
        n = target_n.size
        if self.part is not None and n > _MOST_AT_START:
            rows = np.sort(generator(0, "starts").choice(n, _MOST_AT_START, replace=False))
            found = self._solve(self.part(rows), starts_SP, target_n[rows])
            starts_SP = _apart(found.theta[np.argsort(found.squares)])
        found = self._solve(self.model, starts_SP, target_n)
        best = found.best()
        if not found.converged[best]:
            return "not converged: no start ended at a minimum"
        whole = self.whole(found.theta) & found.converged
        if not whole[best]:
            # Along a ridge of equal minima a term may vanish, or not.
            level = found.squares[best] * (1 + _SAME)
            best = int(np.argmin(np.where(whole & (found.squares <= level), found.squares, np.inf)))
        if not whole[best]:
            return "a term vanished: these runs do not show how loss falls with both N and D"
        theta, squares = found.theta[best], float(found.squares[best])
        return Minimum(theta, squares, self._identified(theta, squares))

    def _identified(self, theta_P: np.ndarray, squares: float) -> Identifiability:
        jacobian_nP = self.model(theta_P[None])[1][0]
        free = np.flatnonzero((theta_P > self.lower) & (theta_P < self.upper))
        sizes_P = np.where(np.isinf(self.lower), self.log_size(theta_P), theta_P)
        sd = float(np.sqrt(squares / max(len(jacobian_nP) - len(free), 1)))
        names = [self.names[index] for index in free]
        return identify(names, jacobian_nP[:, free], sizes_P[free], sd)

    def _solve(self, model: Model, starts_SP: np.ndarray, target_n: np.ndarray) -> Solved:
        weights = np.ones((1, target_n.size))
        return solve(model, starts_SP, target_n, weights, self.lower, self.upper)

    def refit(self, theta_P: np.ndarray, target: np.ndarray, weights_Rn: np.ndarray) -> np.ndarray:
        """Parameters (R, P) of each resample's target, (n,) or (R, n); nan without an answer."""
        starts = np.repeat(theta_P[None], len(weights_Rn), axis=0)
        found = solve(self.model, starts, target, weights_Rn, self.lower, self.upper, RESAMPLE)
        answered = found.converged & self.whole(found.theta)
        return np.where(answered[:, None], found.theta, np.nan)

    def case_refit(
        self,
        theta_P: np.ndarray,
        target_n: np.ndarray,
        resamples: int,
        rng: np.random.Generator,
        floor: int | None = None,
    ) -> np.ndarray:
        """Parameters (R, P) of resampled rows, by one step where they are many (one_step.py).

        The parameter at index `floor` has its bound at 0.
        """
        n, part = target_n.size, self.part
        if part is None or n <= MANY_ROWS:
            return self.refit(theta_P, target_n, case_weights(n, resamples, rng))

        def terms(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            predicted, jacobian = part(at)(theta_P[None])
            first = jacobian[0]
            pull = (predicted[0] - target_n[at])[:, None]
            return pull * first, first[:, :, None] * first[:, None, :]

        found = one_step(theta_P, terms, n, resamples, rng, floor)
        within = ((found >= self.lower) & (found <= self.upper)).all(axis=1)
        return np.where((within & self.whole(found))[:, None], found, np.nan)


def _apart(theta_SP: np.ndarray) -> np.ndarray:
    """The first few members that are minima of their own, not one minimum reached again."""
    kept: list[np.ndarray] = []
    for theta in theta_SP:
        size = np.maximum(np.abs(theta), 1.0)
        if all((np.abs(theta - other) > _NEAR * size).any() for other in kept):
            kept.append(theta)
    return np.array(kept[:_STARTS_KEPT])


def inside(theta_SP: np.ndarray, lower_P: np.ndarray, upper_P: np.ndarray) -> np.ndarray:
    """Whether each member is between the bounds and at none of them."""
    return np.all((theta_SP > lower_P) & (theta_SP < upper_P), axis=1)


def both_terms(log_ratio_Sn: np.ndarray) -> np.ndarray:
    """Whether either of two terms counts beside the other in some row, for each member."""
    least, most = log_ratio_Sn.min(axis=1), log_ratio_Sn.max(axis=1)
    return np.asarray((most > np.log(_NOTHING)) & (least < -np.log(_NOTHING)))
