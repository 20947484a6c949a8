"""Training curves as arrays, and which row of a curve is the run's result.

A table with a `step` column holds curves: many rows a run. The last row of a run (is_final=1, else
the largest step) is its observation, and the only one that becomes an object.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from scaling.fit.cells import numbers, refuse, row_at
from scaling.fit.columns import Row, Table

_LOGGED = ("step", "tokens", "flops", "loss", "lr")
_ALL = (*_LOGGED, "val_loss")  # the last by our own trainer alone
# The page bins a curve far below this; an object a row would not fit for a million rows.
_SHOWN_ROWS = 100_000
_FEWEST_SHOWN = 200


@dataclass(frozen=True)
class Curve:
    """The logged rows of one run in order of step, float64 (n,); nan where a cell is empty."""

    step: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    loss: np.ndarray
    lr: np.ndarray
    val_loss: np.ndarray

    def rows(self, at_most: int) -> list[dict[str, float]]:
        """Rows by name without the empty cells, the last among them, at most so many."""
        keep = np.arange(len(self.step))
        if len(keep) > at_most:
            keep = np.unique(np.linspace(0, len(keep) - 1, at_most).round().astype(int))
        columns = {name: getattr(self, name)[keep].tolist() for name in _ALL}
        return [
            {name: values[i] for name, values in columns.items() if values[i] == values[i]}
            for i in range(len(keep))
        ]


Curves = dict[str, Curve]


def curve(**columns: Any) -> Curve:
    """A curve of the columns given, sorted by step; the others are nan."""
    n = len(columns["step"])
    arrays = {name: np.asarray(columns.get(name, np.full(n, np.nan)), float) for name in _ALL}
    order = np.argsort(arrays["step"], kind="stable")
    return Curve(**{name: array[order] for name, array in arrays.items()})


def joined(parts: Iterable[Curves]) -> Curves:
    """Curves of several sources; those of one run become one curve."""
    found: dict[str, list[Curve]] = {}
    for part in parts:
        for name, one in part.items():
            found.setdefault(name, []).append(one)
    return {
        name: some[0]
        if len(some) == 1
        else curve(
            **{f.name: np.concatenate([getattr(c, f.name) for c in some]) for f in fields(Curve)}
        )
        for name, some in sorted(found.items())
    }


def curve_of_metrics(rows: Sequence[Mapping[str, Any]]) -> Curve:
    """The training curve in the rows of a run's metrics.jsonl."""
    return curve(**{name: [row.get(name, math.nan) for row in rows] for name in _ALL})


def shown_rows(curves: Curves, rates: Mapping[str, float]) -> dict[str, list[dict[str, Any]]]:
    """The curves as rows for drawing, thinned so that all together stay a bearable number.

    Where a curve has no FLOP they are those of its tokens, at so many a token (`rates`).
    """
    at_most = max(_FEWEST_SHOWN, _SHOWN_ROWS // max(1, len(curves)))
    shown = {}
    for name, one in curves.items():
        rate = rates.get(name, math.nan)
        flops = np.where(np.isfinite(one.flops), one.flops, rate * one.tokens)
        shown[name] = replace(one, flops=flops).rows(at_most)
    return shown


def logged_rows(table: Table) -> np.ndarray:
    """The mask of the rows of a table that are rows of curves: all, where it has any step."""
    steps = (cell for cells in table.cells("step") for cell in cells)
    return np.full(table.size, any(step is not None for step in steps))


def ends_and_curves(table: Table, keep: np.ndarray, logged: np.ndarray) -> tuple[list[Row], Curves]:
    """Of the kept rows those that are runs, or the end of one; and the curves of the others.

    Of each run in the mask `logged` the end is the row with is_final=1, else that with the largest
    step; rows outside it are runs. Raises BadInput where a row of a curve has no run_id.
    """
    runs: dict[str | None, int] = {}
    cells = (cell for block in table.cells("run_id") for cell in block)
    run = np.array(
        [runs.setdefault(None if cell is None else str(cell), len(runs)) for cell in cells], int
    )
    kept = keep & logged
    nameless = np.flatnonzero(kept & (run == runs.get(None, -1)))
    if nameless.size:
        needed = "a name, since the table has a step column"
        raise refuse(row_at(table, int(nameless[0])), "run_id", "nothing", needed)
    columns = {name: numbers(table, name, kept) for name in (*_LOGGED, "is_final")}
    marked = kept & (columns["is_final"] == 1)
    unmarked = _last(table, run, columns["step"], kept & ~np.isin(run, run[marked]))
    ends = np.flatnonzero((keep & ~logged) | marked | unmarked).tolist()
    # The loss of a run whose end is not marked may lie before the end of its schedule.
    rows = [
        replace(row, values={**row.values, "unmarked_end": 1}) if unmarked[index] else row
        for index, row in zip(ends, table.rows(ends), strict=True)
    ]
    names = {index: str(name) for name, index in runs.items()}
    return rows, _grouped(names, run, columns, np.flatnonzero(kept))


def _last(table: Table, run: np.ndarray, step: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The mask of each run's row with the largest step, of those in the mask `rows`."""
    open_rows = np.flatnonzero(rows)
    without = open_rows[np.isnan(step[open_rows])]
    if without.size:
        raise refuse(row_at(table, int(without[0])), "step", "nothing", "a number")
    # Of equal steps the first row, so that the later ones come first in the order.
    order = open_rows[np.lexsort((-open_rows, step[open_rows], run[open_rows]))]
    last = np.zeros(table.size, dtype=bool)
    if order.size:
        last[order[np.append(np.diff(run[order]) != 0, True)]] = True
    return last


def _grouped(
    names: Mapping[int, str], run: np.ndarray, columns: Mapping[str, np.ndarray], rows: np.ndarray
) -> Curves:
    order = rows[np.lexsort((columns["step"][rows], run[rows]))]
    changes = np.append(True, np.diff(run[order]) != 0)[: order.size]
    starts = np.flatnonzero(changes).tolist()
    in_order = {name: columns[name][order] for name in _LOGGED}
    result = {}
    for start, end in zip(starts, [*starts[1:], order.size], strict=False):
        part = {name: column[start:end] for name, column in in_order.items()}
        result[names[int(run[order[start]])]] = curve(**part)
    return dict(sorted(result.items()))
