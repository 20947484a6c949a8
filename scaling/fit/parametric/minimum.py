"""The global minimum of the surface's objective, with what certifies it.

Two independent roads lead to the minimum and must agree: a grid over (alpha, beta) on which E, A
and B are solved for (variable projection, as Czech 2026 advises), and Newton descents in all five
parameters from the best cells of that grid. The result has gradient, starts, starts that agree.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.fit.config import Objective
from scaling.fit.numerics import Rows
from scaling.fit.parametric.grid_search import (
    CELLS,
    best_of_blocks,
    near_lowest,
    solve_linear,
    some_rows,
)
from scaling.fit.parametric.newton import (
    ALPHA,
    BETA,
    LOWER,
    PARAMETERS,
    UPPER,
    A,
    B,
    E,
    NewtonResult,
    newton_minimise,
)

NAMES = ("E", "A", "B", "alpha", "beta")
_AGREE = 1e-6  # relative difference of objectives that count as one minimum
_NOTHING = 1e-9  # share of the loss under which a term changes nothing
# Huber widths that no residual is within, or all are.
_WIDTHS: dict[str, float] = {"lad": 1e-6, "least_squares": 1e9, "least_squares_loss": 1e9}
_LINEAR = (True, True, True, False, False)


@dataclass(frozen=True)
class PointFit:
    """The minimum of the objective over the rows given, with what certifies it.

    theta           E, A, B, alpha, beta; A and B at the rows' geometric means
    at_bound        names of parameters that ended at a bound, and which one
    grid_objective  lowest objective that variable projection found
    """

    theta: np.ndarray
    objective: float
    gradient: float
    converged: bool
    starts: int
    starts_at_optimum: int
    grid_objective: float
    at_bound: dict[str, Literal["low", "high"]]

    @property
    def certified(self) -> bool:
        """Stationary, and nowhere does the grid lie lower."""
        slack = _AGREE * self.objective + 1e-18
        return self.converged and self.objective <= self.grid_objective + slack


def width(objective: Objective, delta: float) -> float:
    """The Huber width by which `objective` is minimised."""
    return _WIDTHS.get(objective, delta)


def minimise(rows: Rows, delta: float) -> PointFit:
    """The global minimum of the objective over all rows, certified as far as that is possible.

    Of many rows a part, drawn at random, leads the starts to its minima; those that lie near the
    lowest are then descended from on all rows. The grid's best cells are compared on all rows too.
    """
    part = some_rows(rows)
    cells, squares = solve_linear(part, CELLS)
    chosen = best_of_blocks(squares)
    on_grid = _descend(cells[chosen], part, (delta,), _LINEAR, 60)
    free = _descend(cells[chosen], part, stages(delta))
    best = int(np.argmin(free.objective))
    value = float(free.objective[best])
    arrived = int((free.objective <= value * (1 + _AGREE) + 1e-18).sum())
    if part is not rows:
        lowest = int(np.argmin(on_grid.objective))
        on_grid = _descend(on_grid.theta[[lowest]], rows, (delta,), _LINEAR, 60)
        free = _descend(near_lowest(free), rows, (10 * delta, 3 * delta, delta))
        best = int(np.argmin(free.objective))
        value = float(free.objective[best])
    theta = free.theta[best]
    return PointFit(
        theta=theta,
        objective=value,
        gradient=float(free.gradient[best]),
        converged=bool(free.converged[best]),
        starts=len(chosen),
        starts_at_optimum=arrived,
        grid_objective=float(on_grid.objective.min()),
        at_bound=_bounds(theta, rows),
    )


def _descend(
    starts: np.ndarray,
    rows: Rows,
    deltas: tuple[float, ...],
    free: tuple[bool, ...] = (True,) * PARAMETERS,
    most: int = 200,
) -> NewtonResult:
    return newton_minimise(starts, rows, np.ones((1, rows.loss.size)), deltas, free, most)


def _bounds(theta: np.ndarray, rows: Rows) -> dict[str, Literal["low", "high"]]:
    """Parameters at a bound; a term that is the same for all rows, but for rounding, is at 0."""
    found: dict[str, Literal["low", "high"]] = {}
    for name, index in zip(NAMES, (E, A, B, ALPHA, BETA), strict=True):
        if name == "E" and rows.E is not None:
            continue
        if theta[index] <= LOWER[index]:
            found[name] = "low"
        elif theta[index] >= UPPER[index]:
            found[name] = "high"
    for name, term, exponent, logs in (("A", A, ALPHA, rows.log_n), ("B", B, BETA, rows.log_d)):
        if np.ptp(theta[term] * np.exp(-theta[exponent] * logs)) < _NOTHING * rows.loss.min():
            found[name] = "low"
    return found


def stages(delta: float) -> tuple[float, ...]:
    """Falling Huber widths that end at `delta`, in steps of about a factor 3 from 0.1."""
    count = max(0, int(np.ceil(np.log(0.1 / delta) / np.log(3.2)))) if delta < 0.1 else 0
    return (*np.geomspace(0.1, delta, count + 1)[:-1], delta) if count else (delta,)
