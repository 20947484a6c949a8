"""Where text comes from: streams of documents in one fixed order, never held in memory at once."""

import lzma
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import IO

from common.errors import BadInput
from common.files import MOST_BYTES, read_bytes, require_file
from data.config import DataConfig
from data.prepare import hugging_face
from data.prepare.documents import (
    REMEDY,
    Document,
    Position,
    input_files,
    json_document,
    text_document,
)
from data.tokenizer import NUL_PROBLEM

PIECE_BYTES = 8192


def read_documents(
    config: DataConfig, skipped: Counter[str], start: Position = (0, 0)
) -> Iterator[Document]:
    """Every document from `start` on in the order of the source's files, empty ones included.

    Counts in `skipped` what else was left out and why. BadInput names file and line of what cannot
    be read, and of a document that is no text, unless those are skipped: then it has a `problem`.
    """
    for document in _read(config, skipped, start):
        if config.tokenizer == "bytes" and "\0" in document.text:
            at = document.text.index("\0") + 1
            document = document.invalid(f"found {NUL_PROBLEM}, as character {at} of its text")
        if document.problem is not None and not config.skip_invalid:
            raise BadInput(f"{document.refusal}; {REMEDY}")
        yield document


def _read(config: DataConfig, skipped: Counter[str], start: Position) -> Iterator[Document]:
    if config.source == "hf":
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
        return sum(size for _, size in hugging_face.list_files(config))
    return sum(map(require_file, input_files(config)))


def _read_python(files: list[Path], skipped: Counter[str]) -> Iterator[Document]:
    seen: set[bytes] = set()
    read = 0
    for index, path in enumerate(files):
        utf8 = read_bytes(path)
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
    before = sum(map(require_file, files[: start[0]]))
    for index, path in enumerate(files[start[0] :], start=start[0]):
        size = require_file(path)
        if _is_json_lines(path):
            done = start[1] if index == start[0] else 0
            for number, line, offset in _lines(path):
                if number > done:
                    row = text_document(line, path, number, (index, number), before + offset)
                    if row.problem or row.text.strip():
                        yield json_document(row, "text")
        else:
            raw = b"".join(line for _, line, _ in _lines(path))
            whole = text_document(raw, path, 1, (index + 1, 0), before + size)
            yield whole if whole.problem else replace(whole, where=str(path))
        before += size


def _read_pieces(path: Path, done: int) -> Iterator[Document]:
    """Cut a lone text file at line ends, for one document would leave nothing to hold out."""
    piece: list[bytes] = []
    size = 0
    number = offset = 0
    for number, line, offset in _lines(path):
        if number <= done:
            continue
        piece.append(line)
        size += len(line.decode(errors="ignore"))
        if size >= PIECE_BYTES:
            yield text_document(b"".join(piece), path, number - len(piece) + 1, (0, number), offset)
            piece, size = [], 0
    if piece:
        yield text_document(b"".join(piece), path, number - len(piece) + 1, (0, number), offset)


def _lines(path: Path) -> Iterator[tuple[int, bytes, int]]:
    """Lines with their numbers from 1 and the bytes of the file read; line ends are kept."""
    number = 0
    require_file(path)
    try:
        with path.open("rb") as raw, _unpacked(raw, path) as file:
            lines = iter(lambda: file.readline(MOST_BYTES), b"")
            for number, line in enumerate(lines, start=1):
                if len(line) == MOST_BYTES:
                    raise BadInput(f"{path}:{number}: a line of {MOST_BYTES:,} bytes or more")
                yield number, line, raw.tell()
    except (lzma.LZMAError, EOFError) as error:
        raise BadInput(f"{path}:{number + 1}: found a broken .xz stream: {error}") from error
    except OSError as error:
        raise BadInput(f"{path}:{number + 1}: cannot be read: {error.strerror}") from error


def _unpacked(raw: IO[bytes], path: Path) -> IO[bytes]:
    return lzma.open(raw) if path.suffix == ".xz" else raw


def _is_json_lines(path: Path) -> bool:
    return path.name.endswith((".jsonl", ".jsonl.xz"))
