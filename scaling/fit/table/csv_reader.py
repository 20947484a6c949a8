"""CSV and TSV to columns of text.

Read as text, so that a refusal shows what the file has; Arrow reads the rows, and Python's reader
names the line of what is wrong.
"""

import csv
import functools
import io
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from common.errors import BadInput
from scaling.fit.table.columns import check_names, tidy
from scaling.fit.table.files import CHUNK, Content, has_quotes, open_text
from scaling.fit.table.schema import NEEDED

_LONGEST_ROW = 1 << 28
_MOST_COMMENTS = 1_000  # lines before the column names
_DELIMITERS = (",", ";", "\t", "|")
_UNNAMED = "\0unnamed "  # no name of a column has a zero byte
Place = Callable[[int], str]


def read_csv(content: Content) -> tuple[pa.Table, Place]:
    """The columns of a CSV or TSV as text, and where row i stands. Raises BadInput."""
    quotes = has_quotes(content)
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
    check_names(f"{content.name}:{skipped}", names)

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
                data = read(CHUNK)
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


def _comments(content: Content) -> tuple[int, str, str | None]:
    """The lines above the column names, the line of these, and what of a comment they stand in.

    Above them may stand blank lines, comments that begin with #, and a spreadsheet's sep=. As
    NumPy writes them the names are the last comment, above a row of numbers.
    """
    above, comment = 0, ""
    with open_text(content) as text:
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
    with open_text(content) as text:
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
