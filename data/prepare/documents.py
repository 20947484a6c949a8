"""Documents, and the local files that they are read from, in one fixed order."""

import json
import os
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadInput
from common.text import listed
from data.config import DataConfig

SUFFIXES = (".txt", ".txt.xz", ".jsonl", ".jsonl.xz")
HF_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".jsonl.gz", ".jsonl.zst")

REMEDY = "mend it, or data.skip_invalid=true leaves such documents out"
Position = tuple[int, int]  # a file of `input_files` and how many of its lines or rows are read


@dataclass(frozen=True)
class Document:
    """One text, the same as UTF-8, and the file (and line) it stands in.

    Reading can go on at `after`; `input_bytes` is how much of the files had been read by then.
    Where there is a `problem`, what stands there is no text that can be used, and `text` is empty.
    """

    text: str
    utf8: bytes
    where: str
    after: Position = (0, 0)
    input_bytes: int = 0
    problem: str | None = None

    def invalid(self, problem: str) -> "Document":
        """The same place without its text, and why."""
        return replace(self, text="", utf8=b"", problem=problem)

    @property
    def refusal(self) -> str:
        """Place and problem in one line."""
        return f"{self.where}: {self.problem:.300}"


def input_files(config: DataConfig) -> list[Path]:
    """The local files that a source reads, in reading order; BadInput where it has none."""
    if config.source == "python":
        return sorted(_walk(Path(sysconfig.get_path("stdlib")), (".py",)))
    assert config.path is not None
    suffixes = SUFFIXES if config.source == "files" else HF_SUFFIXES
    path = Path(config.path)
    if path.is_file() and path.name.endswith(suffixes):
        return [path]
    files = sorted(_walk(path, suffixes)) if path.is_dir() else []
    if not files:
        found = "no such file in it" if path.is_dir() else "no such file or folder"
        found = "another kind of file" if path.is_file() else found
        raise BadInput(f"data.path: {path}: found {found}, expected {', '.join(suffixes)}")
    return files


def text_document(
    raw: bytes, path: Path | str, line: int, after: Position, input_bytes: int
) -> Document:
    """The document of these bytes, of which the first stand in `line` of the file."""
    try:
        return Document(raw.decode(), raw, f"{path}:{line}", after, input_bytes)
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        line += before.count(b"\n")
        column = error.start - before.rfind(b"\n")
        problem = f"found byte {raw[error.start]:#04x} at column {column}, expected UTF-8"
        return Document("", b"", f"{path}:{line}", after, input_bytes, problem)


def json_document(row: Document, field: str, null_is_empty: bool = False) -> Document:
    """The document in `field` of a line of JSON, which `row` has as its text."""
    if row.problem is not None:
        return row
    try:
        found = json.loads(row.text)
    except json.JSONDecodeError as error:
        return row.invalid(f"not JSON: {error.msg} at character {error.pos + 1}")
    except (ValueError, RecursionError) as error:  # a number too long, brackets too deep
        return row.invalid(f"not JSON: {error}")
    value = found.get(field) if isinstance(found, dict) else None
    if value is None and null_is_empty and isinstance(found, dict) and field in found:
        value = ""
    if not isinstance(value, str):
        kind = f"{field} of type {type(value).__name__}"
        if value is None:
            is_row = isinstance(found, dict)
            kind = f"fields {listed(found)}" if is_row else f"a {type(found).__name__}"
        return row.invalid(f"found {kind}, expected an object whose field {field} is a string")
    return with_text(row, value)


def with_text(place: Document, text: str) -> Document:
    """A document of `text` at the place of another; JSON can spell what UTF-8 cannot."""
    try:
        return replace(place, text=text, utf8=text.encode())
    except UnicodeEncodeError as error:
        return place.invalid(f"found half a surrogate pair at character {error.start + 1}")


def _walk(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        # Installed packages differ between machines; the library of one version does not.
        subfolders[:] = [s for s in subfolders if s not in ("site-packages", "dist-packages")]
        yield from (Path(folder, name) for name in names if name.endswith(suffixes))
