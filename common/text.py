"""Texts of messages: what a terminal may print, names in a list, plurals."""

from collections.abc import Iterable

_MOST_LISTED, _LONGEST = 40, 60
_LINE = 2000


def shown(text: object) -> str:
    """Text from a user as a terminal may print it: control characters escaped."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def one_line(text: object) -> str:
    """A message in a line; of one that quotes a value of a hundred kB both ends."""
    line = shown(" ".join(str(text).split()))
    return line if len(line) <= _LINE else f"{line[: _LINE - 505]} ... {line[-500:]}"


def listed(names: Iterable[object]) -> str:
    """Names for a message, the first of them where there are many."""
    texts = [f"{shown(name):.{_LONGEST}}" for name in names]
    more = len(texts) - _MOST_LISTED
    text = ", ".join(texts[:_MOST_LISTED]) or "none"
    return f"{text} and {more} more" if more > 0 else text


def plural(n: int, singular: str, many: str | None = None) -> str:
    """`1 run`, `2 runs`."""
    return f"{n:,} {singular if n == 1 else many or singular + 's'}"


def either(wanted: object) -> str:
    """A value of `where`, or its list of them, in words: `tuned or plain`."""
    return " or ".join(map(str, wanted)) if isinstance(wanted, list) else str(wanted)
