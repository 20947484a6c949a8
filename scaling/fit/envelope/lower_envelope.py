"""The envelope of training curves as a staircase of sizes over compute, for runs and resamples.

Shapes: R resamples, T curves, G budgets of the grid, S sizes in ascending order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scaling.fit.observations import Observations

BUDGETS = 1500
WINDOW_STEPS = 10.0
# Sizes that differ by less are one: counts that were rounded, or FLOP counted a little apart.
_SAME_SIZE = 1.01


@dataclass(frozen=True)
class Trace:
    """One curve: rows in order of step and of tokens, settled from `settled_from` tokens on.

    `noise_scale` is that of the gradient, in tokens, nan where a row has none; None: not logged.
    """

    run_id: str
    params: float
    flops_per_token: float
    step: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    settled_from: float
    noise_scale: np.ndarray | None = None


def smoothed(step: np.ndarray, loss: np.ndarray, window: float = WINDOW_STEPS) -> np.ndarray:
    """Gaussian means of the rows within half a window of steps to either side, sd window/4."""
    total, weight = loss.copy(), np.ones_like(loss)
    for lag in range(1, len(step)):
        apart = step[lag:] - step[:-lag]
        near = np.exp(-0.5 * (apart / (window / 4)) ** 2) * (apart <= window / 2)
        if not near.any():
            break
        total[lag:] += near * loss[:-lag]
        weight[lag:] += near
        total[:-lag] += near * loss[lag:]
        weight[:-lag] += near
    return total / weight


@dataclass(frozen=True)
class LowerEnvelope:
    """Losses of all curves on one grid of budgets, and whose is least in any subset of them.

    log_c  (G,)    log FLOP of the budgets
    loss   (T, G)  smoothed loss; inf where a curve has not begun or has ended
    sizes  (S,)    parameters, ascending
    size   (T,)    which of them a curve is of
    window         of the smoothing, in steps
    """

    traces: tuple[Trace, ...]
    log_c: np.ndarray
    loss: np.ndarray
    sizes: np.ndarray
    size: np.ndarray
    window: float

    @cached_property
    def rank(self) -> np.ndarray:
        """Curves in order of loss at each budget, (T, G)."""
        return np.argsort(self.loss, axis=0, kind="stable")

    @cached_property
    def log_rates(self) -> np.ndarray:
        """log FLOP per token of each curve, (T,)."""
        return np.log([trace.flops_per_token for trace in self.traces])

    def winners(self, included: np.ndarray) -> np.ndarray:
        """The curve of least loss at each budget among those included (R, T); -1 for none."""
        found = np.full((len(included), len(self.log_c)), -1)
        for curves in self.rank:
            here = included[:, curves] & np.isfinite(self.loss[curves, np.arange(len(curves))])
            found = np.where((found < 0) & here, curves, found)
            if (found >= 0).all() or not here.any():
                break
        return found

    def points(self, winners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """log C, log N and log D of every envelope point, (R, G); nan where there is none."""
        size = self.size[winners]
        there = winners >= 0
        log_c = np.broadcast_to(self.log_c, winners.shape)
        log_n = np.where(there, np.log(self.sizes)[size], np.nan)
        return log_c, log_n, np.where(there, log_c - self.log_rates[winners], np.nan)

    def crossings(
        self, included: np.ndarray, winners: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """log C, log N and log D where the envelope leaves each size for the next, (R, S - 1).

        Noise makes the winner flicker about a crossing: the crossing is put where the sizes up to
        this one have won as many budgets as lie before it. nan where a size wins nowhere, or
        where the two were not both trained at that budget.
        """
        if winners is None:
            winners = self.winners(included)
        first = np.argmax(winners >= 0, axis=1)
        carried = np.maximum.accumulate(
            np.where(winners >= 0, np.arange(winners.shape[1]), first[:, None]), axis=1
        )
        size = self.size[np.take_along_axis(winners, carried, axis=1)]
        n_sizes = len(self.sizes)
        won = np.stack([(size == s).sum(axis=1) for s in range(n_sizes)], axis=1)
        end = np.cumsum(won, axis=1)[:, :-1]
        later = np.where(won > 0, np.arange(n_sizes), n_sizes)
        upper = np.minimum.accumulate(later[:, ::-1], axis=1)[:, ::-1][:, 1:]
        met = (won[:, :-1] > 0) & (upper < n_sizes)
        upper = np.minimum(upper, n_sizes - 1)
        before, after = np.maximum(end - 1, 0), np.minimum(end, len(self.log_c) - 1)
        covered = self._covered(included)
        row, lower = np.arange(len(included))[:, None], np.arange(n_sizes - 1)[None]
        met &= covered[row, lower, after] | covered[row, upper, before]
        log_n = np.log(self.sizes)
        log_rate = np.array([self.log_rates[self.size == s].mean() for s in range(n_sizes)])
        log_c = np.where(met, (self.log_c[before] + self.log_c[after]) / 2, np.nan)
        middle_n = (log_n[lower] + log_n[upper]) / 2
        middle_rate = (log_rate[lower] + log_rate[upper]) / 2
        return log_c, np.where(met, middle_n, np.nan), log_c - middle_rate

    def settled_share(self, winners: np.ndarray) -> float:
        """Of the budgets that have a winner (G,), the share at which its schedule had ended."""
        there = np.flatnonzero(winners >= 0)
        from_log_c = np.array(
            [np.log(max(t.settled_from, 1e-300) * t.flops_per_token) for t in self.traces]
        )
        return float((self.log_c[there] >= from_log_c[winners[there]] - 1e-9).mean())

    def _covered(self, included: np.ndarray) -> np.ndarray:
        """Whether an included curve of each size reaches each budget, (R, S, G) of bool."""
        there = np.isfinite(self.loss).astype(np.float32)
        return np.stack(
            [
                included[:, self.size == s].astype(np.float32) @ there[self.size == s] > 0
                for s in range(len(self.sizes))
            ],
            axis=1,
        )


def lower_envelope(
    traces: Sequence[Trace], budgets: int = BUDGETS, window: float = WINDOW_STEPS
) -> LowerEnvelope:
    """The curves, smoothed, on log-spaced budgets from the first row of any to the last."""
    log_c = [np.log(trace.tokens * trace.flops_per_token) for trace in traces]
    grid = np.linspace(min(x[0] for x in log_c), max(x[-1] for x in log_c), budgets)
    loss = np.stack(
        [
            np.interp(grid, x, smoothed(trace.step, trace.loss, window), np.inf, np.inf)
            for x, trace in zip(log_c, traces, strict=True)
        ]
    )
    params = np.array([trace.params for trace in traces])
    order = np.argsort(params, kind="stable")
    new = np.append(True, np.diff(np.log(params[order])) > np.log(_SAME_SIZE))
    size = np.empty(len(traces), dtype=int)
    size[order] = np.cumsum(new) - 1
    sizes = np.array([np.exp(np.log(params[size == s]).mean()) for s in range(size.max() + 1)])
    return LowerEnvelope(tuple(traces), grid, loss, sizes, size, window)


def hull_points(
    observations: Observations, included: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log C, log N and log D of the vertices of the lower hull of the final points, (R, n).

    The falling part of the hull in (log C, loss), of the runs included (R, n); nan elsewhere, and
    at the smallest and largest size of all, beyond which nothing was tried.
    """
    order = np.lexsort((observations.loss, observations.flops))
    x, y = np.log(observations.flops[order]), observations.loss[order]
    inside = included[:, order]
    rows = np.arange(len(inside))
    at, alive = inside.argmax(axis=1), inside.any(axis=1)
    on_hull = np.zeros_like(inside)
    for _ in range(len(x)):
        on_hull[rows[alive], at[alive]] = True
        run = x[None] - x[at][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = np.where(inside & (run > 1e-12), (y[None] - y[at][:, None]) / run, np.inf)
        following = slope.argmin(axis=1)
        alive &= slope[rows, following] < 0
        if not alive.any():
            break
        at = np.where(alive, following, at)
    log_n = np.log(observations.params[order])
    on_hull &= (log_n > log_n.min() + 1e-9) & (log_n < log_n.max() - 1e-9)
    log_c = np.broadcast_to(x, inside.shape)
    log_d = np.log(observations.tokens[order])
    return log_c, np.where(on_hull, log_n, np.nan), np.where(on_hull, log_d, np.nan)
