"""Bytes to columns: CSV, JSON lines and Parquet.

What a column means is decided in inputs.py; here only what cannot be a table is refused.
"""

import hashlib
import itertools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from common.errors import BadInput
from scaling.fit.table.columns import Table, check_names, tidy
from scaling.fit.table.csv_reader import Place, read_csv
from scaling.fit.table.files import Content, content_of, has_quotes, open_text
from scaling.fit.table.json_reader import flat_columns, read_json_rows
from scaling.fit.table.schema import TABLE_KINDS

_LOOKS = (
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
    (b"\x93NUMPY", "a NumPy array; write a CSV with named columns"),
    (b"\x89HDF", "HDF5; write a CSV with named columns"),
    (b"SQLite format", "an SQLite database; export the table as CSV"),
)
_PLAIN = frozenset(map(pa.type_for_alias, ["string", "bool", "int32", "int64", "float", "double"]))


def read_table(path: Path) -> Table:
    """Read CSV or TSV, JSON (lines, a list, or rows within an object), or Parquet.

    The file's ending says which; .gz, .xz, .bz2, .zst and .zip are unpacked, /dev/stdin is read.
    Raises BadInput for what is absent, empty, without rows, or not what the ending says.
    """
    content = content_of(path)
    with content.open() as file:
        head = file.read(512)
        kind = _kind(content, head)
        if kind == "parquet":  # of a large file that is none not all is digested first
            file.seek(-4, os.SEEK_END)
            if file.read() != b"PAR1":
                raise BadInput(f"{path}: not Parquet: it does not end with PAR1; copy all of it")
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    data, place = {"csv": read_csv, "json": _json, "parquet": _parquet}[kind](content)
    if not data.num_rows:
        raise BadInput(f"{path}: no rows; expected one row a run below the column names")
    return Table(str(path), data, place, digest)


def table_in_memory(data: Any, name: str) -> Table:
    """A table of rows that a program holds: Arrow's, a data frame, columns by name, or rows.

    A data frame is pandas' (without its index), polars' or any that gives Arrow's stream. Raises
    BadInput.
    """
    try:
        if isinstance(data, Sequence):
            arrow = pa.Table.from_pylist(list(data))
        else:
            is_pandas = hasattr(data, "columns") and hasattr(data, "index")
            arrow = (
                pa.Table.from_pandas(data, preserve_index=False) if is_pandas else pa.table(data)
            )
        found, place = _tidied(arrow, name)
    except (pa.ArrowException, AttributeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise BadInput(f"{name}: found {type(data).__name__}, no table: {reason}") from None
    if not found.num_rows:
        raise BadInput(f"{name}: no rows; expected one row a run")
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, found.schema) as writer:
        writer.write_table(found)
    return Table(name, found, place, hashlib.sha256(stream.getvalue()).hexdigest())


def _kind(content: Content, head: bytes) -> str:
    """What the ending says the table is, or its first bytes where there is none."""
    name, kind = content.name, TABLE_KINDS.get(content.ending.lower())
    for magic, looks in _LOOKS:
        if head.startswith(magic):
            raise BadInput(f"{name}: looks like {looks}")
    if kind is None and content.ending:
        ending = content.ending.removesuffix(".")
        raise BadInput(f"{name}: ending {ending!r}, expected .csv, .tsv, .jsonl or .parquet")
    if not head:
        raise BadInput(f"{name}: empty; expected column names and one row a run")
    if kind is None:
        is_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
        kind = "parquet" if head.startswith(b"PAR1") else "json" if is_json else "csv"
    if kind == "parquet" and not head.startswith(b"PAR1"):
        raise BadInput(f"{name}: not Parquet: it does not begin with PAR1")
    if kind != "parquet":
        if b"\0" in head:
            raise BadInput(f"{name}: binary (a zero byte); expected text in UTF-8")
        if head.startswith(b"PAR1"):
            raise BadInput(f"{name}: looks like Parquet; name it with the ending .parquet")
        if head.lstrip().startswith(b"<"):
            raise BadInput(f"{name}: looks like HTML or XML; expected a table of runs")
    return kind


def _json(content: Content) -> tuple[pa.Table, Place]:
    has_quotes(content)
    return read_json_rows(content.name, lambda: open_text(content))


def _parquet(content: Content) -> tuple[pa.Table, Place]:
    name = content.name
    try:
        with content.open() as file:
            return _tidied(parquet.ParquetFile(file).read(use_threads=False), name)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{name}: not Parquet: {' '.join(str(error).split())}") from None


def _tidied(data: pa.Table, name: str) -> tuple[pa.Table, Place]:
    """Columns of text, numbers and booleans, one for each leaf of nested ones."""
    check_names(name, data.column_names)
    columns = [
        [(of, tidy(column))] if column.type in _PLAIN else flat_columns(of, column.to_pylist())
        for of, column in zip(data.column_names, data.columns, strict=True)
    ]
    return pa.table(dict(itertools.chain.from_iterable(columns))), lambda row: f"{name}[{row}]"
