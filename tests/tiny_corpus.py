"""A corpus of 200 short documents, and what it takes to prepare it and to look at the result."""

import json
import sys
from pathlib import Path

import numpy as np

from data.config import DataConfig
from data.manifest import Manifest
from data.shards import open_split

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
