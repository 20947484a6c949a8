"""What can happen to a file: bytes of it, a value of its JSON, or what stands in its place.

Hypothesis draws a `Damage`, which says what it did in a few words and does it to a path.
"""

import gzip
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

# As they would stand in the file: many of them no Python value can be.
RAW_VALUES = (
    *("null", "true", "false", "[]", "{}", "[[]]", '{"": null}', '""', '"x"', '"3"', '"../x"'),
    *("0", "-1", "-0.0", "0.5", "1e-320", "1e29", "1e308", "1e999", "-1e999", "NaN", "-Infinity"),
    *("9007199254740993", "9" * 30, "9" * 400, "9" * 5000, '"' + "x" * 100_000 + '"'),
    *('"\\u001b[2J\\n\\r\\u0000"', '"\\ud800"', '"<script>"', '"=1+1"', "[" * 100_000, "--5"),
    *("[" * 50 + "]" * 50, '{"a":' * 1500 + "1" + "}" * 1500, '"\u202e\u2028"', "1_000", "0x10"),
)
INSERTED = (
    b"\0",
    b"\xff",
    b"\n",
    b'"',
    b"{",
    b"\x1b[2J",
    b"\xed\xa0\x80",
    b"," * 1000,
    b"[" * 5000,
)
REPLACED: tuple[tuple[str, Callable[[bytes], bytes]], ...] = (
    ("nothing in it", lambda content: b""),
    ("gzip", gzip.compress),
    ("a byte-order mark", lambda content: b"\xef\xbb\xbf" + content),
    ("UTF-16", lambda content: content.decode(errors="replace").encode("utf-16")),
    ("zeros", lambda content: bytes(len(content))),
    ("twice", lambda content: content * 2),
    ("null", lambda content: b"null"),
    ("a list", lambda content: b"[]"),
    ("an empty mapping", lambda content: b"{}"),
    ("text", lambda content: b'"text"'),
    ("HTML", lambda content: b"<!doctype html><html></html>"),
    ("deep", lambda content: b"[" * 200_000),
    ("a comma list", lambda content: b"a,b\n1,2\n"),
    ("backwards", lambda content: content[::-1]),
    ("Windows lines", lambda content: content.replace(b"\n", b"\r\n")),
)
_MARK = "@@raw@@"


@dataclass(frozen=True)
class Damage:
    """What is done to a file: other bytes in it, or, where `content` is None, another thing."""

    what: str
    content: bytes | None = None

    def do(self, path: Path) -> None:
        """Put it in the place of `path`, which exists."""
        if self.content is not None:
            path.write_bytes(self.content)
            return
        path.unlink()
        match self.what:
            case "a folder":
                path.mkdir()
            case "a link to itself":
                path.symlink_to(path.name)
            case "a link to nowhere":
                path.symlink_to("/nowhere/at/all")
            case "a link to /dev/zero":
                path.symlink_to("/dev/zero")
            case "a pipe that nobody writes to":
                os.mkfifo(path)
            case "2 GB of nothing":
                with path.open("wb") as file:
                    file.truncate(2 << 30)
            case _:
                assert self.what == "no file"


PLACES = ("no file", "a folder", "a link to itself", "a link to nowhere", "a link to /dev/zero")
PLACES += ("a pipe that nobody writes to", "2 GB of nothing")


