"""Cells as numbers and values: read, or refused in one line with place, run and column."""

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np

from configs.errors import BadInput, shown
from scaling.fit.columns import Row, Table

# Of anything counted: beyond is a slip, and squares and exponentials of it overflow.
_SMALLEST, _LARGEST = 1e-12, 1e40
_MOST = {"params": 1e20, "tokens": 1e24}  # the surface of more is flat to the last bit
_MOST_LISTED, _LONGEST = 40, 60
_PLAIN_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


def listed(names: Iterable[object]) -> str:
    """Names for a message, the first of them where there are many."""
    texts = [f"{shown(name):.{_LONGEST}}" for name in names]
    more = len(texts) - _MOST_LISTED
    text = ", ".join(texts[:_MOST_LISTED]) or "none"
    return f"{text} and {more} more" if more > 0 else text


def plural(n: int, singular: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return f"{n:,} {singular if n == 1 else many or singular + 's'}"


def either(wanted: object) -> str:
    """A value of `where`, or its list of them, in words: `tuned or plain`."""
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)


def number(row: Row, name: str) -> float:
    """A number of a row; BadInput says what stands there instead."""
    value = row.values.get(name)
    if value is None:
        raise refuse(row, name, "nothing", "a number")
    if name == "is_final" and str(value).lower() in ("true", "false"):
        return float(str(value).lower() == "true")
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise refuse(row, name, f"{value!r:.60}", "a number" + _hint(value))
    if isinstance(value, bool):
        raise refuse(row, name, str(value), "a number")
    try:
        value = float(value)
    except OverflowError:  # a whole number beyond the largest float
        value = math.inf
    if not math.isfinite(value):
        raise refuse(row, name, str(value), "a finite number")
    return value


def _hint(text: str) -> str:
    if re.fullmatch(r"\d{1,3}(,\d{3})+(\.\d+)?", text):
        return "; write neither thousands separators nor a decimal comma"
    return "; write a decimal point" if re.fullmatch(r"[\d.]+,\d+", text) else ""


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
    largest = _MOST.get(name, _LARGEST)
    if not _SMALLEST <= value <= largest:
        raise refuse(row, name, f"{value:g}", f"{_SMALLEST:g} to {largest:g}")
    return value


def number_or_nan(row: Row, name: str) -> float:
    """A finite number of a row, or nan where the cell holds none."""
    try:
        return number(row, name)
    except BadInput:
        return math.nan


def numbers(table: Table, name: str, keep: np.ndarray, run: str | None = None) -> np.ndarray:
    """A column as float64 (size,), nan where a cell is empty or not in the mask `keep`.

    Raises BadInput for a kept cell that holds something else; `run` names the run of the column
    where the table has no run_id.
    """
    if name not in table.columns:
        return np.full(table.size, np.nan)
    parts, start = [], 0
    for block in table.columns[name].numbers():
        if isinstance(block, list):
            values = np.full(len(block), np.nan)
            for index, cell in enumerate(block):
                if cell is not None and keep[start + index]:
                    values[index] = _number_at(table, start + index, name, cell, run)
            block = values
        parts.append(block)
        start += len(block)
    return np.concatenate(parts)


def _number_at(table: Table, index: int, name: str, cell: Any, run: str | None) -> float:
    try:
        return number(Row("", {name: cell}), name)
    except BadInput:
        row = row_at(table, index)
    run_id = row.values["run_id"] if run is None else run
    return number(Row(row.place, {name: cell, "run_id": run_id}), name)


def row_at(table: Table, index: int) -> Row:
    """A row with its run_id alone, for a refusal."""
    run_id = table.columns["run_id"].take([index])[0] if "run_id" in table.columns else None
    return Row(table.place(index), {"run_id": run_id})


def same_value(found: Any, wanted: Any) -> bool:
    """Whether a cell holds the value asked for: as numbers where both are, else as text."""
    if found is None or wanted is None:
        return found is wanted
    if isinstance(found, bool):
        return str(found).lower() == str(wanted).lower()
    try:
        return float(found) == float(wanted)
    except (ValueError, OverflowError):
        return str(found) == str(wanted)
