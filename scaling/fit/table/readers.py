"""Bytes to columns: CSV, JSON lines and Parquet.

What a column means is decided in inputs.py; here only what cannot be a table is refused. A CSV is
read as text, so that a refusal shows what the file has. JSON is read line by line, since Arrow's
reader names no line and takes no column of two types.
"""

import csv
import functools
import hashlib
import io
import itertools
import json
import os
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from common.errors import BadInput
from common.files import parse_json
from scaling.fit.table.columns import Table, column_of, concatenated, tidy
from scaling.fit.table.schema import TABLE_KINDS

BLOCK = 5_000  # rows of JSON
_CHUNK = 1 << 20  # bytes
_LONGEST_ROW = 1 << 28
_LOOKS = (
    (b"\x1f\x8b", "gzip; unpack it first"),
    (b"BZh", "bzip2; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "zstd; unpack it first"),
    (b"PK\x03\x04", "a zip or spreadsheet; export it as CSV"),
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
    (b"\x93NUMPY", "a NumPy array; write a CSV with named columns"),
    (b"\x89HDF", "HDF5; write a CSV with named columns"),
    (b"SQLite format", "an SQLite database; export the table as CSV"),
)
_PLAIN = frozenset(map(pa.type_for_alias, ["string", "bool", "int32", "int64", "float", "double"]))
Place = Callable[[int], str]


def read_table(path: Path) -> Table:
    """Read CSV or TSV, JSON lines (or a JSON list), or Parquet, by the file's ending.

    Raises BadInput for what is absent, empty, without rows, or not what the ending says.
    """
    if not path.exists():
        raise BadInput(f"{path}: not found; expected a sweep directory or a table of runs")
    if not path.is_file():
        raise BadInput(f"{path}: not a regular file; expected a sweep directory or a table of runs")
    with path.open("rb") as file:
        kind = _kind(path, file.peek(512))
        if kind == "parquet":  # of a large file that is none not all is digested first
            file.seek(-4, os.SEEK_END)
            if file.read() != b"PAR1":
                raise BadInput(f"{path}: not Parquet: it does not end with PAR1; copy all of it")
            file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    data, place = {"csv": _csv, "json": _json, "parquet": _parquet}[kind](path)
    if not data.num_rows:
        raise BadInput(f"{path}: no rows; expected one row a run below the column names")
    return Table(str(path), data, place, digest)


def _kind(path: Path, head: bytes) -> str:
    """What the ending says the file is, unless it begins as something else."""
    kind = TABLE_KINDS.get(path.suffix.lower())
    for magic, looks in _LOOKS:
        if head.startswith(magic):
            raise BadInput(f"{path}: looks like {looks}")
    if kind is None:
        raise BadInput(f"{path}: ending {path.suffix!r}, expected .csv, .tsv, .jsonl or .parquet")
    if not head:
        raise BadInput(f"{path}: empty; expected column names and one row a run")
    if kind == "parquet" and not head.startswith(b"PAR1"):
        raise BadInput(f"{path}: not Parquet: it does not begin with PAR1")
    if kind != "parquet":
        if b"\0" in head:
            raise BadInput(f"{path}: binary (a zero byte); expected text in UTF-8")
        if head.startswith(b"PAR1"):
            raise BadInput(f"{path}: looks like Parquet; name it with the ending .parquet")
        if head.lstrip().startswith(b"<"):
            raise BadInput(f"{path}: looks like HTML or XML; expected a table of runs")
    return kind


def _has_quotes(path: Path) -> bool:
    """Whether a quotation mark is in a file. BadInput where it is no text, or white alone."""
    quotes, empty = False, True
    with path.open("rb") as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            for part in iter(lambda: text.read(_CHUNK), ""):
                if "\0" in part:
                    raise BadInput(f"{path}: binary (a zero byte); expected text in UTF-8")
                quotes, empty = quotes or '"' in part, empty and not part.strip()
        except UnicodeDecodeError as error:
            at = file.tell() - len(error.object) + error.start
            raise BadInput(f"{path}: not UTF-8 at byte {at}; save it as UTF-8") from None
    if empty:
        raise BadInput(f"{path}: empty; expected column names and one row a run")
    return quotes


def _open(path: Path) -> TextIO:
    # A file that another program writes to meanwhile may end within a character.
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _csv(path: Path) -> tuple[pa.Table, Place]:
    quotes = _has_quotes(path)
    with _open(path) as text:
        header = text.readline()
    delimiter = max((",", ";", "\t"), key=header.count)
    skipped, names = next(_csv_rows(path, delimiter))
    _check_names(f"{path}:1", names)

    @functools.cache
    def lines() -> list[int]:
        """The line of each row, by a reader that is slower than Arrow's and names what is wrong."""
        return [line for line, _ in itertools.islice(_csv_rows(path, delimiter), 1, None)]

    white = f'" \t{delimiter}'
    if quotes:  # which Arrow reads however they stand
        lines()

    def read(block: int) -> pa.Table:
        file.seek(0)
        return arrow_csv.read_csv(
            file,
            arrow_csv.ReadOptions(
                use_threads=False, column_names=names, skip_rows=skipped, block_size=block
            ),
            arrow_csv.ParseOptions(
                delimiter=delimiter,
                newlines_in_values=True,
                invalid_row_handler=lambda row: "error" if row.text.strip(white) else "skip",
            ),
            arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )

    try:
        with path.open("rb") as file:  # Arrow opens no name that its locale has no letters for
            try:
                data = read(_CHUNK)
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error):
                    raise
                data = read(_LONGEST_ROW)  # a block must hold a row, as of a very wide table
    except pa.ArrowInvalid as error:
        lines()  # which names the line of what is wrong
        raise BadInput(f"{path}: not CSV: {' '.join(str(error).split())}") from None
    data = pa.table([tidy(column) for column in data.columns], names)
    blank = functools.reduce(pc.and_, map(pc.is_null, data.columns))
    if pc.any(blank).as_py():
        data = data.filter(pc.invert(blank))

    def place(row: int) -> str:
        try:
            return f"{path}:{lines()[row]}"
        except (OSError, IndexError):  # the file is another by now, or gone
            return f"{path}[{row}]"

    return data, place


