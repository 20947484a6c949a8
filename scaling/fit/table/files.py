"""Where the bytes of a table are: a file, packed or not, or a pipe.

What is packed, or comes through a pipe, is held in memory; a plain file is opened again and again.
"""

import bz2
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO

import pyarrow as pa

from common.errors import BadInput
from scaling.fit.table.paths import PACKED_ENDINGS
from scaling.fit.table.schema import TABLE_KINDS

CHUNK = 1 << 20  # bytes
MOST_UNPACKED = 1 << 31  # bytes
_PIPES = re.compile(r"-|/dev/stdin|/dev/fd/\d+|/proc/self/fd/\d+")
_GZIP, _XZ, _BZIP2, _ZSTD, _ZIP = (
    b"\x1f\x8b",
    b"\xfd7zXZ",
    b"BZh",
    b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04",
)
_NAMES = {_GZIP: "gzip", _XZ: "xz", _BZIP2: "bzip2", _ZSTD: "zstd", _ZIP: "a zip or spreadsheet"}
_DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowException)


@dataclass(frozen=True)
class Content:
    """The bytes of a table.

    name    what messages call it
    ending  that of the table, as .csv; empty where nothing says what it is
    open    the bytes from their start
    """

    name: str
    ending: str
    open: Callable[[], IO[bytes]]


def content_of(path: Path) -> Content:
    """The bytes of a file, unpacked, or of a pipe. Raises BadInput."""
    if _PIPES.fullmatch(str(path)):
        return _piped("/dev/stdin" if str(path) == "-" else str(path))
    if not path.exists():
        raise BadInput(f"{path}: not found; expected a sweep directory or a table of runs")
    if not path.is_file():
        raise BadInput(f"{path}: not a regular file; expected a sweep directory or a table of runs")
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        packing = next((magic for magic in _NAMES if head.startswith(magic)), None)
        if packing is None:
            return Content(str(path), path.suffix or ".", lambda: path.open("rb"))
        return _unpacked(str(path), path.name, packing, file)


def _piped(path: str) -> Content:
    with open(path, "rb") as file:
        if file.isatty():
            raise BadInput(f"{path}: a terminal, expected a table; as runs=FILE, or cat FILE | ...")
        data = file.read(MOST_UNPACKED + 1)
    _check_size(path, data)
    packing = next((magic for magic in _NAMES if data.startswith(magic)), None)
    if packing is not None:
        return _unpacked(path, "", packing, io.BytesIO(data))
    return Content(path, "", lambda: io.BytesIO(data))


def _unpacked(path: str, name: str, packing: bytes, file: IO[bytes]) -> Content:
    """The one table in a packed file."""
    inner = name
    if Path(name).suffix.lower() in PACKED_ENDINGS:
        inner = Path(name).stem
    try:
        if packing == _ZIP:
            inner, data = _member(path, file)
        else:
            data = _reader(packing, file).read(MOST_UNPACKED + 1)
    except (*_DAMAGE, RuntimeError, NotImplementedError) as error:  # of a zip with a password
        cure = "export it as CSV" if packing == _ZIP else "pack it again, or unpack it first"
        found = " ".join(str(error).split())[:120]
        raise BadInput(
            f"{path}: looks like {_NAMES[packing]} that cannot be unpacked ({found}); {cure}"
        ) from None
    _check_size(path, data)
    return Content(path, Path(inner).suffix, lambda: io.BytesIO(data))


def _reader(packing: bytes, file: IO[bytes]) -> IO[bytes]:
    if packing == _GZIP:
        return gzip.GzipFile(fileobj=file)  # type: ignore[return-value]
    if packing == _XZ:
        return lzma.LZMAFile(file)
    if packing == _BZIP2:
        return bz2.BZ2File(file)
    return pa.CompressedInputStream(pa.PythonFile(file), "zstd")


def _member(path: str, file: IO[bytes]) -> tuple[str, bytes]:
    """Name and bytes of the one table in a zip."""
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        if "[Content_Types].xml" in names:
            raise BadInput(f"{path}: looks like a spreadsheet; export it as CSV")
        hidden = ("__MACOSX/", ".")
        tables = [
            name
            for name in names
            if Path(name).suffix.lower() in TABLE_KINDS and not name.startswith(hidden)
        ]
        if len(tables) != 1:
            found = f"{len(tables)} tables" if tables else "no table"
            raise BadInput(f"{path}: a zip with {found} in it, expected one; unpack it first")
        with archive.open(tables[0]) as member:
            return tables[0], member.read(MOST_UNPACKED + 1)


def _check_size(path: str, data: bytes) -> None:
    if len(data) > MOST_UNPACKED:
        raise BadInput(f"{path}: over {MOST_UNPACKED >> 30} GB unpacked; write it to a file first")


def open_text(content: Content) -> TextIO:
    """Its text in UTF-8; what is none reads as replacement characters."""
    # A file that another program writes to meanwhile may end within a character.
    return io.TextIOWrapper(content.open(), "utf-8-sig", errors="replace", newline="")


def has_quotes(content: Content) -> bool:
    """Whether a quotation mark is in a file. BadInput where it is no text, or white alone."""
    name, quotes, empty = content.name, False, True
    with content.open() as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            for part in iter(lambda: text.read(CHUNK), ""):
                if "\0" in part:
                    raise BadInput(f"{name}: binary (a zero byte); expected text in UTF-8")
                quotes, empty = quotes or '"' in part, empty and not part.strip()
        except UnicodeDecodeError as error:
            at = file.tell() - len(error.object) + error.start
            raise BadInput(f"{name}: not UTF-8 at byte {at}; save it as UTF-8") from None
    if empty:
        raise BadInput(f"{name}: empty; expected column names and one row a run")
    return quotes
