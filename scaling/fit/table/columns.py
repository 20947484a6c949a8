"""A table in memory: Arrow columns by name, their numbers, and the refusal of a value.

A value is text, a number or a boolean; a column holds one of the three, and null where a row has
nothing. A refusal names where the row stands, its run, the column, what it found and what it needs.
Importing pyarrow starts a thread, so that processes which fork must not import this file.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from common.errors import BadInput
from common.text import shown
from scaling.fit.flags import Flag
from scaling.fit.table.schema import NUMBERS, as_compared, is_done, is_missing
from scaling.fit.table.written_numbers import PLAIN, number_of, own_unit, spelling_hint

# Of anything counted: beyond is a slip, and squares and exponentials of it overflow.
_SMALLEST, _LARGEST = 1e-12, 1e40
_MOST = {"params": 1e20, "tokens": 1e24}  # the surface of more is flat to the last bit
if "jemalloc" in pa.supported_memory_backends():  # which alone gives back at once what is free
    pa.set_memory_pool(pa.jemalloc_memory_pool())
    pa.jemalloc_set_decay_ms(0)


@dataclass(frozen=True)
class Table:
    """Rows of runs or of training curves.

    source   the file or folder
    data     the columns by name
    place    where row i stands, for messages
    digest   sha256 of what was read
    setting  what must agree between sweeps, where known
    sweep    whether it is a sweep directory of our own
    flags    what to know of the files that it was read from
    units    column: what one unit of it is, as 1e9 where it counts billions
    number   which row of all those read row i is, from 0
    """

    source: str
    data: pa.Table
    place: Callable[[int], str]
    digest: str = ""
    setting: str | None = None
    sweep: bool = False
    flags: tuple[Flag, ...] = ()
    units: Mapping[str, float] = field(default_factory=dict)
    number: Callable[[int], int] = int

    def __len__(self) -> int:
        return self.data.num_rows

    @property
    def names(self) -> list[str]:
        """The names of the columns in their order."""
        return self.data.column_names

    def values(self, name: str) -> list[Any]:
        """A column as text, numbers or booleans; None where a row has nothing."""
        return self._column(name).to_pylist()

    def texts(self, name: str) -> list[str | None]:
        """A column with its numbers and booleans as text."""
        return [None if value is None else str(value) for value in self.values(name)]

    def known(self, name: str) -> np.ndarray:
        """The mask of the rows that have a value."""
        return self._column(name).is_valid().to_numpy()

    @property
    def done(self) -> np.ndarray:
        """The mask of the runs that ended well, as far as the table says."""
        index, words = self.distinct("status")
        return np.array([*(is_done(str(word)) for word in words), is_done(None)])[index]

    def distinct(self, name: str) -> tuple[np.ndarray, list[Any]]:
        """The index of each row's value among the distinct ones, -1 for none; and these values."""
        encoded = self._column(name).combine_chunks().dictionary_encode()
        return pc.fill_null(encoded.indices, -1).to_numpy(), encoded.dictionary.to_pylist()

    def numbers_or_nan(self, name: str) -> np.ndarray:
        """A column as float64 (rows,), nan where a row has no finite number."""
        column = self._column(name)
        if pa.types.is_boolean(column.type) and name != "is_final":
            return np.full(len(self), math.nan)
        try:
            values = column.cast(pa.float64(), safe=False).to_numpy()
        except pa.ArrowInvalid:  # not all of the text is a number
            index, distinct = self.distinct(name)
            plain = name in self.units  # of a cell with a unit of its own there would be two
            found = [math.nan if plain and own_unit(v) else number_of(v, name) for v in distinct]
            values = np.array([*found, math.nan])[index]
        return np.where(np.isfinite(values), values, math.nan) * self.units.get(name, 1.0)

    def numbers(
        self, name: str, keep: np.ndarray | None = None, run: str | None = None
    ) -> np.ndarray:
        """A column as float64 (rows,), nan where a row has nothing.

        Raises BadInput for a row, of those in the mask `keep`, that has something else; `run` names
        the run of the column where the table has no run_id.
        """
        values = self.numbers_or_nan(name)
        wrong = np.isnan(values) & self.known(name)
        wrong = wrong if keep is None else wrong & keep
        if wrong.any() and name in NUMBERS and name != "step":
            texts = self.texts(name)
            rows = np.flatnonzero(wrong)
            wrong[[row for row in rows.tolist() if is_missing(texts[row], False)]] = False
        if wrong.any():
            raise self.no_number(int(np.argmax(wrong)), name, run)
        return values

    def positive(self, name: str, needed: bool = True) -> np.ndarray:
        """A column of counts; BadInput for what is none, and for an empty one that is `needed`."""
        values = self.numbers(name)
        empty, most = np.isnan(values), _MOST.get(name, _LARGEST)
        if needed and empty.any():
            raise self.no_number(int(np.argmax(empty)), name)
        self.check(empty | (values > 0), name, values, "above 0")
        expected = f"{_SMALLEST:g} to {most:g}"
        self.check(empty | (values >= _SMALLEST) & (values <= most), name, values, expected)
        return values

    def check(self, good: np.ndarray, name: str, values: np.ndarray, expected: str) -> None:
        """Refuse the first row that is not in the mask `good`."""
        if not good.all():
            row = int(np.argmin(good))
            raise self.refusal(row, name, f"{values[row]:g}", expected)

    def no_number(self, row: int, name: str, run: str | None = None) -> BadInput:
        """The error for a value that is no finite number."""
        value = self._column(name)[row].as_py()
        if isinstance(value, str) and not PLAIN.fullmatch(value):
            found, expected = f"{value!r:.60}", "a number" + spelling_hint(value, name)
        elif value is None or isinstance(value, bool):
            found, expected = "nothing" if value is None else str(value), "a number"
        else:
            found, expected = str(float(value)), "a finite number"
        return self.refusal(row, name, found, expected, run)

    def refusal(
        self, row: int, name: str, found: str, expected: str, run: str | None = None
    ) -> BadInput:
        """The error for a value: its place and run, its column, what it is and should be."""
        run_id = self._column("run_id")[row].as_py() if run is None else run
        of = f" (run {shown(run_id)})" if run_id is not None else ""
        return BadInput(f"{self.place(row)}{of}: {name}: found {found}, expected {expected}")

    def run_name(self, row: int) -> str:
        """What a row is called: its run_id, else where it stands."""
        return str(self._column("run_id")[row].as_py() or self.place(row))

    def numbered(self, row: int) -> str:
        """What a row without a name is called: row-00012 is the twelfth of the input."""
        return f"row-{self.number(row) + 1:05d}"

    def take(self, rows: np.ndarray) -> "Table":
        """The rows of a mask or an index array."""
        indices, place, number = np.arange(len(self))[rows], self.place, self.number
        return replace(
            self,
            data=self.data.take(indices),
            place=lambda row: place(int(indices[row])),
            number=lambda row: number(int(indices[row])),
        )

    def with_columns(self, columns: Mapping[str, Any]) -> "Table":
        """The table with columns added, or put in the place of those of their name."""
        data = {**dict(zip(self.names, self.data.columns, strict=True)), **columns}
        return replace(self, data=pa.table(data))

    def as_numbers(self, names: Sequence[str]) -> "Table":
        """The table with columns of text as numbers, where all of it is: in half of the room."""
        found = {}
        for name in names:
            if name in self.names and pa.types.is_string(self.data[name].type):
                values = self.numbers_or_nan(name)
                if not (np.isnan(values) & self.known(name)).any():
                    found[name] = pa.array(values, from_pandas=True)
        return self.with_columns(found)

    def _column(self, name: str) -> pa.ChunkedArray:
        if name in self.names:
            return self.data[name]
        return pa.chunked_array([pa.nulls(len(self))])