def restore(path: Path, content: bytes) -> None:
    """Undo whatever stands at `path`."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif not path.is_file() or path.is_symlink():
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def damages(content: bytes, form: str) -> st.SearchStrategy[Damage]:
    """Anything that can happen to a file of this content; `form` is json, lines or bytes."""
    of_bytes = st.one_of(_flips(content), _cuts(content), _inserts(content), _zeroed(content))
    whole = st.sampled_from([Damage(name, change(content)) for name, change in REPLACED])
    kinds = [of_bytes, of_bytes, of_bytes, whole, st.sampled_from(PLACES).map(Damage)]
    if form == "json":
        kinds += [_fields(content)] * 4
    if form == "lines":
        kinds += [_lines(content), _fields_of_a_line(content), _fields_of_a_line(content)]
    if form == "table":
        kinds += [_lines(content), _cells(content), _cells(content)]
    index = st.integers(0, len(kinds) - 1)  # one_of would flatten, and weigh by the parts
    return index.flatmap(kinds.__getitem__)


def _flips(content: bytes) -> st.SearchStrategy[Damage]:
    def flip(at: int, bit: int) -> Damage:
        flipped = bytes([content[at] ^ 1 << bit])
        return Damage(f"bit {bit} of byte {at}", content[:at] + flipped + content[at + 1 :])

    return st.builds(flip, st.integers(0, len(content) - 1), st.integers(0, 7))


def _cuts(content: bytes) -> st.SearchStrategy[Damage]:
    def cut(start: int, length: int) -> Damage:
        return Damage(
            f"{length} bytes gone at {start}", content[:start] + content[start + length :]
        )

    some = st.integers(1, 40) | st.just(len(content))
    return st.builds(cut, st.integers(0, len(content) - 1), some)


def _inserts(content: bytes) -> st.SearchStrategy[Damage]:
    def insert(at: int, more: bytes) -> Damage:
        return Damage(f"{more[:20]!r} put in at {at}", content[:at] + more + content[at:])

    return st.builds(insert, st.integers(0, len(content)), st.sampled_from(INSERTED) | st.binary())


def _zeroed(content: bytes) -> st.SearchStrategy[Damage]:
    def zero(start: int, length: int) -> Damage:
        zeroed = content[:start] + bytes(min(length, len(content) - start))
        return Damage(f"{length} zeros at {start}", zeroed + content[len(zeroed) :])

    return st.builds(zero, st.integers(0, len(content) - 1), st.integers(1, 64))


def _lines(content: bytes) -> st.SearchStrategy[Damage]:
    """Two lines change places, or one stands twice, or not at all."""
    lines = content.splitlines(keepends=True)
    which = st.integers(0, len(lines) - 1)

    def change(how: str, one: int, other: int) -> Damage:
        found = list(lines)
        if how == "swapped":
            found[one], found[other] = found[other], found[one]
        else:
            found[one : one + 1] = [found[one]] * (2 if how == "doubled" else 0)
        return Damage(f"line {one} {how} ({other})", b"".join(found))

    return st.builds(change, st.sampled_from(("swapped", "doubled", "removed")), which, which)


def _cells(content: bytes) -> st.SearchStrategy[Damage]:
    """Another value in a cell of a CSV."""
    rows = [line.split(",") for line in content.decode().splitlines()]
    values = st.sampled_from([raw.strip('"') for raw in RAW_VALUES])

    def change(row: int, column: int, value: str) -> Damage:
        found = [list(cells) for cells in rows]
        column %= len(found[row])
        found[row][column] = value
        text = "\n".join(map(",".join, found)) + "\n"
        return Damage(f"{value[:30]!r} in row {row}, column {column}", text.encode())

    return st.builds(change, st.integers(0, len(rows) - 1), st.integers(0, 20), values)


def _fields_of_a_line(content: bytes) -> st.SearchStrategy[Damage]:
    lines = content.splitlines(keepends=True)

    def within(at: int) -> st.SearchStrategy[Damage]:
        def put(damage: Damage) -> Damage:
            line = (damage.content or b"").replace(b"\n", b" ") + b"\n"
            return Damage(
                f"line {at}: {damage.what}", b"".join([*lines[:at], line, *lines[at + 1 :]])
            )

        return _fields(lines[at]).map(put)

    return st.integers(0, len(lines) - 1).flatmap(within)


def _fields(content: bytes) -> st.SearchStrategy[Damage]:
    """One value of a JSON text is another, is gone, stands twice, or has another name."""
    text = content.decode()
    places = list(_places(json.loads(text)))
    values = st.sampled_from(RAW_VALUES) | st.integers().map(str) | st.floats().map(json.dumps)

    def change(how: str, place: tuple[Any, ...], other: tuple[Any, ...], raw: str) -> Damage:
        tree = json.loads(text)
        owner = _at(tree, place[:-1])
        name = ".".join(map(str, place))
        is_pair = isinstance(owner, dict)
        if how == "swapped":
            raw = json.dumps(_at(tree, other))
        if how == "gone":
            del owner[place[-1]]
        elif how == "renamed" and is_pair:
            owner[f"{place[-1]}_"] = owner.pop(place[-1])
        elif how == "twice" and is_pair:
            owner[_MARK] = 0
            pair = f"{json.dumps(place[-1])}: {raw}"
            return Damage(f"{name} twice: {raw[:30]}", _written(tree, f'"{_MARK}": 0', pair))
        else:
            owner[place[-1]] = _MARK
            return Damage(f"{name} is {raw[:30]}", _written(tree, f'"{_MARK}"', raw))
        return Damage(f"{name} {how}", _written(tree))

    hows = st.sampled_from(("raw", "raw", "raw", "swapped", "gone", "renamed", "twice"))
    return st.builds(change, hows, st.sampled_from(places), st.sampled_from(places), values)


def _written(tree: Any, mark: str = _MARK, raw: str = "") -> bytes:
    text = json.dumps(tree, indent=2, ensure_ascii=False) + "\n"
    return text.replace(mark, raw).encode("utf-8", "surrogatepass")


def _places(tree: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if place:
        yield place
    if isinstance(tree, dict | list):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from _places(value, (*place, key))


def _at(tree: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        tree = tree[key]
    return tree
