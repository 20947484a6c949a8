"""Which runs are of one budget: by its name, else by the gaps between the runs' FLOP.

Budgets are clusters in log C with gaps between them, however far the runs of each scatter: a
cluster is cut where its neighbours are further away than its own runs are from one another. Where
no cut puts most runs into budgets (points of several studies, say, spread over all compute), the
most runs within a tolerance are taken one group after the other. Many runs without any gap are of
no budget: whatever groups they were cut into would be chance, and the tilt of the loss along C
within a group biases its minimum.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from scaling.fit.budget_flops import WIDEST_BUDGET
from scaling.fit.observations import Observations

# More sizes than chance puts beside one another: fewer are no budget unless they are named.
FEWEST_OF_A_BUDGET = 5
# A cut must put this share of the runs into budgets, and the least gap it cuts must be so many
# times the largest that it leaves.
_MOST_IN_BUDGETS, _CLEAR = 0.8, 1.25
_ROUNDING = 1e-9
# Runs are spread evenly where so many steps of half a tolerance hold one in so large a share of the
# compute that all but a twentieth of them at either end span.
_STEPS_OF_NO_GAP, _HELD, _ENDS = 20, 0.9, 0.05
_MOST_CUTS = 100  # of the largest gaps: a table has fewer budgets and stray runs than that
# Counts that were rounded, or read off a figure twice: no ladder of sizes is so fine.
_ONE_SIZE = 0.01


@dataclass(frozen=True)
class Grouped:
    """Rows by budget: those of several rows or of a name, and rows that are a budget of one.

    Of a million rows without a budget none is an object of its own, unless one goes through all.

    groups  (FLOP, row indices) of each, ascending in FLOP
    lone    rows in none of them, ascending in `lone_flops`, their own FLOP
    """

    groups: Sequence[tuple[float, np.ndarray]]
    lone: np.ndarray
    lone_flops: np.ndarray

    def __iter__(self) -> Iterator[tuple[float, np.ndarray]]:
        lone = zip(self.lone_flops.tolist(), self.lone[:, None], strict=True)
        return heapq.merge(self.groups, lone, key=lambda group: group[0])

    def __len__(self) -> int:
        return len(self.groups) + len(self.lone)


def budgets(observations: Observations, tolerance: float) -> Grouped:
    """(FLOP, row indices) of each budget, ascending; a lone run is a budget of one.

    So is a run of a sweep's horizons, which was asked for in tokens: near a budget is not in it.
    """
    horizon = observations.columns.get("horizon", np.zeros(len(observations))) == 1
    named = np.isfinite(observations.flops_budget)
    groups: list[tuple[float, np.ndarray]] = []
    label = observations.flops_budget.copy()
    if named.any():
        known = np.unique(label[named])
        join = np.flatnonzero(~named & ~horizon)
        label[join] = _nearest(known, observations.flops[join], tolerance)
        rows = np.flatnonzero(np.isfinite(label))
        order = rows[np.argsort(label[rows], kind="stable")]
        parts = np.split(order, np.flatnonzero(np.diff(label[order])) + 1)
        groups = [(float(label[part[0]]), part) for part in parts]
    rest = np.flatnonzero(~np.isfinite(label) & ~horizon)
    found, lone = _unnamed(observations, rest, tolerance)
    for members in found:
        middle = np.exp(np.log(observations.flops[members]).mean())
        groups.append((float(middle), members))
    lone = np.concatenate([np.flatnonzero(horizon & ~named), lone])
    lone = lone[np.argsort(observations.flops[lone], kind="stable")]
    return Grouped(sorted(groups, key=lambda group: group[0]), lone, observations.flops[lone])


def in_no_budget(observations: Observations, tolerance: float) -> np.ndarray:
    """Rows that are in no IsoFLOP curve: near no budget, or in a group too small to be one."""
    grouped = budgets(observations, tolerance)
    alone = [members for _, members in grouped.groups if not is_budget(observations, members)]
    horizon = observations.columns.get("horizon", np.zeros(len(observations))) == 1
    rows = np.concatenate([grouped.lone, *alone])
    return np.sort(rows[~horizon[rows]])


def _nearest(known: np.ndarray, flops: np.ndarray, tolerance: float) -> np.ndarray:
    """The budget of those named that is nearest to each FLOP (n,); nan beyond the tolerance.

    Runs without a budget of their own (of an earlier plan) join it.
    """
    log_known, log_c = np.log(known), np.log(flops)
    above = np.clip(np.searchsorted(log_known, log_c), 1, max(len(known) - 1, 1))
    pair = np.stack([above - 1, np.minimum(above, len(known) - 1)])
    off = np.abs(log_known[pair] - log_c)
    side = off.argmin(axis=0)
    at = np.arange(len(flops))
    near = off[side, at] <= np.log1p(tolerance)
    return np.where(near, known[pair[side, at]], np.nan)


def is_budget(observations: Observations, members: np.ndarray) -> bool:
    """Whether rows are a budget, by name or by their sizes, and not chance."""
    named = bool(np.isfinite(observations.flops_budget[members]).any())
    few = len(members) < FEWEST_OF_A_BUDGET
    return named or (not few and _sizes(observations, members) >= FEWEST_OF_A_BUDGET)


def same_sizes(log_n: np.ndarray) -> np.ndarray:
    """The index of each row's size, ascending: sizes within a percent are one, counted twice.

    A row of sizes each within a percent of the next is cut at every percent.
    """
    order = np.argsort(log_n, kind="stable")
    ascending = log_n[order]
    chain = np.concatenate([[0], np.cumsum(np.diff(ascending) > _ONE_SIZE)])
    first = ascending[np.searchsorted(chain, chain)]
    step = np.floor((ascending - first) / _ONE_SIZE * (1 - _ROUNDING))
    # A pair that straddles a percent is one size all the same, where nothing lies beyond it.
    step = np.where(step <= 1, 0, step) if len(step) else step
    changes = (np.diff(chain) > 0) | (np.diff(step) > 0)
    group = np.empty(len(log_n), dtype=int)
    group[order] = np.concatenate([[0], np.cumsum(changes)])
    return group


def _sizes(observations: Observations, members: np.ndarray) -> int:
    return int(same_sizes(np.log(observations.params[members])).max()) + 1 if members.size else 0


def _unnamed(
    observations: Observations, rows: np.ndarray, tolerance: float
) -> tuple[list[np.ndarray], np.ndarray]:
    """The groups of several among these rows, and the rows in none of them."""
    found, lone = [], [np.empty(0, dtype=int)]
    order = rows[np.argsort(observations.flops[rows], kind="stable")]
    gaps = np.diff(np.log(observations.flops[order]))
    # Neighbours so far apart are of two budgets in any case: what lies between is judged apart.
    parts = np.split(order, np.flatnonzero(gaps > np.log(WIDEST_BUDGET)) + 1) if rows.size else []
    for part in parts:
        if _has_no_gap(np.log(observations.flops[part]), tolerance):
            lone.append(part)
            continue
        cut = _by_gaps(observations, part) or _by_tolerance(observations, part, tolerance)
        found += [np.sort(members) for members in cut if len(members) > 1]
        lone += [members for members in cut if len(members) == 1]
    return found, np.concatenate(lone)


def _has_no_gap(log_c: np.ndarray, tolerance: float) -> bool:
    """Whether ascending log C of many runs are spread evenly: no cut of them is a budget's."""
    lost = int(_ENDS * len(log_c))
    inner = log_c[lost : len(log_c) - lost]
    if len(inner) < _STEPS_OF_NO_GAP:
        return False
    steps = int(np.ptp(inner) / (np.log1p(tolerance) / 2))
    if steps < _STEPS_OF_NO_GAP:
        return False
    held, _ = np.histogram(inner, steps)
    return bool((held > 0).mean() > _HELD)