def of_rows(
    source: str, rows: Sequence[Mapping[str, Any]], places: Sequence[str], **known: Any
) -> Table:
    """A table of rows that are objects, each with its place."""
    names = dict.fromkeys(name for row in rows for name in row)
    data = pa.table({name: column_of([row.get(name) for row in rows]) for name in names})
    return Table(source, data, places.__getitem__, **known)


def stacked(tables: Sequence[Table]) -> Table:
    """One table of several, one below the other."""
    starts = np.cumsum([0, *map(len, tables)])
    first = np.cumsum([0, *(t.number(len(t) - 1) + 1 if len(t) else 0 for t in tables)])

    def at(row: int) -> tuple[int, int]:
        part = int(np.searchsorted(starts, row, side="right")) - 1
        return part, row - int(starts[part])

    def place(row: int) -> str:
        part, own = at(row)
        return tables[part].place(own)

    def number(row: int) -> int:
        part, own = at(row)
        return int(first[part]) + tables[part].number(own)

    source = ", ".join(table.source for table in tables)
    return Table(source, concatenated([table.data for table in tables]), place, number=number)


def concatenated(parts: Sequence[pa.Table]) -> pa.Table:
    """The rows of all; a column that is not of one type becomes text, one that lacks is empty."""
    types: dict[str, set[pa.DataType]] = {}
    for part in parts:
        for column in part.schema:
            types.setdefault(column.name, set()).add(column.type)
    mixed = {name for name, found in types.items() if len(found - {pa.null()}) > 1}
    alike = []
    for part in parts:
        for name in mixed.intersection(part.column_names):
            if not pa.types.is_string(part[name].type):
                place = part.column_names.index(name)
                part = part.set_column(place, name, _text(part[name].to_pylist()))
        alike.append(part)
    return pa.concat_tables(alike, promote_options="default")


def column_of(values: Sequence[Any]) -> pa.Array:
    """Values as a column: of their type where it is one, else each as its text."""
    kinds = set(map(type, values)) - {type(None)}
    if len(kinds) > 1 or not kinds <= {str, int, float, bool}:
        return _text(values)
    try:
        return tidy(pa.array(values))
    except (OverflowError, ValueError):  # whole numbers beyond 64 bits, half of a surrogate pair
        return _text(values)


def tidy(column: Any) -> Any:
    """Text without the spaces around it, null where nothing is left; other columns as they are."""
    if not pa.types.is_string(column.type):
        return column
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array(map(tidy, column.chunks), column.type)
    trimmed = pc.utf8_trim_whitespace(column)
    trimmed = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
    return column if trimmed.equals(column) else trimmed  # rarely a copy of what was read


def same_value(found: Any, wanted: Any) -> bool:
    """Whether a value is the one asked for: as numbers where both are, else as text."""
    if found is None or wanted is None:
        return found is wanted
    if isinstance(found, bool):
        return str(found).lower() == str(wanted).lower()
    one, other = as_compared(found), as_compared(wanted)
    return one == other if type(one) is type(other) else str(found) == str(wanted)


def _text(values: Sequence[Any]) -> pa.Array:
    texts = [None if v is None else str(v).encode(errors="replace").decode() for v in values]
    return tidy(pa.array(texts, pa.string()))


def check_names(place: str, names: Sequence[str]) -> None:
    """Refuse a column without a name, and two of one name."""
    for name, times in Counter(names).items():
        if not name:
            raise BadInput(f"{place}: a column without a name; expected a name for each")
        if times > 1:
            raise BadInput(f"{place}: column {name!r} twice; expected each name once")
