"""Numbers as cells have them: 1.5M, and 1.384.123,5 where the comma is the decimal sign.

A cell is read as it is typed in Python; what is near to that is named in the refusal.
"""

import math
import re
from collections.abc import Collection
from typing import Any

import pyarrow as pa

from common.errors import BadInput
from scaling.fit.table.schema import COUNTS, LETTERS, is_missing

_EXPONENT = r"([eE][-+]?\d+)?"
PLAIN = re.compile(rf"[-+]?(\d+\.?\d*|\.\d+){_EXPONENT}")
_WITH_COMMA = re.compile(
    rf"[-+]?([1-9]\d{{0,2}}(\.\d{{3}})+(,\d+)?|\d+(,\d+)?{_EXPONENT}[kKMBGT]?)"
)
_GROUPS = re.compile(r"[-+]?[1-9]\d{0,2}((\.\d{3}){2,}(,\d+)?|\.\d{3},\d+)")  # beyond doubt
_THOUSANDS_COMMA = re.compile(r"\d{1,3}(,\d{3})+(\.\d+)?")
_THOUSANDS_SPACE = re.compile(r"\d{1,3}([ '’_\u00a0\u202f]\d{3})+([.,]\d+)?")
_MAYBE_THOUSANDS = re.compile(r"[1-9]\d{0,2}\.\d{3}")


def number_of(value: Any, name: str) -> float:
    """A value as a number, nan where it is none; the mark of a run's end may be true or false."""
    text = str(value)
    if name == "is_final" and text.lower() in ("true", "false"):
        return float(text.lower() == "true")
    if (unit := own_unit(value)) and name in COUNTS:
        return float(text[:-1]) * unit
    return float(text) if PLAIN.fullmatch(text) else math.nan


def own_unit(value: Any) -> float | None:
    """The unit that a cell names itself, as 1.5M does; None without one."""
    text = str(value)
    return LETTERS.get(text[-1:]) if PLAIN.fullmatch(text[:-1].rstrip()) else None


def spelling_hint(text: str, name: str) -> str:
    """The end of a refusal that says how the cell of a column is to be written, where that is near.

    1,384 is a thousand of a count, and of a loss it is a decimal comma.
    """
    if own_unit(text) and name in COUNTS:
        return "; one unit is enough: leave units.* or the letter out"
    is_list = name in COUNTS or not _WITH_COMMA.fullmatch(text)
    if (is_list and _THOUSANDS_COMMA.fullmatch(text)) or _THOUSANDS_SPACE.fullmatch(text):
        return "; write no thousands separators"
    is_comma = _WITH_COMMA.fullmatch(text) and not PLAIN.fullmatch(text)
    return "; decimal=comma reads it" if is_comma else ""


def with_decimal_comma(data: pa.Table, source: str, counts: Collection[str]) -> pa.Table:
    """A table whose columns of text are numbers with a decimal comma, as columns of plain ones.

    20.145 is a number of thousands in a column of `counts`, or beside one that is beyond doubt, as
    1.384.123; else a column without a comma stays as it is, and so does one of which a cell is no
    number. Raises BadInput for a column that has both a decimal comma and a decimal point.
    """
    for place, name in enumerate(data.column_names):
        if not pa.types.is_string(data[name].type):
            continue
        encoded = data[name].combine_chunks().dictionary_encode()
        cells = [None if is_missing(cell) else cell for cell in encoded.dictionary.to_pylist()]
        known = [cell for cell in cells if cell]
        is_grouped = name in counts or any(map(_GROUPS.fullmatch, known))
        points = [cell for cell in known if "." in cell]
        wrong = [c for c in points if not (is_grouped and _WITH_COMMA.fullmatch(c))]
        comma = next((c for c in known if "," in c and _WITH_COMMA.fullmatch(c)), None)
        if wrong and comma and all(map(PLAIN.fullmatch, wrong)):
            raise BadInput(
                f"{source}: {name}: found {wrong[0]!r} and {comma!r}, expected a decimal comma in "
                "both, as decimal=comma says"
            )
        if not wrong and all(map(_WITH_COMMA.fullmatch, known)):
            plain = [cell and cell.replace(".", "").replace(",", ".") for cell in cells]
            column = pa.array(plain, pa.string()).take(encoded.indices)
            data = data.set_column(place, name, column)
    return data


def maybe_thousands(cells: list[Any]) -> str | None:
    """A cell as 20.145, where the points of a column stand as those between thousands do.

    Every cell with a point must have one before its last three digits; a column of text only, since
    numbers do not show how they were written.
    """
    pointed = [cell for cell in cells if isinstance(cell, str) and "." in cell]
    if pointed and all(map(_MAYBE_THOUSANDS.fullmatch, pointed)):
        return str(pointed[0])
    return None
