"""Token files and the manifest beside them, opened and checked.

The format is llm.c's: 256 int32 (magic 20240520, version 1, number of tokens, zeros), then that
many uint16 ids. nanoGPT's train.bin and val.bin, ids without a header, are read too, and so are
build-nanogpt's .npy files: their header alone is parsed, and nothing is ever unpickled.

Files are read with pread, not mapped: a file that is cut short while it is mapped kills the
process by a signal, while a short read can be reported.
"""

import io
import os
import warnings
import weakref
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from common.errors import BadInput
from common.file_kinds import looks_like
from common.files import require_file
from data.manifest import Manifest, SplitName

MAGIC, VERSION, HEADER_BYTES, TOKEN_BYTES = 20240520, 1, 1024, 2

Ids = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Shard:
    """One open token file of `n_tokens` ids, the first at byte `offset`."""

    path: Path
    n_tokens: int
    offset: int
    descriptor: int
    identity: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Size of the file."""
        return self.offset + TOKEN_BYTES * self.n_tokens

    def read(self, start: int, count: int) -> Ids:
        """Ids [start, start + count); BadInput names the file when they cannot be read."""
        data = self.read_bytes(self.offset + start * TOKEN_BYTES, count * TOKEN_BYTES)
        return np.frombuffer(data, dtype="<u2")

    def read_bytes(self, position: int, size: int) -> bytes:
        """`size` bytes of the file from `position` on; BadInput as `read`."""
        token = max(0, position - self.offset) // TOKEN_BYTES
        try:
            data = os.pread(self.descriptor, size, position)
        except OSError as error:
            raise BadInput(f"{self.path}: cannot be read at token {token}: {error}") from error
        if len(data) != size:
            raise BadInput(
                f"{self.path}: found {len(data)} bytes at token {token}, expected {size}; "
                "the file was cut short after it was opened"
            )
        return data

    def check_unchanged(self) -> None:
        """Refuse to go on with a file that was replaced, rewritten or removed since opening."""
        try:
            unchanged = _identity(os.stat(self.path)) == self.identity
        except OSError as error:
            raise BadInput(f"{self.path}: gone since it was opened: {error.strerror}") from error
        if not unchanged:
            raise BadInput(f"{self.path}: changed since it was opened; restore it and start again")


@dataclass(frozen=True)
class Split:
    """The open shards of `train` or `val`, in the order of the manifest."""

    name: SplitName
    shards: tuple[Shard, ...]

    @property
    def n_tokens(self) -> int:
        """Tokens of all shards."""
        return sum(shard.n_tokens for shard in self.shards)


def open_split(folder: Path, manifest: Manifest, name: SplitName) -> Split:
    """Open every shard of a split and check format and size against header and manifest.

    Raises BadInput naming the file, what was found and what was expected.
    """
    shards = []
    for entry in manifest.split(name).shards:
        shard = open_shard(folder / entry.name)
        if shard.n_tokens != entry.tokens:
            raise BadInput(
                f"{shard.path}: found {shard.n_tokens} tokens, expected {entry.tokens} as the "
                "manifest says"
            )
        shards.append(shard)
    return Split(name, tuple(shards))


def open_shard(path: Path) -> Shard:
    """Open one token file: with llm.c's header, .npy, or as nanoGPT's train.bin or val.bin.

    Raises BadInput for any other content, saying what it looks like.
    """
    require_file(path)
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise BadInput(f"{path}: cannot be opened: {error.strerror}") from error
    try:
        status = os.fstat(descriptor)
        head = os.pread(descriptor, HEADER_BYTES, 0)
        n_tokens, offset = _check_format(path, head, status.st_size)
        shard = Shard(path, n_tokens, offset, descriptor, _identity(status))
    except OSError as error:
        os.close(descriptor)
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    except BadInput:
        os.close(descriptor)
        raise
    weakref.finalize(shard, os.close, descriptor)
    return shard


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _check_format(path: Path, head: bytes, size: int) -> tuple[int, int]:
    """Number of tokens and byte offset of the first, from the first bytes and the size."""
    if int.from_bytes(head[:4], "little") == MAGIC and len(head) == HEADER_BYTES:
        version, n_tokens = (int(value) for value in np.frombuffer(head, "<i4")[1:3])
        if version != VERSION:
            raise BadInput(f"{path}: found header version {version}, expected {VERSION}")
        offset = HEADER_BYTES
        if size != offset + TOKEN_BYTES * n_tokens:
            raise BadInput(
                f"{path}: found {size} bytes, expected {offset + TOKEN_BYTES * n_tokens} for the "
                f"{n_tokens} tokens that its header counts"
            )
    elif head.startswith(np.lib.format.MAGIC_PREFIX):
        n_tokens, offset = _npy_layout(path, head, size)
    else:
        look = _looks_like(head)
        if look is None and not path.name.endswith(("train.bin", "val.bin")):
            look = f"a file that starts with {head[:4].hex(' ')}"
        if look:
            raise BadInput(
                f"{path}: found {look}, expected llm.c's header (magic {MAGIC}), a .npy file of "
                "uint16, or nanoGPT's train.bin or val.bin"
            )
        if size % TOKEN_BYTES:
            raise BadInput(f"{path}: found {size} bytes, expected an even number (uint16 ids)")
        n_tokens, offset = size // TOKEN_BYTES, 0
    if n_tokens < 2:
        raise BadInput(f"{path}: found {n_tokens} tokens, expected at least 2")
    return n_tokens, offset


def _npy_layout(path: Path, head: bytes, size: int) -> tuple[int, int]:
    """The same of a .npy file of uint16, by its header, which numpy reads as a literal."""
    stream = io.BytesIO(head)
    form = np.lib.format
    readers = {(1, 0): form.read_array_header_1_0, (2, 0): form.read_array_header_2_0}
    try:
        with warnings.catch_warnings(action="ignore"):
            version = form.read_magic(stream)
            shape, _, dtype = readers[version](stream)
    except Exception as error:  # of a parser that is given anything
        raise BadInput(
            f"{path}: found a broken .npy header ({type(error).__name__}), expected an array of "
            "uint16"
        ) from error
    if dtype != np.dtype("<u2") or len(shape) != 1:
        raise BadInput(
            f"{path}: found a .npy array of {str(dtype):.60} in {len(shape)} dimensions, expected "
            "uint16 in one; save it by numpy.save(path, ids.astype(numpy.uint16))"
        )
    n_tokens, offset = int(shape[0]), stream.tell()
    if size != offset + TOKEN_BYTES * n_tokens:
        raise BadInput(
            f"{path}: found {size} bytes, expected {offset + TOKEN_BYTES * n_tokens} for the "
            f"{n_tokens} tokens that its .npy header counts"
        )
    return n_tokens, offset


_MAGICS = {
    20240801: "llama-3 tokens of 32 bits",
    20240522: "an llm.c evaluation file",
    20240326: "an llm.c model",
    20240327: "an llm.c debug state",
    20240328: "an llm.c tokenizer",
}


def _looks_like(head: bytes) -> str | None:
    """What a file that is no shard seems to be; None for bytes that could be bare ids."""
    if not head:
        return "an empty file (0 tokens)"
    if known := looks_like(head):
        return known
    magic = int.from_bytes(head[:4], "little")
    if magic in _MAGICS:
        return f"{_MAGICS[magic]} (magic {magic})"
    if magic == MAGIC:
        return f"{len(head)} bytes of a header cut short"
    if len(head) == HEADER_BYTES and not any(head[12:]):
        return f"a header with magic {magic}"
    if not any(head[2::4]) and not any(head[3::4]) and len(head) >= 8:
        return "ids of 32 bits"
    if all(byte >= 32 or byte in b"\t\n\f\r" for byte in head) and _is_text(head):
        return "text"
    return None


def _is_text(head: bytes) -> bool:
    try:
        head.decode()
    except UnicodeDecodeError as error:  # a character may be cut by the end of `head`
        return error.start > len(head) - 4
    return True
