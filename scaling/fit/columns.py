"""A table in memory: its columns packed in blocks of rows, and rows as objects where asked for.

So a million rows take about the room of the file they come from. A row keeps the place it stands
at, so that a refusal can name it.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Row:
    """One row: `place` for messages, values by column name (text, number, or None if empty)."""

    place: str
    values: Mapping[str, Any]


class Column:
    """The cells of a column, text or numbers or None, in packed blocks.

    A block is an array of numbers, text joined by zero characters, or a list where it is mixed.
    """

    def __init__(self) -> None:
        self._blocks: list[tuple[int, Any]] = []

    def append(self, cells: Sequence[Any]) -> None:
        """Add a block of cells."""
        self._blocks.append((len(cells), _packed(cells)))

    def extend(self, other: "Column") -> None:
        """Add the blocks of another column."""
        self._blocks += other._blocks

    def blocks(self) -> Iterator[list[Any]]:
        """The cells, a list a block; text without the spaces around it, None where it is empty."""
        for size, block in self._blocks:
            yield list(map(_cell, _unpacked(size, block)))

    def numbers(self) -> Iterator[np.ndarray | list[Any]]:
        """Each block as float64 where all its cells are plain finite numbers, else its cells."""
        for size, block in self._blocks:
            values = _plain_numbers(size, block)
            yield list(map(_cell, _unpacked(size, block))) if values is None else values

    def take(self, indices: Sequence[int]) -> list[Any]:
        """The cells at these places, which ascend."""
        found, wanted, start = [], iter(indices), 0
        index = next(wanted, None)
        for size, block in self._blocks:
            cells = None
            while index is not None and index < start + size:
                cells = _unpacked(size, block) if cells is None else cells
                found.append(_cell(cells[index - start]))
                index = next(wanted, None)
            start += size
        return found


@dataclass(frozen=True)
class Table:
    """Columns of equal length by name.

    source   the file or folder
    size     rows
    place    where row i stands, for messages
    digest   sha256 of what was read
    setting  what must agree between sweeps, where known
    sweep    whether it is a sweep directory of our own
    """

    source: str
    columns: Mapping[str, Column]
    size: int
    place: Callable[[int], str]
    digest: str = ""
    setting: str | None = None
    sweep: bool = False

    def cells(self, name: str) -> Iterator[list[Any]]:
        """The cells of a column, a list a block; None for each row where there is none."""
        return self.columns[name].blocks() if name in self.columns else iter([[None] * self.size])

    def rows(self, indices: Sequence[int]) -> list[Row]:
        """The rows at these places, which ascend."""
        cells = [column.take(indices) for column in self.columns.values()]
        values = zip(*cells, strict=True) if cells else ([()] * len(indices))
        return [
            Row(self.place(index), dict(zip(self.columns, found, strict=True)))
            for index, found in zip(indices, values, strict=True)
        ]


class Builder:
    """Gathers a table block by block; a column that comes late is empty above."""

    def __init__(self) -> None:
        self.columns: dict[str, Column] = {}
        self.size = 0
        self._sizes: list[int] = []

    def add(self, block: Mapping[str, Sequence[Any]], size: int) -> None:
        """Add a block of so many rows; its objects become columns `name.key`, its lists nothing."""
        plain = {name: cells for name, found in block.items() for name, cells in _flat(name, found)}
        for name in plain:
            if name not in self.columns:
                self.columns[name] = column = Column()
                for earlier in self._sizes:
                    column.append([None] * earlier)
        for name, column in self.columns.items():
            column.append(plain.get(name, [None] * size))
        self._sizes.append(size)
        self.size += size


def of_rows(source: str, rows: Sequence[Row], **known: Any) -> Table:
    """A table of rows that are objects already."""
    builder, names = Builder(), dict.fromkeys(name for row in rows for name in row.values)
    builder.add({name: [row.values.get(name) for row in rows] for name in names}, len(rows))
    places = [row.place for row in rows]
    return Table(source, builder.columns, len(rows), places.__getitem__, **known)


def stacked(tables: Sequence[Table]) -> Table:
    """One table of several, one below the other."""
    if len(tables) == 1:
        return tables[0]
    columns = {name: Column() for table in tables for name in table.columns}
    for name, column in columns.items():
        for table in tables:
            if name in table.columns:
                column.extend(table.columns[name])
            else:
                column.append([None] * table.size)
    starts = np.cumsum([0, *(table.size for table in tables)])

    def place(index: int) -> str:
        part = int(np.searchsorted(starts, index, side="right")) - 1
        return tables[part].place(index - int(starts[part]))

    source = ", ".join(table.source for table in tables)
    return Table(source, columns, int(starts[-1]), place)


def _flat(name: str, cells: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    """A column without objects and lists in it: the parts of objects are columns `name.key`."""
    if isinstance(cells, np.ndarray):
        yield name, cells
        return
    kinds = set(map(type, cells))
    if kinds & {dict, list, tuple, bytes}:
        if dict in kinds:
            objects = [cell if isinstance(cell, dict) else {} for cell in cells]
            for key in dict.fromkeys(itertools.chain.from_iterable(objects)):
                yield from _flat(f"{name}.{key}", [one.get(key) for one in objects])
        cells = [None if isinstance(cell, dict | list | tuple | bytes) else cell for cell in cells]
        if not any(cell is not None for cell in cells):
            return
    yield name, cells


def _packed(cells: Sequence[Any]) -> Any:
    """Cells as an array of numbers, as text joined by zero characters, or as a list."""
    if isinstance(cells, np.ndarray):
        return cells
    kinds = set(map(type, cells))
    if kinds <= {str, type(None)}:
        joined = "\0".join(cells if kinds == {str} else [cell or "" for cell in cells])
        if joined.count("\0") == len(cells) - 1:
            return joined
    if kinds == {float} or kinds == {int}:
        try:
            return np.array(cells, dtype=float if kinds == {float} else np.int64)
        except OverflowError:  # whole numbers beyond 64 bits stay as they are
            pass
    plain = (str, int, float, type(None))
    return [cell if isinstance(cell, plain) else str(cell) for cell in cells]


def _unpacked(size: int, block: Any) -> list[Any]:
    if isinstance(block, str):
        return block.split("\0") if size else []
    return list(block.tolist()) if isinstance(block, np.ndarray) else block


def _cell(cell: Any) -> Any:
    return (cell.strip() or None) if isinstance(cell, str) else cell


def _plain_numbers(size: int, block: Any) -> np.ndarray | None:
    if isinstance(block, str) and "_" not in block:  # Python reads 1_0 as a number
        try:
            values = np.array(list(map(float, _unpacked(size, block))))
        except ValueError:
            return None
    elif isinstance(block, np.ndarray):
        values = block.astype(float)
    else:
        return None
    return values if np.isfinite(values).all() else None
