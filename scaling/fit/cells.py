"""A row of a table, and the numbers in its cells: read, or refused with place, run and column."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from configs.errors import BadInput

_LARGEST = 1e40  # of anything counted: beyond it is a slip, or a sum that overflows
_PLAIN_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")


@dataclass(frozen=True)
class Row:
    """One row: `place` for messages, values by column name (text, number, or None if empty)."""

    place: str
    values: Mapping[str, Any]


def shown(text: object) -> str:
    """Text from a file as a terminal may print it: control characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


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
