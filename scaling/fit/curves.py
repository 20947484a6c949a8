"""Training curves as arrays, and which row of a curve is the run's result.

A table with a `step` column holds curves: many rows a run. The last row of a run (is_final=1, else
the largest step) is its observation. A CSV of curves is read in blocks of columns, since a million
rows as objects would take gigabytes; the rows that become observations are then read once more.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from scaling.fit.cells import Row, number, refuse, same_value
from scaling.fit.tables import csv_cells

_BLOCK = 20_000
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


def curves_of(rows: Sequence[Row]) -> Curves:
    """The curves that rows hold, where they have a step column, else {}. Raises BadInput."""
    if not has_steps(rows):
        return {}
    runs: dict[str, list[list[float]]] = {}
    for row in rows:
        if "step" in row.values:
            cells = [math.nan if row.values.get(n) is None else number(row, n) for n in _LOGGED]
            runs.setdefault(str(row.values.get("run_id")), []).append(cells)
    return {
        name: curve(**dict(zip(_LOGGED, zip(*cells, strict=True), strict=True)))
        for name, cells in sorted(runs.items())
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


def has_steps(rows: Sequence[Row]) -> bool:
    """Whether any row has a step, which makes the table one of curves."""
    return any(row.values.get("step") is not None for row in rows)


def final_rows(rows: Sequence[Row]) -> list[Row]:
    """Of each curve the last row (is_final=1, else the largest step); all other rows as they are.

    Raises BadInput where a row of a curve has no run_id.
    """
    if not has_steps(rows):
        return list(rows)
    last = [row for row in rows if "step" not in row.values]
    runs: dict[Any, list[Row]] = {}
    for row in rows:
        if "step" not in row.values:
            continue
        if row.values.get("run_id") is None:
            raise refuse(row, "run_id", "nothing", "a name, since the table has a step column")
        runs.setdefault(row.values["run_id"], []).append(row)
    for points in runs.values():
        final = [
            row
            for row in points
            if row.values.get("is_final") is not None and number(row, "is_final") == 1
        ]
        if not final:
            # The loss of a run whose end is not marked may lie before the end of its schedule.
            row = max(points, key=lambda row: number(row, "step"))
            final = [Row(row.place, {**row.values, "unmarked_end": 1})]
        last += final
    return last


def read_curve_csv(
    path: Path, text: str, names: Mapping[str, str], where: Mapping[str, Any]
) -> tuple[list[Row], Curves] | None:
    """The final rows of a CSV of curves and its curves; None where no row has a step.

    `names` maps our column names to the table's. Rows that `where` leaves out are left out before
    a run's last is sought; if it leaves none, all are kept for the refusal that follows.
    Raises BadInput as reading the rows one by one would.
    """
    blocks = _Blocks(path, names, where)
    cells = csv_cells(path, text)
    _, header = next(cells)
    for line, row in cells:
        blocks.add(line, row, header)
    blocks.flush(header)
    if not blocks.runs or np.isnan(blocks.column("step")).all():
        return None
    keep = blocks.mask()
    run, step, is_final = (blocks.column(name) for name in ("run", "step", "is_final"))
    if "" in blocks.runs:
        nameless = int(np.flatnonzero(run == blocks.runs[""])[0])
        raise blocks.refuse(nameless, "run_id", "a name, since the table has a step column")
    wanted = set(_final_indices(blocks, run, step, is_final, keep))
    cells = csv_cells(path, text)
    next(cells)
    rows = [
        Row(
            f"{path}:{line}",
            dict(zip(header, (cell.strip() or None for cell in row), strict=True)),
        )
        for index, (line, row) in enumerate(cells)
        if index in wanted
    ]
    return rows, _grouped(blocks, run, step, keep)


class _Blocks:
    """The columns that curves need, gathered a block of rows at a time."""

    def __init__(self, path: Path, names: Mapping[str, str], where: Mapping[str, Any]) -> None:
        self.path, self.names, self.where = path, names, where
        self.runs: dict[str, int] = {}
        self._rows: list[list[str]] = []
        self._lines: list[int] = []
        self._arrays: dict[str, list[np.ndarray]] = {}
        self._all_lines: list[np.ndarray] = []

    def add(self, line: int, row: list[str], header: list[str]) -> None:
        self._rows.append(row)
        self._lines.append(line)
        if len(self._rows) == _BLOCK:
            self.flush(header)

    def flush(self, header: list[str]) -> None:
        if not self._rows:
            return
        columns = dict(zip(header, zip(*self._rows, strict=True), strict=True))
        runs = [cell.strip() for cell in columns.get(self.names["run_id"], [""] * len(self._rows))]
        self._keep("run", np.array([self.runs.setdefault(r, len(self.runs)) for r in runs]))
        for name in (*_LOGGED, "is_final"):
            cells = columns.get(self.names.get(name, name))
            if cells is not None:
                self._keep(name, self._numbers(name, cells, header))
        self._keep("where", self._matches(columns))
        self._all_lines.append(np.array(self._lines))
        self._rows, self._lines = [], []

    def column(self, name: str) -> np.ndarray:
        parts = self._arrays.get(name)
        if parts is None:
            return np.full(len(self.column("run")), np.nan)
        if len(parts) > 1:
            self._arrays[name] = parts = [np.concatenate(parts)]
        return parts[0]

    def mask(self) -> np.ndarray:
        found = self.column("where")
        return found if found.any() else np.ones_like(found)

    def refuse(self, index: int, name: str, expected: str) -> Exception:
        """The error for an empty cell of a row that was read."""
        run = list(self.runs)[int(self.column("run")[index])] or None
        place = f"{self.path}:{np.concatenate(self._all_lines)[index]}"
        return refuse(Row(place, {"run_id": run}), name, "nothing", expected)

    def _keep(self, name: str, values: np.ndarray) -> None:
        self._arrays.setdefault(name, []).append(values)

    def _row(self, header: list[str], index: int) -> Row:
        values: dict[str, Any] = {
            name: cell.strip() or None for name, cell in zip(header, self._rows[index], strict=True)
        }
        values |= {ours: values.get(theirs) for ours, theirs in self.names.items()}
        return Row(f"{self.path}:{self._lines[index]}", values)

    def _numbers(self, name: str, cells: Sequence[str], header: list[str]) -> np.ndarray:
        """Cells as numbers; what Python reads as one and we do not is looked at cell by cell."""
        try:
            values = np.array(list(map(float, cells)))
            if np.isfinite(values).all() and "_" not in "".join(cells):
                return values
        except ValueError:
            pass
        return np.array(
            [
                number(self._row(header, index), name) if cell.strip() else math.nan
                for index, cell in enumerate(cells)
            ]
        )

    def _matches(self, columns: Mapping[str, Sequence[str]]) -> np.ndarray:
        keep = np.ones(len(self._rows), dtype=bool)
        for name, wanted in self.where.items():
            cells = columns.get(self.names.get(name, name))
            if cells is None:
                return np.zeros_like(keep)
            known = {cell: same_value(cell.strip() or None, wanted) for cell in set(cells)}
            keep &= np.array([known[cell] for cell in cells])
        return keep


def _final_indices(
    blocks: _Blocks, run: np.ndarray, step: np.ndarray, is_final: np.ndarray, keep: np.ndarray
) -> list[int]:
    marked = keep & (is_final == 1)
    ended = np.zeros(int(run.max()) + 1, dtype=bool)
    ended[run[marked]] = True
    open_rows = np.flatnonzero(keep & ~ended[run])
    if np.isnan(step[open_rows]).any():
        raise blocks.refuse(int(open_rows[np.isnan(step[open_rows])][0]), "step", "a number")
    # The first of equal steps, as max() takes it: the later ones come first in the order.
    order = open_rows[np.lexsort((-open_rows, step[open_rows], run[open_rows]))]
    last = order[np.append(np.diff(run[order]) != 0, True)] if order.size else order
    return [*np.flatnonzero(marked).tolist(), *last.tolist()]


def _grouped(blocks: _Blocks, run: np.ndarray, step: np.ndarray, keep: np.ndarray) -> Curves:
    rows = np.flatnonzero(keep)
    order = rows[np.lexsort((step[rows], run[rows]))]
    starts = np.flatnonzero(np.append(True, np.diff(run[order]) != 0))
    names = list(blocks.runs)
    sorted_columns = {name: blocks.column(name)[order] for name in _LOGGED}
    result = {}
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        part = {name: column[start:end] for name, column in sorted_columns.items()}
        result[names[int(run[order[start]])]] = curve(**part)
    return dict(sorted(result.items()))
