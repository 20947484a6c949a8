"""Where text comes from: streams of documents in one fixed order, never held in memory at once."""

import json
import lzma
import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO

from configs.errors import BadInput
from data.config import DataConfig

SUFFIXES = (".txt", ".txt.xz", ".jsonl", ".jsonl.xz")
PIECE_BYTES = 8192


@dataclass(frozen=True)
class Document:
    """One text, the same as UTF-8, and the file (and line) it stands in."""

    text: str
    utf8: bytes
    where: str


def input_files(config: DataConfig) -> list[Path]:
    """The files that a source reads, in reading order; BadInput where there are none."""
    if config.source == "python":
        return sorted(_walk(_standard_library(), (".py",)))
    assert config.path is not None
    path = Path(config.path)
    if path.is_file() and path.name.endswith(SUFFIXES):
        return [path]
    files = sorted(_walk(path, SUFFIXES)) if path.is_dir() else []
    if not files:
        found = "no such file in it" if path.is_dir() else "no such file or folder"
        found = "another kind of file" if path.is_file() else found
        raise BadInput(f"data.path: {path}: found {found}, expected {', '.join(SUFFIXES)}")
    return files


def read_documents(config: DataConfig, skipped: Counter[str]) -> Iterator[Document]:
    """Every document of a source in the order of `input_files`; empty ones are left out.

    Counts in `skipped` what was left out and why. Raises BadInput naming file and line.
    """
    files = input_files(config)
    if config.source == "python":
        documents = _read_python(files, skipped)
    elif len(files) == 1 and not _is_json_lines(files[0]):
        documents = _read_pieces(files[0])
    else:
        documents = _read_files(files)
    for document in documents:
        if document.utf8:
            yield document
        else:
            skipped["empty"] += 1


def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _walk(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        # Installed packages differ between machines; the library of one version does not.
        subfolders[:] = [s for s in subfolders if s not in ("site-packages", "dist-packages")]
        yield from (Path(folder, name) for name in names if name.endswith(suffixes))


def _read_python(files: list[Path], skipped: Counter[str]) -> Iterator[Document]:
    seen: set[bytes] = set()
    for path in files:
        utf8 = path.read_bytes()
        try:
            text = utf8.decode()
        except UnicodeDecodeError:  # the library tests its decoders on a few such files
            skipped["undecodable"] += 1
            continue
        digest = sha256(utf8).digest()
        if digest in seen:
            skipped["duplicate"] += 1
            continue
        seen.add(digest)
        yield Document(text, utf8, str(path))


def _read_files(files: list[Path]) -> Iterator[Document]:
    for path in files:
        if _is_json_lines(path):
            for number, line in _lines(path):
                if line.strip():
                    yield _parse(line, f"{path}:{number}")
        else:
            yield _join([line for _, line in _lines(path)], str(path))


def _read_pieces(path: Path) -> Iterator[Document]:
    """Cut a lone text file at line ends, for one document would leave nothing to hold out."""
    piece: list[str] = []
    size, first = 0, 1
    for number, line in _lines(path):
        piece.append(line)
        size += len(line)
        if size >= PIECE_BYTES:
            yield _join(piece, f"{path}:{first}")
            piece, size, first = [], 0, number + 1
    if piece:
        yield _join(piece, f"{path}:{first}")


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, line ends kept as they are."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}:{number}: found byte {error.object[error.start]:#04x} at column "
            f"{error.start + 1}, expected UTF-8"
        ) from error
    except (lzma.LZMAError, EOFError) as error:
        raise BadInput(f"{path}:{number + 1}: found a broken .xz stream: {error}") from error
    except OSError as error:
        raise BadInput(f"{path}:{number + 1}: cannot be read: {error.strerror}") from error


def _open(path: Path) -> IO[bytes]:
    return lzma.open(path) if path.suffix == ".xz" else path.open("rb")


def _parse(line: str, where: str) -> Document:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not JSON: {error}") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        found = f"fields {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
        found = f"text of type {type(text).__name__}" if text is not None else found
        raise BadInput(f"{where}: found {found}, expected an object whose field text is a string")
    return _join([text], where)


def _is_json_lines(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.xz"))


def _join(parts: list[str], where: str) -> Document:
    text = "".join(parts)
    try:
        return Document(text, text.encode(), where)
    except UnicodeEncodeError as error:  # JSON can spell what UTF-8 cannot
        raise BadInput(f"{where}: found half a surrogate pair at {error.start}") from error
