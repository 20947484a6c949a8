"""Token files and the manifest beside them, opened and checked (data/writer.py writes them).

The format is llm.c's: 256 int32 (magic 20240520, version 1, number of tokens, zeros), then that
many uint16 ids. nanoGPT's train.bin and val.bin, ids without a header, are read too.

Files are read with pread, not mapped: a file that is cut short while it is mapped kills the
process by a signal, while a short read can be reported.
"""

import os
import weakref
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs.errors import BadInput
from data.manifest import Manifest, SplitName

MAGIC, VERSION, HEADER_BYTES, TOKEN_BYTES = 20240520, 1, 1024, 2
CHUNK_TOKENS = 8_388_608

Ids = npt.NDArray[np.uint16]


@dataclass(frozen=True)
class Shard:
    """One open token file of `n_tokens` ids, the first at byte `offset`."""

    path: Path
    n_tokens: int
    offset: int
    descriptor: int
    identity: tuple[int, ...]

    def read(self, start: int, count: int) -> Ids:
        """Ids [start, start + count); BadInput names the file when they cannot be had."""
        size = count * TOKEN_BYTES
        try:
            data = os.pread(self.descriptor, size, self.offset + start * TOKEN_BYTES)
        except OSError as error:
            raise BadInput(f"{self.path}: cannot be read at token {start}: {error}") from error
        if len(data) != size:
            raise BadInput(
                f"{self.path}: found {len(data)} bytes at token {start}, expected {size}; "
                "the file was cut short after it was opened"
            )
        return np.frombuffer(data, dtype="<u2")

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
    """Open one token file, with llm.c's header or as nanoGPT's train.bin or val.bin.

    Raises BadInput for any other content, saying what it looks like.
    """
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


def verify(split: Split, vocab_size: int) -> None:
    """Read every id once and refuse the first that is `vocab_size` or more.

    A padded embedding table would hide it, and on a GPU it would end the process.
    """
    for shard in split.shards:
        for start in range(0, shard.n_tokens, CHUNK_TOKENS):
            ids = shard.read(start, min(CHUNK_TOKENS, shard.n_tokens - start))
            if ids.max() >= vocab_size:
                first = int(np.argmax(ids >= vocab_size))
                raise BadInput(
                    f"{shard.path}: found id {ids[first]} at token {start + first}, expected less "
                    f"than the vocabulary size {vocab_size}"
                )


def verify_digests(folder: Path, manifest: Manifest) -> None:
    """Read every file once and refuse the first whose content is not the manifest's."""
    for entry in (*manifest.train.shards, *manifest.val.shards):
        found = file_digest(folder / entry.name)
        if found != entry.sha256:
            raise BadInput(
                f"{folder / entry.name}: found sha256 {found[:16]}..., expected "
                f"{entry.sha256[:16]}... as the manifest says; prepare or copy it again"
            )


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hex; BadInput if it cannot be read."""
    digest = sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


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
    else:
        look = _looks_like(head)
        if look is None and not path.name.endswith(("train.bin", "val.bin")):
            look = f"a file that starts with {head[:4].hex(' ')}"
        if look:
            raise BadInput(
                f"{path}: found {look}, expected llm.c's header (magic {MAGIC}) or nanoGPT's "
                "train.bin or val.bin"
            )
        if size % TOKEN_BYTES:
            raise BadInput(f"{path}: found {size} bytes, expected an even number (uint16 ids)")
        n_tokens, offset = size // TOKEN_BYTES, 0
    if n_tokens < 2:
        raise BadInput(f"{path}: found {n_tokens} tokens, expected at least 2")
    return n_tokens, offset


_SIGNATURES = (
    (b"\x1f\x8b", "a gzip file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"PK\x03\x04", "a zip archive (torch.save and .npz write them)"),
    (b"\x93NUMPY", "a .npy file"),
    (b"PAR1", "a Parquet file"),
    (b"MMIDIDX", "a Megatron index"),
    (b"version https://git-lfs", "a Git LFS pointer; run git lfs pull"),
)
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
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head.lstrip()[:9].lower().startswith((b"<!doctype", b"<html")):
        return "an HTML page"
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
