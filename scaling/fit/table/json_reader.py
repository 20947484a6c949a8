"""JSON to columns: a row a line, a list of rows, or one object that holds the rows somewhere.

JSON is read line by line, since Arrow's reader names no line and takes no column of two types.
"""

import itertools
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TextIO

import pyarrow as pa

from common.errors import BadInput
from common.text import listed
from scaling.fit.table.columns import column_of, concatenated
from scaling.fit.table.schema import is_ours

BLOCK = 5_000  # rows
_ONE_A_RUN = 'expected one object a run, as [{"params": 1e8, "tokens": 2e9, "loss": 3.1}]'
Place = Callable[[int], str]


def read_json_rows(name: str, open_text: Callable[[], TextIO]) -> tuple[pa.Table, Place]:
    """The rows of a JSON file that messages call `name`, and where each stands. BadInput."""
    numbers, blocks = array("q"), []
    with open_text() as text:
        items, by_line = _items(name, text)

        def place(number: int) -> str:
            return f"{name}:{number}" if by_line else f"{name}[{number}]"

        while block := list(itertools.islice(items, BLOCK)):
            for number, row in block:
                if not isinstance(row, dict):
                    expected = "expected an object with named columns"
                    raise BadInput(f"{place(number)}: found {row!r:.40}, {expected}")
            found, rows = zip(*block, strict=True)
            numbers.extend(found)
            names = dict.fromkeys(itertools.chain.from_iterable(rows))
            columns = (flat_columns(column, _values(rows, column)) for column in names)
            blocks.append(pa.table(dict(itertools.chain.from_iterable(columns))))
    if not blocks:
        raise BadInput(f"{name}: no rows; expected one row a run")
    data = concatenated(blocks)
    if not data.column_names:
        raise BadInput(f"{name}: no field with a number or a text in it; {_ONE_A_RUN}")
    return data, lambda row: place(numbers[row])


def flat_columns(name: str, values: Sequence[Any]) -> Iterator[tuple[str, pa.Array]]:
    """A column; the parts of objects in it are columns `name.key`, lists are left out."""
    if set(map(type, values)) & {dict, list, tuple, bytes}:
        objects = [value if isinstance(value, dict) else {} for value in values]
        for key in dict.fromkeys(itertools.chain.from_iterable(objects)):
            yield from flat_columns(f"{name}.{key}", [one.get(key) for one in objects])
        values = [None if isinstance(v, dict | list | tuple | bytes) else v for v in values]
        if not any(value is not None for value in values):
            return
    yield name, column_of(values)


def _items(name: str, text: TextIO) -> tuple[Iterator[tuple[int, Any]], bool]:
    """The rows with their numbers, and whether these are lines."""
    filled = (line for line in text if line.strip())
    first, second = next(filled), next(filled, None)
    text.seek(0)
    if first.lstrip().startswith("["):
        return enumerate(_document(name, text.read())), False
    if not _is_object(first):  # printed over several lines, or nothing that is JSON
        try:
            whole = _decoder().decode(text.read().strip())
        except (ValueError, RecursionError):
            text.seek(0)
            return _json_lines(name, text), True
    elif second is not None:
        return _json_lines(name, text), True
    else:
        whole = _document(name, first)
    if not isinstance(whole, dict) or not any(isinstance(v, list | dict) for v in whole.values()):
        return iter([(1, whole)]), True
    return enumerate(_rows_within(name, whole)), False


def _is_object(line: str) -> bool:
    try:
        return isinstance(_decoder().decode(line.strip()), dict)
    except (ValueError, RecursionError):
        return False


def _rows_within(name: str, whole: Mapping[str, Any]) -> Sequence[Any]:
    """The rows in an object: under a key, as columns, or by the name of each run. BadInput."""
    if {"columns", "data"} <= set(whole) and isinstance(whole["columns"], list):  # pandas: split
        rows, names = whole["data"], list(map(str, whole["columns"]))
        if isinstance(rows, list) and all(isinstance(r, list) for r in rows):
            return [dict(zip(names, row, strict=False)) for row in rows]
    under = [key for key, value in whole.items() if _is_rows(value)]
    if len(under) == 1:
        return whole[under[0]]
    if under:
        raise BadInput(f"{name}: rows under {listed(under)}, expected one list; keep one of them")
    lists = {key: value for key, value in whole.items() if isinstance(value, list)}
    if lists and len(lists) == len(whole):
        if len({len(value) for value in lists.values()}) > 1:
            lengths = ", ".join(f"{len(value)} {key}" for key, value in lists.items())
            raise BadInput(f"{name}: columns of different lengths ({lengths}), expected one length")
        return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]
    objects = {key: value for key, value in whole.items() if isinstance(value, dict)}
    parts = Counter(itertools.chain.from_iterable(objects.values()))
    numbered = bool(parts) and all(str(part).isdecimal() for part in parts)
    ours = any(map(is_ours, whole)) and not any(map(is_ours, parts))  # a run may be called D
    if len(objects) == len(whole) and (numbered or ours):  # pandas: a column by its index
        rows = dict.fromkeys(itertools.chain.from_iterable(objects.values()))
        return [{key: column.get(row) for key, column in objects.items()} for row in rows]
    if len(objects) == len(whole) > 1 and max(parts.values(), default=0) > 1:  # runs by their names
        return [{"run_id": key, **row} for key, row in objects.items()]
    return [whole]  # one run, its parts in objects


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def _document(name: str, text: str) -> Any:
    try:
        return _decoder().decode(text.strip())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{name}: not JSON: {error}") from None


def _json_lines(name: str, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder(parse_constant=str)
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            try:
                item, end = decoder.raw_decode(text)  # half as long as decode(), which says more
                yield number, item if end == len(text) else decoder.decode(text)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{name}:{number}: not JSON: {error}") from None


def _decoder() -> json.JSONDecoder:
    """NaN and infinities become text, as Python's own writer makes them; a key stands once."""
    return json.JSONDecoder(parse_constant=str, object_pairs_hook=_once)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"key {twice!r} stands twice in one object")
    return found


def _values(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))  # half as long as .get
    except KeyError:
        return [row.get(name) for row in rows]
