"""Token files written: a stream of ids to shards of llm.c's format, which may be gone on with."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from common.errors import BadInput
from common.files import file_digest
from data.manifest import ShardEntry, SplitName
from data.shards import HEADER_BYTES, MAGIC, TOKEN_BYTES, VERSION, Ids

MAX_SHARD_TOKENS = 100_000_000
TAIL_TOKENS = 65_536  # a last shard shorter than this is joined to the one before


class ShardWriter:
    """Streams the ids of one split into `folder`, `<split>_000000.bin` and so on.

    No shard has more than `max_tokens`, and none but a lone one fewer than TAIL_TOKENS, so that
    every shard holds at least one window of any usual block size. `counts`, as `flush` gave them,
    goes on with the shards that are there; what was written after that flush is cut off.
    """

    def __init__(
        self,
        folder: Path,
        name: SplitName,
        max_tokens: int = MAX_SHARD_TOKENS,
        counts: Sequence[int] = (),
    ) -> None:
        self._folder, self._name = folder, name
        self._limit = max_tokens - TAIL_TOKENS
        self._counts = list(counts)
        self._file: IO[bytes] | None = None
        for path in folder.glob(f"{name}_*.bin"):
            if path not in self._paths():
                path.unlink()
        for path, count in zip(self._paths(), counts, strict=True):
            if path.stat().st_size < HEADER_BYTES + TOKEN_BYTES * count:
                raise BadInput(
                    f"{path}: shorter than it was when its progress was noted; remove it"
                )
            os.truncate(path, HEADER_BYTES + TOKEN_BYTES * count)

    @property
    def n_tokens(self) -> int:
        """Tokens written so far."""
        return sum(self._counts)

    def write(self, ids: Ids) -> None:
        """Append ids, starting new shards as they fill."""
        while len(ids):
            if not self._counts or self._counts[-1] == self._limit:
                self.flush()
                self.leave()
                self._counts.append(0)
                self._paths()[-1].write_bytes(bytes(HEADER_BYTES))
            part = ids[: self._limit - self._counts[-1]]
            self._append(part)
            ids = ids[len(part) :]

    def flush(self) -> list[int]:
        """Force what was written to disk; tokens of each shard."""
        if self._file is not None:
            self._file.flush()
            os.fsync(self._file.fileno())
        return list(self._counts)

    def close(self) -> tuple[ShardEntry, ...]:
        """Write the headers, force all to disk, and say what was written."""
        self.flush()
        self.leave()
        tail = None
        if len(self._counts) > 1 and self._counts[-1] < TAIL_TOKENS:
            tail = self._paths()[-1]
            del self._counts[-1]
            self._append(np.fromfile(tail, dtype="<u2", offset=HEADER_BYTES))
            self.flush()
            self.leave()
        entries = []
        for path, count in zip(self._paths(), self._counts, strict=True):
            header = np.zeros(HEADER_BYTES // 4, dtype="<i4")
            header[:3] = MAGIC, VERSION, count
            with path.open("r+b") as file:
                file.write(header.tobytes())
                file.flush()
                os.fsync(file.fileno())
            entries.append(ShardEntry(path.name, count, file_digest(path)))
        if tail is not None:  # last, so that a process killed before can be gone on with
            tail.unlink()
        return tuple(entries)

    def leave(self) -> None:
        """Close the file that is open; what was written stays."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _paths(self) -> list[Path]:
        return [self._folder / f"{self._name}_{i:06d}.bin" for i in range(len(self._counts))]

    def _append(self, ids: Ids) -> None:
        if self._file is None:
            self._file = self._paths()[-1].open("ab")
        self._file.write(ids.astype("<u2", copy=False).tobytes())
        self._counts[-1] += len(ids)
