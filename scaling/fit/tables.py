"""Bytes to columns: CSV, JSON lines and Parquet, read a block of rows at a time.

What a column means is decided in inputs.py; here only what cannot be a table is refused.
"""

import codecs
import csv
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TextIO

import numpy as np

from configs.errors import BadInput
from configs.files import parse_json
from scaling.fit.columns import Builder, Table

BLOCK = 20_000  # rows
_CHUNK = 1 << 20
_KINDS = {
    **dict.fromkeys((".csv", ".tsv", ".txt"), "csv"),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), "json"),
    **dict.fromkeys((".parquet", ".pq"), "parquet"),
}
TABLE_ENDINGS = tuple(_KINDS)
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
        if kind == "parquet":
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            digest = _inspect(path, file)
    builder, place = {"csv": _csv, "json": _json, "parquet": _parquet}[kind](path)
    if not builder.size:
        raise BadInput(f"{path}: no rows; expected one row a run below the column names")
    return Table(str(path), builder.columns, builder.size, place, digest)


_Read = tuple[Builder, Callable[[int], str]]


def _kind(path: Path, head: bytes) -> str:
    """What the ending says the file is, unless it begins as something else."""
    kind = _KINDS.get(path.suffix.lower())
    for magic, looks in _LOOKS:
        if head.startswith(magic):
            raise BadInput(f"{path}: looks like {looks}")
    if kind is None:
        raise BadInput(f"{path}: ending {path.suffix!r}, expected .csv, .tsv, .jsonl or .parquet")
    if not head:
        raise BadInput(f"{path}: empty; expected column names and one row a run")
    if kind != "parquet":
        if head.startswith(b"PAR1"):
            raise BadInput(f"{path}: looks like Parquet; name it with the ending .parquet")
        if head.lstrip().startswith(b"<"):
            raise BadInput(f"{path}: looks like HTML or XML; expected a table of runs")
    return kind


def _inspect(path: Path, file: BinaryIO) -> str:
    """sha256 of a file that is text, which is not all white. Raises BadInput."""
    digest, decoder = hashlib.sha256(), codecs.getincrementaldecoder("utf-8")()
    empty, read = True, 0
    while True:
        chunk = file.read(_CHUNK)
        digest.update(chunk)
        if b"\x00" in chunk:
            raise BadInput(f"{path}: binary (a zero byte); expected text in UTF-8")
        held = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            at = read - held + error.start
            raise BadInput(f"{path}: not UTF-8 at byte {at}; save it as UTF-8") from None
        empty = empty and not text.strip("\ufeff \t\r\n\v\f")
        read += len(chunk)
        if not chunk:
            break
    if empty:
        raise BadInput(f"{path}: empty; expected column names and one row a run")
    return digest.hexdigest()


def _open(path: Path) -> TextIO:
    # A file that another program writes to meanwhile may end within a character.
    return path.open(encoding="utf-8-sig", errors="replace", newline="")


def _csv(path: Path) -> _Read:
    lines: list[np.ndarray] = []
    builder = Builder()
    with _open(path) as text:
        header = text.readline()
        delimiter = max((",", ";", "\t"), key=header.count)
        reader = csv.reader(itertools.chain([header], text), delimiter=delimiter, strict=True)
        try:
            names = [name.strip() for name in next(reader)]
            _check_names(f"{path}:1", names)
            for block in _blocks(_csv_rows(path, reader, len(names))):
                lines.append(np.array([line for line, _ in block]))
                columns = zip(*(cells for _, cells in block), strict=True)
                builder.add(dict(zip(names, columns, strict=True)), len(block))
        except csv.Error as error:
            raise BadInput(f"{path}:{reader.line_num}: not CSV: {error}") from None
    number = np.concatenate([np.empty(0, int), *lines])
    return builder, lambda index: f"{path}:{number[index]}"


def _csv_rows(path: Path, reader: Any, width: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row that is not blank."""
    for cells in reader:
        if not any(map(str.strip, cells)):
            continue
        if len(cells) != width:
            place = f"{path}:{reader.line_num}"
            raise BadInput(f"{place}: {len(cells)} fields, expected {width} as in line 1")
        yield reader.line_num, cells


def _json(path: Path) -> _Read:
    lines: list[np.ndarray] = []
    builder = Builder()
    with _open(path) as text:
        listed = next(line for line in text if line.strip()).lstrip().startswith("[")
        text.seek(0)
        items = _json_list(path, text.read()) if listed else _json_lines(path, text)
        for block in _blocks(items):
            lines.append(np.array([line for line, _ in block]))
            names = dict.fromkeys(itertools.chain.from_iterable(item for _, item in block))
            cells = {name: [item.get(name) for _, item in block] for name in names}
            builder.add(cells, len(block))
    number = np.concatenate([np.empty(0, int), *lines])
    return builder, lambda index: f"{path}[{index}]" if listed else f"{path}:{number[index]}"


def _json_list(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        items = parse_json(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path}: not strict JSON: {error}") from None
    for index, item in enumerate(items):
        yield index, item if isinstance(item, dict) else _no_object(f"{path}[{index}]", item)


def _json_lines(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    decode = json.JSONDecoder(parse_constant=str).decode
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                item = decode(line)
            except (ValueError, RecursionError) as error:
                raise BadInput(f"{path}:{number}: not JSON: {error}") from None
            yield number, item if isinstance(item, dict) else _no_object(f"{path}:{number}", item)


def _no_object(place: str, item: Any) -> NoReturn:
    raise BadInput(f"{place}: found {item!r:.40}, expected an object with named columns")


def _parquet(path: Path) -> _Read:
    from pyarrow import ArrowException, parquet  # a third of a second, for Parquet alone

    builder = Builder()
    try:
        table = parquet.ParquetFile(path)
        _check_names(str(path), table.schema_arrow.names)
        for batch in table.iter_batches(BLOCK):
            builder.add(
                {name: _of_arrow(batch.column(name)) for name in batch.schema.names}, len(batch)
            )
    except (ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{path}: not Parquet: {' '.join(str(error).split())}") from None
    return builder, lambda index: f"{path}[{index}]"


def _of_arrow(column: Any) -> Sequence[Any]:
    from pyarrow import types

    plain = types.is_integer(column.type) or types.is_float64(column.type)
    return column.to_numpy() if plain and not column.null_count else column.to_pylist()


def _blocks(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while block := list(itertools.islice(iterator, BLOCK)):
        yield block


def _check_names(place: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if not name:
            raise BadInput(f"{place}: a column without a name; expected a name for each")
        if times > 1:
            raise BadInput(f"{place}: column {name!r} twice; expected each name once")
