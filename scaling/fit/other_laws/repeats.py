"""The data-constrained form, E + A N'^-alpha + B D'^-beta, and the minima of its objective.

Shapes: n rows, S members (starts or resamples), g values of R*. The five constants of the surface
are at the rows' geometric means, E, A, B and both R* as logarithms (`theta`, (S, 7)).
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from scaling.fit.laws import Surface
from scaling.fit.numerics import by_differences, huber, solve_huber
from scaling.fit.numerics.huber import SETTLED, HuberFit
from scaling.fit.other_laws.published import DataConstrained, size_for, worth
from scaling.fit.results.other_laws import RepeatMinimum

# R* under the least is a repeat worth nothing, above the most one that is as good as new.
LEAST, MOST, NO_DECAY = 1e-2, 1e5, 1e15
POINT_GRID, RESAMPLE_GRID = 141, 22  # values of R*: 20 and 3 a decade
ALPHA, BETA, R_D, R_N = 3, 4, 5, 6
_ENDS = np.log([LEAST, MOST])
LOWER = np.array([-10.0, -30.0, -30.0, 0.02, 0.02, _ENDS[0], _ENDS[0]])
UPPER = np.array([4.0, 6.0, 6.0, 3.0, 3.0, _ENDS[1], _ENDS[1]])
_SAME = 1e-2  # apart in log R* that two descents into one minimum may end


@dataclass(frozen=True)
class Repeats:
    """The rows of a fit: N, D, the unique tokens among D, log loss, each (n,); its Huber width."""

    params: np.ndarray
    tokens: np.ndarray
    unique: np.ndarray
    log_loss: np.ndarray
    delta: float

    @property
    def centre(self) -> tuple[float, float]:
        """Means of log N and log D."""
        return float(np.log(self.params).mean()), float(np.log(self.tokens).mean())

    def theta(self, surface: Surface, data: float, excess: float) -> np.ndarray:
        """The parameters (7,) of a law."""
        near = surface.shifted(*(-value for value in self.centre))
        logs = np.log([max(near.E, 1e-4), near.A, near.B])
        return np.array([*logs, near.alpha, near.beta, np.log(data), np.log(excess)])

    def law(self, theta: np.ndarray) -> DataConstrained:
        """The law of parameters (..., 7)."""
        e, a, b, alpha, beta, data, excess = np.moveaxis(theta, -1, 0)
        near = Surface(np.exp(e), np.exp(a), np.exp(b), alpha, beta)
        with np.errstate(over="ignore"):
            return DataConstrained(near.shifted(*self.centre), np.exp(data), np.exp(excess))

    def log_predicted(self, theta_S7: np.ndarray) -> np.ndarray:
        """Log loss of each member at each row, (S, n)."""
        law = self.law(theta_S7[:, None, :])
        with np.errstate(all="ignore"):
            return np.asarray(np.log(law.predict_loss(self.params, self.tokens, self.unique)))

    def in_excess(self, surface: Surface) -> bool:
        """Whether any model has more parameters than its unique tokens can use."""
        return bool((self.params > size_for(surface, self.unique) * (1 + 1e-6)).any())

    def objective(
        self, surface: Surface, data: np.ndarray, excess: np.ndarray, weights: np.ndarray
    ) -> np.ndarray:
        """The objective (g_D, g_N) at every pair of R_D* in `data` and R_N* in `excess`."""
        useful = np.minimum(size_for(surface, self.unique), self.params)
        n_gn = worth(self.params, useful, excess[:, None])
        d_gn = worth(self.tokens, self.unique, data[:, None])
        size, text = surface.A * n_gn**-surface.alpha, surface.B * d_gn**-surface.beta
        value = np.empty((len(data), len(excess)))
        for row, term in enumerate(text):  # one R_D* at a time: a pass stays in the cache
            residual = np.log(surface.E + size + term) - self.log_loss
            value[row] = huber(residual, self.delta) @ weights
        return value

    def at(self, surface: Surface, data: float, excess: float) -> float:
        """The objective at one pair."""
        ones = np.ones_like(self.tokens)
        return float(self.objective(surface, np.array([data]), np.array([excess]), ones)[0, 0])


def find_minima(rows: Repeats, surface: Surface) -> tuple[RepeatMinimum, ...]:
    """Every minimum of the objective with the surface held, the least first."""
    from scipy.optimize import minimize  # here: a third of a second to import

    ones = np.ones_like(rows.tokens)
    data, excess = _grids(rows, surface, POINT_GRID)
    value = rows.objective(surface, data, excess, ones)
    around = np.pad(value, 1, constant_values=np.inf)
    high, wide = value.shape
    free = wide > 1

    def objective(logs: np.ndarray) -> float:
        at = np.exp(np.clip(logs, *_ENDS))
        return rows.at(surface, float(at[0]), float(at[1]) if free else NO_DECAY)

    beside = [
        around[1 + i : 1 + i + high, 1 + j : 1 + j + wide]
        for i, j in product((-1, 0, 1), repeat=2)
        if (i, j) != (0, 0)
    ]
    found: list[RepeatMinimum] = []
    for i, j in np.argwhere((value[None] <= np.array(beside)).all(axis=0)):
        start = np.log([data[i], excess[j]] if free else [data[i]])
        simplex = np.vstack([start, start + np.log(data[1] / data[0]) * np.eye(len(start))])
        tight = {"initial_simplex": simplex, "xatol": 1e-7, "fatol": 1e-14}
        end = minimize(objective, start, method="Nelder-Mead", options=tight)
        at = np.exp(np.clip(end.x, *_ENDS))
        found.append(RepeatMinimum(float(at[0]), float(at[1]) if free else None, float(end.fun)))
    return distinct(found)


def distinct(found: list[RepeatMinimum]) -> tuple[RepeatMinimum, ...]:
    """The minima, the least first, each once."""
    kept: list[RepeatMinimum] = []
    for one in sorted(found, key=lambda minimum: minimum.objective):
        if not any(_same(one, other) for other in kept):
            kept.append(one)
    return tuple(kept)


def best_of_grid(rows: Repeats, surface: Surface, weights: np.ndarray) -> tuple[float, float]:
    """(R_D*, R_N*) of one weighting: the best of a grid, made finer about its best three times."""
    data, excess = _grids(rows, surface, RESAMPLE_GRID)
    step = float(np.log(data[1] / data[0]))
    for _ in range(4):
        value = rows.objective(surface, data, excess, weights)
        i, j = np.unravel_index(int(np.argmin(value)), value.shape)
        at = float(data[i]), float(excess[j])
        ends = np.exp(np.linspace(-step, step, 7))
        data = np.clip(at[0] * ends, LEAST, MOST)
        excess = np.clip(at[1] * ends, LEAST, MOST) if len(excess) > 1 else excess
        step /= 3
    return at


def descend(
    rows: Repeats,
    starts_S7: np.ndarray,
    weights_Sn: np.ndarray,
    deltas: tuple[float, ...],
    settled_at: float = SETTLED,
) -> HuberFit:
    """All seven constants of each member, downhill from its start."""
    model, bounds = by_differences(rows.log_predicted), (LOWER, UPPER)
    return solve_huber(
        model, starts_S7, rows.log_loss, weights_Sn, bounds, deltas, settled_at=settled_at
    )


def _grids(rows: Repeats, surface: Surface, points: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of R_D* and R_N* to try; of R_N* one alone where no N is in excess."""
    grid = np.geomspace(LEAST, MOST, points)
    return grid, grid if rows.in_excess(surface) else np.array([NO_DECAY])


def _same(one: RepeatMinimum, other: RepeatMinimum) -> bool:
    apart = abs(np.log(one.R_D / other.R_D))
    if one.R_N is not None and other.R_N is not None:
        apart = max(apart, abs(np.log(one.R_N / other.R_N)))
    return bool(apart < _SAME)