def _csv_rows(path: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of the header and of each row that is not blank. Raises BadInput."""
    with _open(path) as text:
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            names = [name.strip() for name in next(reader, [])] or [""]
            yield reader.line_num, names
            for cells in reader:
                if not any(map(str.strip, cells)):
                    continue
                if len(cells) != len(names):
                    found = f"{len(cells)} fields, expected {len(names)} as in line 1"
                    raise BadInput(f"{path}:{reader.line_num}: {found}")
                yield reader.line_num, cells
        except csv.Error as error:
            raise BadInput(f"{path}:{reader.line_num}: not CSV: {error}") from None


def _json(path: Path) -> tuple[pa.Table, Place]:
    _has_quotes(path)
    numbers, blocks = array("q"), []
    with _open(path) as text:
        listed = next(line for line in text if line.strip()).lstrip().startswith("[")
        text.seek(0)

        def place(number: int) -> str:
            return f"{path}[{number}]" if listed else f"{path}:{number}"

        items = _json_list(path, text.read()) if listed else _json_lines(path, text)
        while block := list(itertools.islice(items, BLOCK)):
            for number, row in block:
                if not isinstance(row, dict):
                    expected = "expected an object with named columns"
                    raise BadInput(f"{place(number)}: found {row!r:.40}, {expected}")
            found, rows = zip(*block, strict=True)
            numbers.extend(found)
            names = dict.fromkeys(itertools.chain.from_iterable(rows))
            columns = (_plain(name, _values(rows, name)) for name in names)
            blocks.append(pa.table(dict(itertools.chain.from_iterable(columns))))
    if not blocks:
        raise BadInput(f"{path}: no rows; expected one row a run")
    data = concatenated(blocks)
    if not data.column_names:
        expected = 'one object a run, as [{"params": 1e8, "tokens": 2e9, "loss": 3.1}]'
        raise BadInput(f"{path}: no field with a number or a text in it; expected {expected}")
    return data, lambda row: place(numbers[row])


def _json_list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        return enumerate(parse_json(text))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not strict JSON: {error}") from None


def _json_lines(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder(parse_constant=str)
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            try:
                item, end = decoder.raw_decode(text)  # half as long as decode(), which says more
                yield number, item if end == len(text) else decoder.decode(text)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{path}:{number}: not JSON: {error}") from None


def _values(rows: Sequence[dict[str, Any]], name: str) -> list[Any]:
    try:
        return list(map(itemgetter(name), rows))  # half as long as .get
    except KeyError:
        return [row.get(name) for row in rows]


def _parquet(path: Path) -> tuple[pa.Table, Place]:
    try:
        data = parquet.ParquetFile(path).read(use_threads=False)
        _check_names(str(path), data.column_names)
        columns = [
            [(name, tidy(column))] if column.type in _PLAIN else _plain(name, column.to_pylist())
            for name, column in zip(data.column_names, data.columns, strict=True)
        ]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{path}: not Parquet: {' '.join(str(error).split())}") from None
    return pa.table(dict(itertools.chain.from_iterable(columns))), lambda row: f"{path}[{row}]"


def _plain(name: str, values: Sequence[Any]) -> Iterator[tuple[str, pa.Array]]:
    """A column; the parts of objects in it are columns `name.key`, lists are left out."""
    if set(map(type, values)) & {dict, list, tuple, bytes}:
        objects = [value if isinstance(value, dict) else {} for value in values]
        for key in dict.fromkeys(itertools.chain.from_iterable(objects)):
            yield from _plain(f"{name}.{key}", [one.get(key) for one in objects])
        values = [None if isinstance(v, dict | list | tuple | bytes) else v for v in values]
        if not any(value is not None for value in values):
            return
    yield name, column_of(values)


def _check_names(place: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if not name:
            raise BadInput(f"{place}: a column without a name; expected a name for each")
        if times > 1:
            raise BadInput(f"{place}: column {name!r} twice; expected each name once")
