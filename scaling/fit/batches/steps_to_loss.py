"""In how many steps training curves of several batches reach one loss.

Each curve, without its first twentieth, becomes the falling curve of least squares (isotonic
regression), off which the steps to a loss are read. Shapes: n points (a run at a loss).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.envelope.lower_envelope import Trace

FEWEST_BATCHES = 3
LEVELS = 6  # losses of one size
_EARLY_ROWS, _EARLY_SHARE = 10, 0.05  # of a curve, in which warm-up and the first fall are
_SAME_BATCH = 1.02  # steps that were rounded
_BINS = 24  # of one curve
_BESIDE = 1.02  # losses about one that was asked for, between which its slope is


@dataclass(frozen=True)
class Points:
    """Curves at the losses of a ladder, one row a run and loss.

    run     (n,) which run; runs of one size share `size` (n,) of parameters
    level   (n,) which pair of size and loss
    log_s   (n,) log of the steps to that loss
    slope   (n,) nats by which the curve falls in one unit of log S there
    log_noise  (n,) log of the gradient noise scale there, in tokens; nan where it was not logged
    """

    run: np.ndarray
    size: np.ndarray
    level: np.ndarray
    loss: np.ndarray
    log_b: np.ndarray
    log_s: np.ndarray
    slope: np.ndarray
    log_noise: np.ndarray

    def take(self, keep: np.ndarray) -> "Points":
        """Some of the rows."""
        return Points(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))

    def levels(self) -> list[np.ndarray]:
        """The rows of each pair of size and loss."""
        return [np.flatnonzero(self.level == one) for one in np.unique(self.level)]


@dataclass(frozen=True)
class MeanRows:
    """Curves by bins of equal length in log S (n,): the run, logs of size, steps, batch, loss."""

    run: np.ndarray
    log_n: np.ndarray
    log_s: np.ndarray
    log_b: np.ndarray
    log_loss: np.ndarray

    @staticmethod
    def of(traces: Sequence[Trace]) -> "MeanRows":
        """The rows of all curves."""
        parts = []
        for index, trace in enumerate(traces):
            rows = settled_rows(trace)
            log_s, loss = np.log(trace.step[rows]), np.log(trace.loss[rows])
            reach = np.linspace(log_s[0], log_s[-1], _BINS + 1)[1:-1]
            _, place, count = np.unique(
                np.searchsorted(reach, log_s, side="right"), return_inverse=True, return_counts=True
            )
            means = [np.bincount(place, values) / count for values in (log_s, loss)]
            same = [np.full(len(count), v) for v in (trace.params, batch_of(trace))]
            run, log_n, log_b = np.full(len(count), index), np.log(same[0]), np.log(same[1])
            parts.append((run, log_n, means[0], log_b, means[1]))
        return MeanRows(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def points_of(traces: Sequence[Trace], loss: float | None = None) -> Points | str:
    """The points of every size that was trained at three batches, or why there are none.

    They are those at six losses that all curves of a size pass through, or at `loss` alone.
    """
    batch = np.array([batch_of(trace) for trace in traces])
    parts: list[tuple[Any, ...]] = []
    levels = 0
    for size in np.unique([trace.params for trace in traces]):
        mine = [run for run, trace in enumerate(traces) if trace.params == size]
        if batches(batch[mine]) < FEWEST_BATCHES:
            continue
        curves = [falling_curve(traces[run]) for run in mine]
        least = max(falling[-1] for _, falling in curves)
        most = min(falling[0] for _, falling in curves)
        ladder = np.geomspace(most, least, LEVELS + 2)
        if loss is not None:
            ladder = loss * np.array([_BESIDE, 1, 1 / _BESIDE])
        if least >= most or not least <= ladder[-1] < ladder[0] <= most * (1 + 1e-9):
            continue
        for run, (log_s, falling) in zip(mine, curves, strict=True):
            at = np.interp(-ladder, -falling, log_s)
            slope = -np.gradient(ladder, at)
            noise = _log_noise(traces[run], at)
            parts += [
                (
                    run,
                    size,
                    levels + place,
                    ladder[1 + place],
                    np.log(batch[run]),
                    s,
                    g,
                    noise[place],
                )
                for place, (s, g) in enumerate(zip(at[1:-1], slope[1:-1], strict=True))
            ]
        levels += len(ladder) - 2
    if not parts:
        return f"no size has curves of {FEWEST_BATCHES} batches that pass through the same losses"
    return Points(*(np.array(column) for column in zip(*parts, strict=True)))


def _log_noise(trace: Trace, log_s: np.ndarray) -> np.ndarray:
    """Log of the gradient noise scale at steps between the ends of `log_s`; nan without one."""
    scale = np.full(len(trace.step), np.nan) if trace.noise_scale is None else trace.noise_scale
    with np.errstate(all="ignore"):
        logs = np.log(scale)
    known = np.isfinite(logs)
    if not known.any():
        return np.full(len(log_s) - 2, np.nan)
    # About each place, half way to the losses beside it: one row's is a poor estimate.
    edges = (log_s[1:] + log_s[:-1]) / 2
    place = np.searchsorted(edges, np.log(trace.step)) - 1
    inside = known & (place >= 0) & (place < len(edges) - 1)
    count = np.bincount(place[inside], minlength=len(edges) - 1)
    with np.errstate(all="ignore"):
        return np.bincount(place[inside], logs[inside], minlength=len(edges) - 1) / count


def batch_of(trace: Trace) -> float:
    """Tokens a step of a run."""
    return float(trace.tokens[-1] / trace.step[-1])


def batches(of: np.ndarray) -> int:
    """How many there are, sizes but for the rounding of steps being one."""
    return 1 + int((np.diff(np.sort(np.log(of))) > np.log(_SAME_BATCH)).sum())


def settled_rows(trace: Trace) -> slice:
    """The rows of a curve without its beginning."""
    start = max(_EARLY_ROWS, int(_EARLY_SHARE * trace.step.size))
    return slice(min(start, trace.step.size - 2), None)


def falling_curve(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    """(log S, loss) of a curve without its beginning, as the falling curve of least squares."""
    from scipy.optimize import isotonic_regression  # here: a third of a second to import

    rows = settled_rows(trace)
    log_s = np.log(trace.step[rows])
    found = isotonic_regression(trace.loss[rows], increasing=False)
    first = found.blocks[:-1]
    # A level stretch of it is one point, at the middle of its steps.
    middle = np.add.reduceat(log_s, first) / np.diff(found.blocks)
    return middle, found.x[first]
