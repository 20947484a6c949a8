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
HF_SUFFIXES = (".parquet", ".arrow", ".jsonl", ".jsonl.gz", ".jsonl.zst")
PIECE_BYTES = 8192


Position = tuple[int, int]  # a file of `input_files` and how many of its lines or rows are read


@dataclass(frozen=True)
class Document:
    """One text, the same as UTF-8, and the file (and line) it stands in.

    Reading can go on at `after`; `input_bytes` is how much of the files had been read by then.
    """

    text: str
    utf8: bytes
    where: str
    after: Position = (0, 0)
    input_bytes: int = 0


def input_files(config: DataConfig) -> list[Path]:
    """The local files that a source reads, in reading order; BadInput where there are none."""
    if config.source == "python":
        return sorted(_walk(_standard_library(), (".py",)))
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


def read_documents(
    config: DataConfig, skipped: Counter[str], start: Position = (0, 0)
) -> Iterator[Document]:
    """Every document from `start` on in the order of the source's files, empty ones included.

    Counts in `skipped` what else was left out and why. Raises BadInput naming file and line.
    """
    if config.source == "hf":
        from data import hugging_face

        return hugging_face.read_documents(config, start)
    files = input_files(config)
    if config.source == "python":
        assert start == (0, 0)  # what is a duplicate is known from the beginning alone
        return _read_python(files, skipped)
    if len(files) == 1 and not _is_json_lines(files[0]):
        return _read_pieces(files[0], start[1])
    return _read_files(files, start)


def input_size(config: DataConfig) -> int:
    """Bytes of the files that a source reads; `Document.input_bytes` grows towards it."""
    if config.source == "hf":
        from data import hugging_face

        return sum(size for _, size in hugging_face.list_files(config))
    return sum(file.stat().st_size for file in input_files(config))


def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def _walk(root: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        # Installed packages differ between machines; the library of one version does not.
        subfolders[:] = [s for s in subfolders if s not in ("site-packages", "dist-packages")]
        yield from (Path(folder, name) for name in names if name.endswith(suffixes))


def _read_python(files: list[Path], skipped: Counter[str]) -> Iterator[Document]:
    seen: set[bytes] = set()
    read = 0
    for index, path in enumerate(files):
        utf8 = path.read_bytes()
        read += len(utf8)
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
        yield Document(text, utf8, str(path), (index + 1, 0), read)


def _read_files(files: list[Path], start: Position) -> Iterator[Document]:
    before = sum(path.stat().st_size for path in files[: start[0]])
    for index, path in enumerate(files[start[0] :], start=start[0]):
        size = path.stat().st_size
        if _is_json_lines(path):
            done = start[1] if index == start[0] else 0
            for number, line, offset in _lines(path):
                if line.strip() and number > done:
                    where = f"{path}:{number}"
                    yield _document(_parse(line, where), where, (index, number), before + offset)
        else:
            text = "".join(line for _, line, _ in _lines(path))
            yield _document(text, str(path), (index + 1, 0), before + size)
        before += size


def _read_pieces(path: Path, done: int) -> Iterator[Document]:
    """Cut a lone text file at line ends, for one document would leave nothing to hold out."""
    piece: list[str] = []
    size = 0
    number = offset = 0
    for number, line, offset in _lines(path):
        if number <= done:
            continue
        piece.append(line)
        size += len(line)
        if size >= PIECE_BYTES:
            where = f"{path}:{number - len(piece) + 1}"
            yield _document("".join(piece), where, (0, number), offset)
            piece, size = [], 0
    if piece:
        where = f"{path}:{number - len(piece) + 1}"
        yield _document("".join(piece), where, (0, number), offset)


def _lines(path: Path) -> Iterator[tuple[int, str, int]]:
    """Lines with their numbers from 1 and the bytes of the file read; line ends are kept."""
    number = 0
    try:
        with path.open("rb") as raw, _unpacked(raw, path) as file:
            for number, line in enumerate(file, start=1):
                yield number, line.decode(), raw.tell()
    except UnicodeDecodeError as error:
        raise BadInput(
            f"{path}:{number}: found byte {error.object[error.start]:#04x} at column "
            f"{error.start + 1}, expected UTF-8"
        ) from error
    except (lzma.LZMAError, EOFError) as error:
        raise BadInput(f"{path}:{number + 1}: found a broken .xz stream: {error}") from error
    except OSError as error:
        raise BadInput(f"{path}:{number + 1}: cannot be read: {error.strerror}") from error


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    return lzma.open(raw) if path.suffix == ".xz" else raw


def _parse(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{where}: not JSON: {error}") from error
    text = row.get("text") if isinstance(row, dict) else None
    if not isinstance(text, str):
        found = f"fields {', '.join(row)}" if isinstance(row, dict) else type(row).__name__
        found = f"text of type {type(text).__name__}" if text is not None else found
        raise BadInput(f"{where}: found {found}, expected an object whose field text is a string")
    return text


def _is_json_lines(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.xz"))


def _document(text: str, where: str, after: Position, input_bytes: int) -> Document:
    try:
        return Document(text, text.encode(), where, after, input_bytes)
    except UnicodeEncodeError as error:  # JSON can spell what UTF-8 cannot
        raise BadInput(f"{where}: found half a surrogate pair at {error.start}") from error