def _by_gaps(observations: Observations, order: np.ndarray) -> list[np.ndarray] | None:
    """Rows ascending in FLOP, cut where that puts the most of them into budgets; None if few."""
    log_c, widest = np.log(observations.flops[order]), np.log(WIDEST_BUDGET)
    gaps = np.diff(log_c)
    best, score = None, (_MOST_IN_BUDGETS * len(order), 0.0)
    # Without a cut the part is one budget: its neighbours are further away than `widest`.
    for cut in (*np.unique(gaps[gaps > _ROUNDING])[-_MOST_CUTS:], widest):
        inner = gaps[gaps < cut].max(initial=_ROUNDING)
        ends = np.flatnonzero(gaps >= cut) + 1
        first, last = np.append(0, ends), np.append(ends, len(order)) - 1
        runs = last - first + 1
        compact = (log_c[last] - log_c[first] <= widest * (1 + _ROUNDING)) & (
            runs >= FEWEST_OF_A_BUDGET
        )
        if cut < _CLEAR * inner or runs[compact].sum() < score[0]:
            continue
        parts = np.split(order, ends)
        inside = sum(
            len(part)
            for part, enough in zip(parts, compact, strict=True)
            if enough and _sizes(observations, part) >= FEWEST_OF_A_BUDGET
        )
        if inside and (inside, cut / inner) >= score:
            best, score = parts, (inside, float(cut / inner))
    return best


def _by_tolerance(
    observations: Observations, order: np.ndarray, tolerance: float
) -> list[np.ndarray]:
    """The most rows within `tolerance` of one another in FLOP, the lowest such; then the next."""
    found, log_c = [], np.log(observations.flops[order])
    while order.size:
        ends = np.searchsorted(log_c, log_c + np.log1p(tolerance) * (1 + 1e-9), side="right")
        first = int(np.argmax(ends - np.arange(len(order))))
        taken = slice(first, ends[first])
        found.append(order[taken])
        order, log_c = np.delete(order, taken), np.delete(log_c, taken)
    return found
