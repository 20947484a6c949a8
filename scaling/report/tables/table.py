"""A table of a report as strings, written once for the page and for the Markdown.

Intervals are 90%. What is missing is `unknown`; what is absent has a sentence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Row = tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """Rows under headings; `empty` is what is said instead of a table without rows."""

    columns: Row
    rows: Sequence[Row]
    empty: str = "None."
