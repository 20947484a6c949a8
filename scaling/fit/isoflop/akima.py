"""The least loss of a profile by Akima's spline, alone and as Porian et al. (2024) take it.

Their minimum is a median over draws of noise, of the spline of log loss against log N, and its
spread gives the weight in the regression, never finer than a third of the grid's step. The noise
comes from the runs themselves: what a cubic through four sizes in a row misses of a parabola is
noise but for the curve's third derivative, in whatever place and with no form assumed; the median
over all such fours is not moved by the few where a run failed or the curve bends.
Shapes: k sizes of a profile in ascending order, R resamples of its losses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS = 4000  # for every minimum, whatever the resamples: the minimum must not depend on them
_MEDIAN_SQUARE = 0.4549  # of a standard normal
_FINEST = 1 / 3  # of the step of the grid
_FINE = 25  # points of the curve between two sizes


@dataclass(frozen=True)
class Bag:
    """A profile's minimum over draws of noise, nan at an edge: log N*, loss (draws,); median."""

    log_n: np.ndarray
    loss: np.ndarray
    minimum: float
    minimum_loss: float
    sd: float
    step: float

    @property
    def variance(self) -> float:
        """Of the minimum, no finer than the grid can show."""
        return max(self.sd, _FINEST * self.step) ** 2


def akima_minimum(x_k: np.ndarray, losses_Rk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(x of least loss, loss there), each (R,); nan where it is the first or the last size."""
    pieces = _akima(x_k, losses_Rk.T).c
    cubic, square, line, constant = pieces
    width = np.diff(x_k)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        root = np.sqrt(square**2 - 3 * cubic * line)
        # The root of the slope where the curve is convex, without cancellation.
        at = np.where(square >= 0, -line / (square + root), (root - square) / (3 * cubic))
    inner = (at >= 0) & (at <= width)
    at = np.where(inner, at, 0.0)
    low = np.where(inner, constant + at * (line + at * (square + at * cubic)), constant)
    piece = low.argmin(axis=0)
    row = np.arange(len(losses_Rk))
    loss, log_n = low[piece, row], x_k[piece] + at[piece, row]
    edge = (loss >= losses_Rk[:, -1]) | (log_n <= x_k[0])
    return np.where(edge, np.nan, log_n), np.where(edge, np.nan, loss)


def akima_curve(x_k: np.ndarray, loss_k: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The spline's values at `at`."""
    return np.asarray(_akima(x_k, loss_k)(at))


def local_noise(sizes: Sequence[np.ndarray], losses: Sequence[np.ndarray]) -> float:
    """Standard deviation of log loss from run to run; nan without four sizes in any profile."""
    squares = []
    for x, loss in zip(sizes, losses, strict=True):
        for first in range(len(x) - 3):
            four = x[first : first + 4]
            gaps = four[:, None] - four
            np.fill_diagonal(gaps, 1.0)
            weights = 1 / gaps.prod(axis=1)
            missed = weights @ np.log(loss[first : first + 4])
            squares.append(missed**2 / (weights**2).sum())
    if not squares:
        return float("nan")
    return float(np.sqrt(np.median(squares) / _MEDIAN_SQUARE))


def bag(
    x_k: np.ndarray, loss_k: np.ndarray, sd_k: np.ndarray, draws: np.ndarray, least: float
) -> Bag:
    """The spline's minimum over `draws` (R, k) of unit noise on log loss of this sd.

    A draw whose minimum lies below the loss `least`, which no smooth curve near the runs has, is
    without one: between sizes near each other noise alone makes the spline steep, and it overshoots
    beside them.
    """
    log_n, low = _on_grid(x_k, np.log(loss_k) + sd_k * draws)
    overshot = low < np.log(least) if least > 0 else np.zeros(len(low), dtype=bool)
    log_n, low = np.where(overshot, np.nan, log_n), np.where(overshot, np.nan, low)
    there = np.isfinite(log_n)
    minimum = minimum_loss = sd = step = float("nan")
    if there.mean() > 0.5:
        minimum, sd = float(np.median(log_n[there])), float(log_n[there].std())
        minimum_loss = float(np.exp(np.median(low[there])))
        gap = int(np.clip(np.searchsorted(x_k, minimum) - 1, 0, len(x_k) - 2))
        step = float(x_k[gap + 1] - x_k[gap])
    return Bag(log_n, np.exp(low), minimum, minimum_loss, sd, step)


def _on_grid(x_k: np.ndarray, losses_Rk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As akima_minimum, but of the points of a grid, which is how the published minima are."""
    gaps = zip(x_k[:-1], x_k[1:], strict=True)
    fine = np.unique(np.concatenate([np.linspace(left, right, _FINE) for left, right in gaps]))
    curve = _akima(x_k, losses_Rk.T)(fine)
    lowest = curve.argmin(axis=0)
    edge = (lowest == 0) | (lowest == len(fine) - 1)
    low = curve[lowest, np.arange(len(losses_Rk))]
    return np.where(edge, np.nan, fine[lowest]), np.where(edge, np.nan, low)


def _akima(x_k: np.ndarray, losses: np.ndarray) -> Any:
    from scipy.interpolate import Akima1DInterpolator  # here: a third of a second to import

    return Akima1DInterpolator(x_k, losses)
