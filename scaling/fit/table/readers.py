"""Bytes to columns: CSV, JSON lines and Parquet.

What a column means is decided in inputs.py; here only what cannot be a table is refused. A CSV is
read as text, so that a refusal shows what the file has.
"""

import csv
import functools
import hashlib
import io
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from common.errors import BadInput
from scaling.fit.table.columns import Table, tidy
from scaling.fit.table.files import Content, content_of
from scaling.fit.table.json_reader import flat_columns, read_json_rows
from scaling.fit.table.schema import NEEDED, TABLE_KINDS

_CHUNK = 1 << 20  # bytes
_LONGEST_ROW = 1 << 28
_MOST_COMMENTS = 1_000  # lines before the column names
_DELIMITERS = (",", ";", "\t", "|")
_LOOKS = (
    (b"\xff\xfe", "UTF-16; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16; save it as UTF-8"),
    (b"\x93NUMPY", "a NumPy array; write a CSV with named columns"),
    (b"\x89HDF", "HDF5; write a CSV with named columns"),
    (b"SQLite format", "an SQLite database; export the table as CSV"),
)
_PLAIN = frozenset(map(pa.type_for_alias, ["string", "bool", "int32", "int64", "float", "double"]))
_UNNAMED = "\0unnamed "  # no name of a column has a zero byte
Place = Callable[[int], str]


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
    data, place = {"csv": _csv, "json": _json, "parquet": _parquet}[kind](content)
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


def _has_quotes(content: Content) -> bool:
    """Whether a quotation mark is in a file. BadInput where it is no text, or white alone."""
    name, quotes, empty = content.name, False, True
    with content.open() as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            for part in iter(lambda: text.read(_CHUNK), ""):
                if "\0" in part:
                    raise BadInput(f"{name}: binary (a zero byte); expected text in UTF-8")
                quotes, empty = quotes or '"' in part, empty and not part.strip()
        except UnicodeDecodeError as error:
            at = file.tell() - len(error.object) + error.start
            raise BadInput(f"{name}: not UTF-8 at byte {at}; save it as UTF-8") from None
    if empty:
        raise BadInput(f"{name}: empty; expected column names and one row a run")
    return quotes


def _open(content: Content) -> TextIO:
    # A file that another program writes to meanwhile may end within a character.
    return io.TextIOWrapper(content.open(), "utf-8-sig", errors="replace", newline="")


def _comments(content: Content) -> tuple[int, str, str | None]:
    """The lines above the column names, the line of these, and what of a comment they stand in.

    Above them may stand blank lines, comments that begin with #, and a spreadsheet's sep=. As
    NumPy writes them the names are the last comment, above a row of numbers.
    """
    above, comment = 0, ""
    with _open(content) as text:
        for line in itertools.islice(text, _MOST_COMMENTS):
            bare = line.strip()
            if bare.startswith("#"):
                comment = bare.lstrip("# ")
            elif bare and not re.fullmatch("sep=.", bare):
                break
            above += 1
        else:
            raise BadInput(f"{content.name}: no column names; expected them above the rows")
    cells = re.split(r"[,;\t| ]+", bare)
    is_named = comment and len(re.split(r"[,;\t| ]+", comment)) == len(cells) > 1
    if is_named and all(map(_is_number, cells)):
        return above, comment, comment
    return above, line, None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _by_white_space(content: Content) -> Content:
    """A table of which white space alone divides the cells, with tabs instead of it."""
    with content.open() as file:
        lines = file.read().decode("utf-8-sig").splitlines()
    data = "\n".join("\t".join(line.split()) for line in lines).encode()
    return replace(content, open=lambda: io.BytesIO(data))


