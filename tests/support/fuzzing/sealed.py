"""What a changed file may be read as, where its content carries digests."""

import json
from collections.abc import Callable
from typing import Any


def of_no_digest(before: Any, after: Any, content: bytes | None) -> bool:
    """Right where no digest speaks for the content, as by hand, or where there is none."""
    if content is None:
        return True
    try:
        values = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and values.get("digest") is None


def named_as(words: str) -> Callable[[Any, Any, bytes | None], bool]:
    """Right where the answer says so of the file, besides what `of_no_digest` allows."""
    return lambda before, after, content: (
        words in repr(after) or of_no_digest(before, after, content)
    )


def lost_rows(before: Any, after: Any, content: bytes | None) -> bool:
    """Right where rows are fewer, or other only because a line has no digest."""
    if content is None or any(b'"digest"' not in line for line in content.splitlines()):
        return True
    left = [repr(row) for row in _rows(before)]
    return all(repr(row) in left for row in _rows(after))


def _rows(answer: Any) -> list[Any]:
    if isinstance(answer, dict):
        return [row for rows in answer.values() for row in _rows(rows)]
    return list(answer)
