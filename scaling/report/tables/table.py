"""A table of a report as strings, written once for the page and for the Markdown.

Intervals are 90%. What is missing is `unknown`; what is absent has a sentence.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Row = tuple[str, ...]
T = TypeVar("T")
_MOST_ROWS = 2_000


@dataclass(frozen=True)
class Table:
    """Rows under headings; `empty` is what is said instead of a table without rows."""

    columns: Row
    rows: Sequence[Row]
    empty: str = "None."


def first_rows(columns: Row, items: Sequence[T], row: Callable[[T], Row], empty: str) -> Table:
    """A table of one row an item, of so many as a page can hold, and how many more there are."""
    rows = [row(item) for item in items[:_MOST_ROWS]]
    if more := len(items) - len(rows):
        rows.append((f"and {more:,} more", *[""] * (len(columns) - 1)))
    return Table(columns, rows, empty)
