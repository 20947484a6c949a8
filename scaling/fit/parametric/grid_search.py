"""Where Newton starts: E, A and B solved for on a grid over (alpha, beta)."""

from itertools import combinations

import numpy as np

from scaling.fit.numerics import Rows, generator
from scaling.fit.parametric.newton import ALPHA, BETA, A, B, E, NewtonResult

# The grid: cells of 13% in alpha and beta, over every exponent ever reported and more.
_GRID = np.geomspace(0.02, 2.5, 40)
_BLOCK = 10  # one start from each 10 x 10 block of cells, so that starts lie apart
# Rows that say well enough where the minima lie to descend from there on all.
_MOST_ROWS = 2_000
CELLS = np.array([(alpha, beta) for alpha in _GRID for beta in _GRID])


def solve_linear(rows: Rows, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Non-negative E, A, B of least relative squares at each (alpha, beta), and those squares.

    With three unknowns the non-negative solution is the best feasible one of the seven subsets;
    where E is held, with two, of three.
    """
    alphas, row = np.unique(cells[:, 0], return_inverse=True)
    betas, column = np.unique(cells[:, 1], return_inverse=True)
    theta = np.zeros((len(cells), 5))
    theta[:, [ALPHA, BETA]] = cells
    # All inner products of a grid's cells are those of its sides.
    unit = 1 / rows.loss if rows.residual == "log" else np.ones_like(rows.loss)
    if rows.weight is not None:
        unit = unit * np.sqrt(rows.weight)
    target = unit * (rows.loss - (rows.E or 0.0))
    x = np.exp(-alphas[:, None] * rows.log_n) * unit
    y = np.exp(-betas[:, None] * rows.log_d) * unit
    gram = np.empty((len(cells), 3, 3))
    gram[:, E, E] = unit @ unit
    gram[:, E, A] = gram[:, A, E] = (x @ unit)[row]
    gram[:, E, B] = gram[:, B, E] = (y @ unit)[column]
    gram[:, A, A] = (x * x).sum(axis=1)[row]
    gram[:, B, B] = (y * y).sum(axis=1)[column]
    gram[:, A, B] = gram[:, B, A] = (x @ y.T)[row, column]
    right = np.stack(
        [np.full(len(cells), unit @ target), (x @ target)[row], (y @ target)[column]], axis=1
    )
    best = np.full(len(cells), np.inf)
    unknown = (E, A, B) if rows.E is None else (A, B)
    for size in range(len(unknown), 0, -1):
        for subset in combinations(unknown, size):
            index = list(subset)
            part = gram[:, index][:, :, index] + 1e-14 * np.eye(size) * gram[:, [0]][:, :, [0]]
            solved = np.linalg.solve(part, right[:, index, None])[:, :, 0]
            squares = target @ target - np.einsum("sk,sk->s", solved, right[:, index])
            better = (solved >= 0).all(axis=1) & (squares < best)
            best[better] = squares[better]
            theta[better, :3] = 0.0
            theta[np.ix_(better, index)] = solved[better]
    if rows.E is not None:
        theta[:, E] = rows.E
    return theta, best


def best_of_blocks(squares: np.ndarray) -> np.ndarray:
    """The best cell of each block of the grid, as indices."""
    side, blocks = len(_GRID), len(_GRID) // _BLOCK
    tiles = squares.reshape(blocks, _BLOCK, blocks, _BLOCK).transpose(0, 2, 1, 3)
    inner = tiles.reshape(blocks * blocks, -1).argmin(axis=1)
    row = np.repeat(np.arange(blocks), blocks) * _BLOCK + inner // _BLOCK
    column = np.tile(np.arange(blocks), blocks) * _BLOCK + inner % _BLOCK
    return row * side + column


def some_rows(rows: Rows) -> Rows:
    """The rows that starts are descended from on: all, or of many a random part."""
    if rows.loss.size <= _MOST_ROWS:
        return rows
    rng = generator(0, "starts")
    return rows.take(np.sort(rng.choice(rows.loss.size, _MOST_ROWS, replace=False)))


def near_lowest(found: NewtonResult) -> np.ndarray:
    """The distinct minima (m, 5), at most three, whose objective is within a tenth of the least."""
    order = np.argsort(found.objective)
    near = [i for i in order if found.objective[i] <= 1.1 * found.objective[order[0]]]
    apart: list[np.ndarray] = []
    for theta in found.theta[near]:
        if not any(np.allclose(theta, other, rtol=1e-2) for other in apart):
            apart.append(theta)
    return np.array(apart[:3])
