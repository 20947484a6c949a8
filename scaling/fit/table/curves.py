"""Training curves as arrays, and which row of a curve is the run's result.

A table with a `step` column holds curves: many rows a run. The last row of a run (is_final=1, else
the largest step) is its observation, and the only one that becomes an object.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # the launcher imports this file and forks: see columns.py
    from scaling.fit.table.columns import Table

# What is one number for the whole of a run, which some write into one of its rows alone.
_CONSTANTS = """
    params params_total params_non_embedding params_matmul params_effective n_layer n_head n_embd
    vocab_size block_size batch_tokens warmup_tokens cooldown_tokens unique_tokens flops_budget seed
"""
LOGGED = ("step", "tokens", "flops", "loss", "lr")
_ALL = (*LOGGED, "val_loss", "noise_scale_tokens")  # the last two by our own trainer alone
_NAMES_OF_RUNS = frozenset(
    ("run_name", "run", "runname", "name", "run name", "experiment", "exp", "model", "id", "run id")
)
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
    noise_scale_tokens: np.ndarray

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


def logged_rows(table: "Table") -> np.ndarray:
    """The mask of the rows of a table that are rows of curves: all, where it has any step."""
    return np.full(len(table), table.known("step").any())


def ends_and_curves(table: "Table", keep: np.ndarray, logged: np.ndarray) -> tuple["Table", Curves]:
    """Of the kept rows those that are runs, or the end of one; and the curves of the others.

    Of each run in the mask `logged` the end is the row with is_final=1, else that with the largest
    step; rows outside it are runs. Raises BadInput where a row of a curve has no run_id.
    """
    kept = keep & logged
    if not kept.any():
        return table.take(keep), {}
    run, names = table.distinct("run_id")
    nameless = kept & (run < 0)
    if nameless.any():
        theirs = next((name for name in table.names if name.lower() in _NAMES_OF_RUNS), None)
        needed = "a name, since the table has a step column"
        needed += f"; map it, as columns.run_id={theirs}" if theirs else ""
        needed += "; or rows=runs, if each row is a run of its own"
        raise table.refusal(int(np.argmax(nameless)), "run_id", "nothing", needed)
    columns = {name: table.numbers(name, kept) for name in (*LOGGED, "is_final")}
    marked, unmarked = kept & (columns["is_final"] == 1), np.zeros(len(table), dtype=bool)
    rows = np.flatnonzero(kept)
    order = rows[np.lexsort((columns["step"][rows], run[rows]))]
    curves = {}
    for one in np.split(order, np.flatnonzero(np.diff(run[order])) + 1):
        if not marked[one].any():
            without = one[np.isnan(columns["step"][one])]
            if without.size:
                raise table.no_number(int(without[0]), "step")
            unmarked[one[np.argmax(columns["step"][one])]] = True  # the first of equal steps
        part = {name: columns[name][one] for name in LOGGED}
        curves[str(names[run[one[0]]])] = curve(**part)
    ends = np.flatnonzero((keep & ~logged) | marked | unmarked)
    runs = _with_constants(table, kept, ends)
    if unmarked.any():
        # The loss of a run whose end is not marked may lie before the end of its schedule.
        marks = [1.0 if unmarked[end] else None for end in ends]
        runs = runs.with_columns({"unmarked_end": marks})
    return runs, dict(sorted(curves.items()))


def _with_constants(table: "Table", rows: np.ndarray, ends: np.ndarray) -> "Table":
    """The rows `ends` of a table, with what is one number in all of a run's rows but empty there.

    `rows` is the mask of the rows of curves.
    """
    runs, run = table.take(ends), table.distinct("run_id")[0]
    found = {}
    for name in _CONSTANTS.split():
        if name not in table.names or runs.known(name).all():
            continue
        values = table.numbers_or_nan(name) / table.units.get(name, 1.0)
        known = np.flatnonzero(rows & np.isfinite(values))
        least, most = np.full(run.max() + 2, np.inf), np.full(run.max() + 2, -np.inf)
        np.minimum.at(least, run[known], values[known])
        np.maximum.at(most, run[known], values[known])
        fill = ~runs.known(name) & (least == most)[run[ends]]
        if not fill.any():
            continue
        cells = runs.values(name)  # what is no number stays, and is refused as such
        is_text = any(isinstance(cell, str) for cell in table.values(name))
        for row in np.flatnonzero(fill).tolist():
            one = float(least[run[ends[row]]])
            cells[row] = repr(one) if is_text else one
        found[name] = cells
    return runs.with_columns(found)
