"""Whether shards still hold what their manifest says, without reading all of them at each start.

A file is read whole once: its SHA-256 is compared with the manifest's, and no id may be outside the
vocabulary. verified.json beside the shards notes that, with size, times and inode of the file and a
CRC-32 of each block of it. A later start reads whole what has changed by any of these (a write sets
ctime, whatever becomes of mtime), and of the rest SAMPLE_BLOCKS blocks drawn anew, for a disk that
returns other bytes than were written. verified.json is a cache: without it files are read whole.
"""

import hashlib
import os
import random
import shutil
import zlib
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from common.errors import BadInput
from common.files import file_digest, read_json, to_json, write_atomic
from configs.schema import build
from data.manifest import Manifest, ShardEntry
from data.shards import TOKEN_BYTES, Shard, open_split
from data.tokenizer import TOKENIZER_FILE

VERIFIED = "verified.json"
BLOCK_BYTES = 4 * 1024 * 1024
SAMPLE_BLOCKS = 16
_DIGITS = 8  # of a block's CRC-32


@dataclass(frozen=True)
class _Verified:
    """A file that was right: by which manifest, in which state, and its blocks' CRC-32 in hex."""

    sha256: str
    vocab_size: int
    state: tuple[int, ...]
    blocks: str

    def crc(self, block: int) -> str:
        """What was noted of a block."""
        return self.blocks[_DIGITS * block : _DIGITS * (block + 1)]


def check_shards(folder: Path, manifest: Manifest, full: bool = False) -> None:
    """BadInput for the first file that is not the manifest's; `full` reads all of every file."""
    splits = open_split(folder, manifest, "train"), open_split(folder, manifest, "val")
    entries = {entry.name: entry for entry in (*manifest.train.shards, *manifest.val.shards)}
    known = {} if full else _read_verified(folder)
    now: dict[str, _Verified] = {}
    unchanged: list[Shard] = []
    for shard in (shard for split in splits for shard in split.shards):
        name = shard.path.name
        found, before = _found(shard, entries[name], manifest.vocab_size), known.get(name)
        if before and _is_complete(before, shard) and replace(before, blocks="") == found:
            unchanged.append(shard)
            now[name] = before
        else:
            blocks = check_whole(shard, manifest.vocab_size, found.sha256)
            now[name] = replace(found, blocks=blocks)
    for shard, block in _sample(unchanged):
        noted = now[shard.path.name]
        if _crc(_read(shard, block)) != noted.crc(block):  # the file, or what was noted of it
            blocks = check_whole(shard, manifest.vocab_size, noted.sha256)
            now[shard.path.name] = replace(noted, blocks=blocks)
    if manifest.tokenizer_sha256:
        require_digest(folder / TOKENIZER_FILE, manifest.tokenizer_sha256)
    if now != known:
        _write_verified(folder, now)


def check_whole(shard: Shard, vocab_size: int, sha256: str) -> str:
    """Read a whole shard; the CRC-32 of its blocks in hex, one after the other.

    BadInput for an id of `vocab_size` or more, which a padded embedding would hide and which ends
    the process on a GPU, and for another content than that of this digest.
    """
    digest, blocks = hashlib.sha256(), []
    for block in range(_n_blocks(shard)):
        data = _read(shard, block)
        begin = shard.offset if block == 0 else 0
        ids = np.frombuffer(data, "<u2", offset=begin)
        if len(ids) and ids.max() >= vocab_size:
            first = int(np.argmax(ids >= vocab_size))
            token = (block * BLOCK_BYTES + begin - shard.offset) // TOKEN_BYTES + first
            raise BadInput(
                f"{shard.path}: found id {ids[first]} at token {token}, expected less than the "
                f"vocabulary size {vocab_size}"
            )
        digest.update(data)
        blocks.append(_crc(data))
    _require(shard.path, digest.hexdigest(), sha256)
    return "".join(blocks)


def require_digest(path: Path, sha256: str) -> None:
    """BadInput if a file of a data set has another SHA-256 than its manifest says."""
    _require(path, file_digest(path), sha256)


def _require(path: Path, found: str, expected: str) -> None:
    if found != expected:
        raise BadInput(
            f"{path}: found sha256 {found[:16]}..., expected {expected[:16]}... as the manifest "
            f"says; copy it again, or remove {path.parent} to prepare it again"
        )


def _found(shard: Shard, entry: ShardEntry, vocab_size: int) -> _Verified:
    """What is to hold of a shard in its present state, before any of it is read."""
    status = os.fstat(shard.descriptor)
    state = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return _Verified(entry.sha256, vocab_size, state, "")


def _is_complete(verified: _Verified, shard: Shard) -> bool:
    return len(verified.blocks) == _DIGITS * _n_blocks(shard)


def _crc(data: bytes) -> str:
    return f"{zlib.crc32(data):0{_DIGITS}x}"


def _n_blocks(shard: Shard) -> int:
    return -(-shard.n_bytes // BLOCK_BYTES)


def _read(shard: Shard, block: int) -> bytes:
    start = block * BLOCK_BYTES
    return shard.read_bytes(start, min(BLOCK_BYTES, shard.n_bytes - start))


def _sample(shards: list[Shard]) -> list[tuple[Shard, int]]:
    """Blocks to look at, all of them where there are few."""
    blocks = [(shard, block) for shard in shards for block in range(_n_blocks(shard))]
    # Not seeded: another start is to look at other blocks, and no result depends on it.
    return random.Random().sample(blocks, min(SAMPLE_BLOCKS, len(blocks)))


def _read_verified(folder: Path) -> dict[str, _Verified]:
    """What earlier starts noted; nothing where that cannot be read."""
    try:
        values = read_json(folder / VERIFIED)
        return {name: build(_Verified, value) for name, value in values["shards"].items()}
    except (BadInput, AttributeError, KeyError, TypeError):
        return {}


def _write_verified(folder: Path, now: dict[str, _Verified]) -> None:
    text = to_json({"shards": {name: asdict(verified) for name, verified in now.items()}})
    with suppress(OSError):  # prepared data may be read-only: read whole each time then
        if (folder / VERIFIED).is_dir():
            shutil.rmtree(folder / VERIFIED)
        write_atomic(folder / VERIFIED, text)