def _csv(content: Content) -> tuple[pa.Table, Place]:
    quotes = _has_quotes(content)
    above, header, commented = _comments(content)
    if not any(map(header.count, _DELIMITERS)) and len(header.split()) >= len(NEEDED):
        content = _by_white_space(content)
        header = "\t".join(header.split())
        commented = commented and header
    delimiter = max(_DELIMITERS, key=header.count)
    rows = functools.partial(_csv_rows, content, delimiter, above, commented)
    skipped, names = next(rows())
    unnamed = [index for index, name in enumerate(names) if not name]
    names = [name or f"{_UNNAMED}{index}" for index, name in enumerate(names)]
    _check_names(f"{content.name}:{skipped}", names)

    @functools.cache
    def lines() -> list[int]:
        """The line of each row, by a reader that is slower than Arrow's and names what is wrong."""
        return [line for line, _ in itertools.islice(rows(), 1, None)]

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
        with content.open() as file:  # Arrow opens no name that its locale has no letters for
            try:
                data = read(_CHUNK)
            except pa.ArrowInvalid as error:
                if "straddling" not in str(error):
                    raise
                data = read(_LONGEST_ROW)  # a block must hold a row, as of a very wide table
    except pa.ArrowInvalid as error:
        lines()  # which names the line of what is wrong
        raise BadInput(f"{content.name}: not CSV: {' '.join(str(error).split())}") from None
    data = pa.table([tidy(column) for column in data.columns], names)
    blank = functools.reduce(pc.and_, map(pc.is_null, data.columns))
    if pc.any(blank).as_py():
        data = data.filter(pc.invert(blank))

    def place(row: int) -> str:
        try:
            return f"{content.name}:{lines()[row]}"
        except (OSError, IndexError):  # the file is another by now, or gone
            return f"{content.name}[{row}]"

    return _without_index(f"{content.name}:{skipped}", data, unnamed), place


def _without_index(where: str, data: pa.Table, unnamed: Sequence[int]) -> pa.Table:
    """The table without columns that have no name: empty ones, and an index as pandas writes it.

    An index of whole numbers says nothing; one of names is the name of each run.
    """
    for index in unnamed:
        name = f"{_UNNAMED}{index}"
        cells = [cell for cell in data[name].to_pylist() if cell is not None]
        is_index = index == 0 and len(cells) == data.num_rows
        if not cells or (is_index and all(map(str.isdecimal, cells))):
            data = data.drop_columns([name])
        elif is_index and len(set(cells)) == len(cells) and "run_id" not in data.column_names:
            data = data.rename_columns(["run_id", *data.column_names[1:]])
        else:
            raise BadInput(f"{where}: a column without a name; expected a name for each")
    return data


def _csv_rows(
    content: Content, delimiter: str, above: int, commented: str | None
) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of the header and of each row that is not blank. Raises BadInput."""
    name = content.name
    with _open(content) as text:
        for _ in range(above):
            text.readline()
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        try:
            if commented is not None:
                header = next(csv.reader([commented], delimiter=delimiter))
            else:
                header = next(reader, [])
            top = above + reader.line_num
            names = [cell.strip() for cell in header] or [""]
            yield top, names
            for cells in reader:
                if not any(map(str.strip, cells)):
                    continue
                line = above + reader.line_num
                if len(cells) != len(names):
                    found = f"{len(cells)} fields, expected {len(names)} as in line {top}"
                    raise BadInput(f"{name}:{line}: {found}")
                yield line, cells
        except csv.Error as error:
            raise BadInput(f"{name}:{above + reader.line_num}: not CSV: {error}") from None


def _json(content: Content) -> tuple[pa.Table, Place]:
    _has_quotes(content)
    return read_json_rows(content.name, lambda: _open(content))


def _parquet(content: Content) -> tuple[pa.Table, Place]:
    name = content.name
    try:
        with content.open() as file:
            return _tidied(parquet.ParquetFile(file).read(use_threads=False), name)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInput(f"{name}: not Parquet: {' '.join(str(error).split())}") from None


def _tidied(data: pa.Table, name: str) -> tuple[pa.Table, Place]:
    """Columns of text, numbers and booleans, one for each leaf of nested ones."""
    _check_names(name, data.column_names)
    columns = [
        [(of, tidy(column))] if column.type in _PLAIN else flat_columns(of, column.to_pylist())
        for of, column in zip(data.column_names, data.columns, strict=True)
    ]
    return pa.table(dict(itertools.chain.from_iterable(columns))), lambda row: f"{name}[{row}]"


def _check_names(place: str, names: Sequence[str]) -> None:
    for name, times in Counter(names).items():
        if not name:
            raise BadInput(f"{place}: a column without a name; expected a name for each")
        if times > 1:
            raise BadInput(f"{place}: column {name!r} twice; expected each name once")
