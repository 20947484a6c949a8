"""A corpus of 200 short documents, and what it takes to prepare it and to look at the result."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.config import DataConfig
from data.manifest import Manifest, ShardEntry, SplitEntry, SplitName
from data.prepare.shard_writer import ShardWriter
from data.shards import HEADER_BYTES, Split, open_shard, open_split

SPLITS = ("train", "val")


def tiny_corpus(within: Path) -> DataConfig:
    """200 short documents in two files."""
    folder = within / "corpus"
    folder.mkdir()
    for name, numbers in (("a", range(100)), ("b", range(100, 200))):
        rows = (json.dumps({"text": f"Document {n}: " + "word " * n}) for n in numbers)
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    return DataConfig("files", str(folder), "bytes", val_fraction=0.2, max_epochs=1)


def ids_of(folder: Path, manifest: Manifest, name) -> np.ndarray:
    shards = open_split(folder, manifest, name).shards
    return np.concatenate([shard.read(0, shard.n_tokens) for shard in shards])


def prepare_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "data.prepare", *arguments]


def split_of(*paths: Path, name: SplitName = "train") -> Split:
    """The shards at these paths, opened."""
    return Split(name, tuple(open_shard(path) for path in paths))


def write_shards(
    folder: Path, ids: npt.ArrayLike, name: SplitName = "train", max_tokens: int = 10**8
) -> tuple[ShardEntry, ...]:
    """Shards of these ids in `folder`, headers and all."""
    writer = ShardWriter(folder, name, max_tokens)
    writer.write(np.asarray(ids, dtype=np.uint16))
    return writer.close()


def random_data(folder: Path, n_train: int = 5000, n_val: int = 500) -> Manifest:
    """Shards of random GPT-2 ids."""
    rng = np.random.default_rng(0)
    train, val = (
        SplitEntry(write_shards(folder, rng.integers(0, 50257, n), name), 1, 4 * n)
        for name, n in (("train", n_train), ("val", n_val))
    )
    return Manifest(1, {}, "gpt2", 50257, 50256, {}, train, val)


def poke(path: Path, token: int, value: int) -> None:
    """Write one id into a shard."""
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + 2 * token)
        file.write(struct.pack("<H", value))
