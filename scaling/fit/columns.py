"""What the columns of a run table are called, which rows are asked for, and the numbers in them."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import BadInput
from scaling.fit.config import FitConfig
from scaling.fit.tables import NEEDED, NUMBERS, TEXTS, Row, Table, read_runs, shown

_LARGEST = 1e40  # of anything counted: beyond it is a slip, or a sum that overflows
_PLAIN_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
# What others call the three columns without which there is no fit.
_USUAL_NAMES = {
    "params": "n n_params num_params parameters model_size size",
    "tokens": "d n_tokens num_tokens train_tokens training_tokens t",
    "loss": "l val_loss valid_loss validation_loss eval_loss final_loss",
}


def read_rows(config: FitConfig) -> tuple[list[Row], bool]:
    """All rows of the inputs under our column names, and whether they are sweeps of our own."""
    tables = [read_runs(Path(path)) for path in config.paths]
    settings = {table.setting: table.source for table in tables if table.setting is not None}
    if len(settings) > 1:
        (one, first), (other, second) = list(settings.items())[:2]
        raise BadInput(
            f"setting: {first} has {one} and {second} has {other}, expected one; these sweeps "
            "differ in data, tokenizer, evaluation or model family"
        )
    rows = [row for table in tables for row in _rename(table, config.columns)]
    if config.by is not None:
        _known(config.by, "by", rows)
    return _where(rows, config.where), all(table.sweep for table in tables)


def number(row: Row, name: str) -> float:
    """A number of a row; BadInput says what stands there instead."""
    value = row.values.get(name)
    if value is None:
        raise refuse(row, name, "nothing", "a number")
    if isinstance(value, str):
        if not _PLAIN_NUMBER.fullmatch(value):
            hint = "; write a decimal point" if re.fullmatch(r"[\d.]+,\d+", value) else ""
            raise refuse(row, name, repr(value), "a number" + hint)
        value = float(value)
    value = float(value)
    if not math.isfinite(value):
        raise refuse(row, name, str(value), "a finite number")
    return value


def refuse(row: Row, name: str, found: str, expected: str) -> BadInput:
    """The error for a cell: its place and run, its column, what it holds and should hold."""
    run_id = row.values.get("run_id")
    run = f" (run {shown(run_id)})" if run_id is not None else ""
    return BadInput(f"{row.place}{run}: {name}: found {found}, expected {expected}")


def positive(row: Row, name: str) -> float:
    """A number above 0 of a row; BadInput says what stands there instead."""
    value = number(row, name)
    if value <= 0:
        raise refuse(row, name, f"{value:g}", "above 0")
    if value > _LARGEST:
        raise refuse(row, name, f"{value:g}", f"at most {_LARGEST:g}")
    return value


def number_or_nan(row: Row, name: str) -> float:
    """A finite number of a row, or nan where the cell holds none."""
    try:
        return number(row, name)
    except BadInput:
        return math.nan


def _rename(table: Table, columns: Mapping[str, str]) -> Iterable[Row]:
    for ours, theirs in columns.items():
        if ours not in (*NEEDED, *NUMBERS, *TEXTS):
            near = difflib.get_close_matches(ours, (*NEEDED, *NUMBERS, *TEXTS), 1)
            hint = f"; did you mean columns.{near[0]}?" if near else ""
            raise BadInput(f"columns.{ours}: no column of the run table{hint}")
        if theirs not in table.columns:
            raise BadInput(
                f"columns.{ours}: {table.source} has no column {theirs!r}; "
                f"it has {', '.join(table.columns)}"
            )
    have = {*table.columns, *columns}
    for name in NEEDED:
        if name not in have:
            guess = _nearest(name, table.columns)
            hint = f"; map it, as columns.{name}={guess}" if guess else ""
            raise BadInput(
                f"{table.source}: no column {name!r}; it has {', '.join(table.columns)}{hint}"
            )
    for row in table.rows:
        mapped = {ours: row.values.get(theirs) for ours, theirs in columns.items()}
        yield Row(row.place, {**row.values, **mapped})


def _nearest(name: str, columns: Sequence[str]) -> str | None:
    usual = _USUAL_NAMES[name].split()
    for column in columns:
        if column.lower() in usual:
            return column
    similar = difflib.get_close_matches(name, columns, 1, 0.5)
    return similar[0] if similar else next((column for column in columns if name in column), None)


def _known(name: str, key: str, rows: Sequence[Row]) -> None:
    columns = dict.fromkeys(column for row in rows for column in row.values)
    if name not in columns:
        near = difflib.get_close_matches(name, list(columns), 1)
        hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(columns)}"
        raise BadInput(f"{key}: no column {name!r}{hint}")


def same_value(found: Any, wanted: Any) -> bool:
    """Whether a cell holds the value asked for: as numbers where both are, else as text."""
    if found is None or wanted is None:
        return found is wanted
    if isinstance(found, bool):
        return str(found).lower() == str(wanted).lower()
    try:
        return float(found) == float(wanted)
    except ValueError:
        return str(found) == str(wanted)


def _where(rows: Sequence[Row], where: Mapping[str, Any]) -> list[Row]:
    kept = list(rows)
    for name, wanted in where.items():
        _known(name, f"where.{name}", rows)
        before, kept = kept, [row for row in kept if same_value(row.values.get(name), wanted)]
        if not kept:
            there = sorted({str(row.values.get(name)) for row in before})
            raise BadInput(
                f"where.{name}: no row with {wanted!r}; there are {', '.join(there[:12])}"
            )
    return kept
