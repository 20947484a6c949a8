"""Which rows are asked for: `where.COLUMN=` a value, a list of them, or a comparison."""

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from common.errors import BadInput
from common.text import listed
from scaling.fit.table.columns import Table, same_value
from scaling.fit.table.schema import LETTERS, check_known

_SIGNS: Mapping[str, Callable[[Any, Any], Any]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
}
_COMPARISON = re.compile(r"\s*(>=|<=|!=|>|<)\s*(.*?)\s*")


def asked_rows(table: Table, where: Mapping[str, Any]) -> np.ndarray:
    """The mask of the rows asked for. Raises BadInput where there is none.

    A list asks for one of its values or more; >=1e18, <3.5 and !=x compare, and several of these
    with commas between them must all hold. Text that stands in the column as it is is a value.
    """
    keep = np.ones(len(table), dtype=bool)
    for name, wanted in where.items():
        check_known(name, f"where.{name}", table.names)
        if wanted == []:
            raise BadInput(f"where.{name}: found an empty list, expected a value or more")
        asked = wanted if isinstance(wanted, list) else [wanted]
        index, values = table.distinct(name)
        values.append(None)  # at -1, of the rows that have nothing
        having = [_having(table, name, value, index, values) for value in asked]
        before, keep = keep, keep & np.any(having, axis=0)
        absent = [value for value, rows in zip(asked, having, strict=True) if not rows.any()]
        if absent or not keep.any():
            known = sorted({str(values[at]) for at in np.unique(index[before])})
            no = repr(absent[0]) if absent else " or ".join(map(repr, asked))
            raise BadInput(f"where.{name}: no row with {no}; there are {listed(known[:12])}")
    return keep


def _having(
    table: Table, name: str, wanted: Any, index: np.ndarray, values: list[Any]
) -> np.ndarray:
    """The mask of the rows with one value, or for which a comparison holds."""
    equal = np.array([same_value(wanted, value) for value in values])[index]
    parts = _comparisons(wanted)
    if not parts or equal.any():
        return equal
    rows = np.ones(len(table), dtype=bool)
    for sign, text in parts:
        if sign == "!=":
            value = None if text == "null" else text
            rows &= ~np.array([same_value(value, one) for one in values])[index]
            continue
        number = _number(text)
        if number is None:
            raise BadInput(
                f"where.{name}: found {wanted!r}, expected a number after {sign}, as {sign}1e18"
            )
        with np.errstate(invalid="ignore"):
            rows &= _SIGNS[sign](table.numbers_or_nan(name), number)
    return rows


def _comparisons(wanted: Any) -> list[tuple[str, str]]:
    """Signs with what follows each; [] where a text is no comparison."""
    if not isinstance(wanted, str):
        return []
    whole = _COMPARISON.fullmatch(wanted)
    parts = [_COMPARISON.fullmatch(part) for part in wanted.split(",")]
    if len(parts) > 1 and all(parts):
        return [(part[1], part[2]) for part in parts if part]
    return [(whole[1], whole[2])] if whole else []


def _number(text: str) -> float | None:
    unit = LETTERS.get(text[-1:], 1.0)
    try:
        return float(text[:-1] if text[-1:] in LETTERS else text) * unit
    except ValueError:
        return None
