"""Which tokens a step trains on: a pure function of seed and step, the same on any world size.

A window is block_size + 1 neighbouring tokens of one shard, so that every position has a target;
windows overlap by that one token. Each epoch visits every window once, in an order drawn anew.
"""

from hashlib import sha256
from typing import Literal

import numpy as np
import numpy.typing as npt

from common.errors import BadInput
from data.shards import Split

Tokens = npt.NDArray[np.int64]


_CHOICE = -1  # the epoch whose order says which windows are the unique ones


class Loader:
    """Batches of one split in shuffled order; refuses shards too short for a single window.

    windows           windows of an epoch: (n - 1) // block_size summed over shards of n tokens; of
                      `unique_tokens` so many, one at least, chosen at random once for all seeds:
                      those of fewer tokens are among those of more
    tokens_per_epoch  tokens trained on in an epoch: windows * block_size
    """

    def __init__(
        self, split: Split, block_size: int, seed: int, unique_tokens: int | None = None
    ) -> None:
        self._reader = _WindowReader(split, block_size)
        self._seed = seed
        self.windows = every = self._reader.count
        if unique_tokens is not None:
            self.windows = min(every, max(1, unique_tokens // block_size))
        self.tokens_per_epoch = self.windows * block_size

    def batch(
        self, step: int, batch_sequences: int, rank: int = 0, world_size: int = 1
    ) -> tuple[Tokens, Tokens]:
        """This rank's share of the global batch of `step`: tokens_BT and targets_BT, int64.

        They are `batch_windows` without their last and without their first token.
        """
        windows_BT = self.batch_windows(step, batch_sequences, rank, world_size)
        return windows_BT[:, :-1].astype(np.int64), windows_BT[:, 1:].astype(np.int64)

    def batch_windows(
        self, step: int, batch_sequences: int, rank: int = 0, world_size: int = 1
    ) -> npt.NDArray[np.uint16]:
        """The windows of this rank's share of a batch, (sequences, block_size + 1), as stored.

        The global batch is the windows step * batch_sequences and on of the whole run; rank r
        takes the r-th of world_size equal slices. BadInput when it cannot be divided, and when a
        shard changed, was cut or removed since it was opened.
        """
        if batch_sequences % world_size:
            raise BadInput(
                f"schedule.batch_tokens: found {batch_sequences} sequences a step, expected a "
                f"multiple of the {world_size} ranks"
            )
        share = batch_sequences // world_size
        first = step * batch_sequences + rank * share
        return self._reader.read(self._order(first, share))

    def _order(self, first: int, count: int) -> Tokens:
        """Windows at the run's positions [first, first + count), each in its own epoch's order."""
        epochs, positions = np.divmod(np.arange(first, first + count), self.windows)
        order = np.empty(count, dtype=np.int64)
        for epoch in range(int(epochs[0]), int(epochs[-1]) + 1):
            here = epochs == epoch
            order[here] = shuffle(positions[here], self.windows, self._seed, epoch)
        if self.windows < self._reader.count:
            order = shuffle(order, self._reader.count, seed=0, epoch=_CHOICE)
        return order


def evaluation_windows(
    split: Split, block_size: int, n_tokens: int, windows: Literal["spread", "first"] = "spread"
) -> Tokens:
    """Windows of `split`, int64 of shape (n_tokens // block_size, block_size + 1).

    They are spread evenly over it, or its first. BadInput when the split is smaller than asked.
    """
    reader = _WindowReader(split, block_size)
    count = n_tokens // block_size
    if not 1 <= count <= reader.count:
        raise BadInput(
            f"evaluation.tokens: found {n_tokens}, expected at least model.block_size {block_size} "
            f"and at most the {reader.count * block_size} of the {split.name} split"
        )
    available = reader.count if windows == "spread" else count
    return reader.read(np.arange(count) * available // count).astype(np.int64)


def require_epochs(n_tokens: int, tokens_per_epoch: int, max_epochs: float) -> float:
    """Epochs that a budget of `n_tokens` takes; BadInput when it is more than `max_epochs`."""
    epochs = n_tokens / tokens_per_epoch
    if epochs > max_epochs:
        raise BadInput(
            f"schedule.tokens: found {n_tokens}, which takes {epochs:.2f} epochs of the "
            f"{tokens_per_epoch} training tokens, expected at most data.max_epochs {max_epochs:g}"
        )
    return epochs


def shuffle(positions: Tokens, n: int, seed: int, epoch: int) -> Tokens:
    """Where each of `positions` in [0, n) goes in the shuffled order of an epoch; a permutation.

    A Feistel network is a keyed permutation of 2^k values for any round function (Luby and
    Rackoff 1988); walking its cycle until it lands below n makes it one of n values (Black and
    Rogaway 2002). So no list of n windows is ever held, and any position is found at once.
    """
    digest = sha256(f"window order, seed {seed}, epoch {epoch}".encode()).digest()
    keys = np.frombuffer(digest, dtype="<u8")
    bits = (n - 1).bit_length()
    values = _feistel(positions.astype(np.uint64), bits, keys)
    outside = values >= n
    while outside.any():
        values[outside] = _feistel(values[outside], bits, keys)
        outside = values >= n
    return values.astype(np.int64)


def _feistel(
    values: npt.NDArray[np.uint64], bits: int, keys: npt.NDArray[np.uint64]
) -> npt.NDArray[np.uint64]:
    """Permute [0, 2^bits); the halves may differ by a bit, so the number of rounds is even."""
    low_bits, high_bits = (bits + 1) // 2, bits // 2
    for key in keys:
        low = values & np.uint64((1 << low_bits) - 1)
        # A multiply and a fold, with a constant of splitmix64: every bit of the input reaches
        # the bits that are kept.
        mixed = (low + key) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x94D049BB133111EB)
        mixed >>= np.uint64(32)
        high = (values >> np.uint64(low_bits)) ^ (mixed & np.uint64((1 << high_bits) - 1))
        values = (low << np.uint64(high_bits)) | high
        low_bits, high_bits = high_bits, low_bits
    return values


class _WindowReader:
    """The windows of a split, numbered through all its shards."""

    def __init__(self, split: Split, block_size: int) -> None:
        for shard in split.shards:
            if shard.n_tokens < block_size + 1:
                raise BadInput(
                    f"{shard.path}: found {shard.n_tokens} tokens, expected at least "
                    f"{block_size + 1} (model.block_size + 1)"
                )
        self._shards, self._block_size = split.shards, block_size
        counts = [(shard.n_tokens - 1) // block_size for shard in split.shards]
        self._ends = np.cumsum(counts)
        self.count = int(self._ends[-1])

    def read(self, windows: Tokens) -> npt.NDArray[np.uint16]:
        """The tokens of `windows`, shape (len(windows), block_size + 1)."""
        shards = np.searchsorted(self._ends, windows, side="right")
        for index in set(shards.tolist()):
            self._shards[index].check_unchanged()
        rows = np.empty((len(windows), self._block_size + 1), dtype=np.uint16)
        starts = np.concatenate([[0], self._ends])[shards]
        for row, index, window in zip(
            rows, shards.tolist(), (windows - starts).tolist(), strict=True
        ):
            row[:] = self._shards[index].read(window * self._block_size, self._block_size + 1)
        return rows
