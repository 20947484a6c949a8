"""What preparing a data set costs before it is begun: bytes to fetch and to keep, and hours."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.errors import BadInput
from common.numbers import byte_size, duration
from data.config import DataConfig
from data.prepare.documents import input_files
from data.prepare.ready_shards import shard_files
from data.shards import TOKEN_BYTES

# Sizes of data sets of the hub: bytes of their files, tokens of GPT-2 (their pages; configs/data).
# None where the page does not say.
HUB_SIZES: dict[tuple[str, str | None], tuple[float | None, float]] = {
    ("HuggingFaceFW/fineweb", "sample-10BT"): (30.6e9, 10.4e9),
    ("HuggingFaceFW/fineweb", "sample-100BT"): (302.6e9, 103e9),
    ("HuggingFaceFW/fineweb", "sample-350BT"): (1.06e12, 360e9),
    ("HuggingFaceFW/fineweb-edu", "sample-10BT"): (28.5e9, 10e9),
    ("HuggingFaceFW/fineweb-edu", "sample-100BT"): (None, 100e9),
    ("Skylion007/openwebtext", None): (24e9, 9.04e9),
}
# Bytes of English text per token by the size of the vocabulary, and bytes of text per byte of a
# file: measured on novels and FineWeb, to a tenth or so for other English text.
_VOCABULARIES, _BYTES_PER_TOKEN = (256, 4096, 50257), (1.0, 3.7, 4.4)
_UNPACKED = {".xz": 3.6, ".gz": 2.6, ".zst": 2.8, ".parquet": 1.5}
# Bytes of text per CPU-second, unpacking, digests and the check of every id included
# (docs/measured.md, "Preparing data").
_RATE = {"bytes": 50e6, "gpt2": 7.9e6, "bpe": 7.9e6}


@dataclass(frozen=True)
class Estimate:
    """What a preparation takes; None for what cannot be known without asking the hub.

    download_bytes    fetched from the hub; 0 where the text or the shards are here
    shard_bytes       written as shards, both splits; 0 for ready shards, which are linked to
    tokens            of both splits, separators left out; exact to a tenth or so
    tokenising_hours  on all cores that this process may use
    """

    download_bytes: int | None
    shard_bytes: int | None
    tokens: int | None
    tokenising_hours: float | None

    @property
    def line(self) -> str:
        """What is to be fetched, kept and waited for, in words."""
        sizes = {"to fetch": self.download_bytes, "of shards": self.shard_bytes}
        parts = [f"{byte_size(size)} {what}" for what, size in sizes.items() if size]
        parts += [f"unknown bytes {what}" for what, size in sizes.items() if size is None]
        if self.tokenising_hours:
            parts.append(f"{duration(3600 * self.tokenising_hours)} of tokenising here")
        return ", ".join(parts)


def estimate(data: DataConfig, train_tokens: int | None = None) -> Estimate:
    """The cost of preparing `data` until it has `train_tokens`, `data.train_tokens` or all of it.

    By sizes of files and stated rates: nothing is read but the sizes, and no network is asked.
    """
    bytes_per_token = _bytes_per_token(data)
    files_bytes, text_bytes = _sizes(data, bytes_per_token)
    if data.source == "shards":
        tokens = None if files_bytes is None else int(files_bytes / TOKEN_BYTES)
        return Estimate(0, 0, tokens, 0.0)
    there = math.inf if text_bytes is None else text_bytes / bytes_per_token
    asked = min(train_tokens or math.inf, data.train_tokens or math.inf)
    held_out = data.val_tokens or 0.0
    share = 1.0 if data.val_fraction is None else 1 - data.val_fraction
    tokens_read = min(there, asked / share + held_out)
    if not math.isfinite(tokens_read):
        return Estimate(None if data.is_of_the_hub else 0, None, None, None)
    if not data.is_of_the_hub:
        download: int | None = 0
    else:
        download = None if files_bytes is None else int(files_bytes * tokens_read / there)
    hours = tokens_read * bytes_per_token / _RATE[data.tokenizer] / _cores(data) / 3600
    return Estimate(download, int(tokens_read) * TOKEN_BYTES, int(tokens_read), hours)


def _bytes_per_token(data: DataConfig) -> float:
    size = {"bytes": 256, "gpt2": 50257}.get(data.tokenizer, data.vocab_size)
    assert size is not None
    return float(np.interp(np.log(size), np.log(_VOCABULARIES), _BYTES_PER_TOKEN))


def _sizes(data: DataConfig, bytes_per_token: float) -> tuple[float | None, float | None]:
    """Bytes of the files that are read, and of the text in them; None where unknown."""
    if data.hub is not None and data.is_of_the_hub:
        assert data.hub.name is not None
        files_bytes, gpt2_tokens = HUB_SIZES.get((data.hub.name, data.hub.subset), (None, None))
        return files_bytes, gpt2_tokens and gpt2_tokens * _BYTES_PER_TOKEN[-1]
    try:
        if data.source == "shards":
            assert data.path is not None
            return sum(os.path.getsize(path) for path in shard_files(Path(data.path))), None
        sizes = [(path, os.path.getsize(path)) for path in input_files(data)]
    except (BadInput, OSError, ValueError):  # a plan may be made where the text is not
        return None, None
    text = sum(size * _UNPACKED.get(path.suffix, 1.0) for path, size in sizes)
    return sum(size for _, size in sizes), text


def _cores(data: DataConfig) -> int:
    """Processes that tokenise: bytes are turned into ids by one."""
    if data.tokenizer == "bytes":
        return 1
    available = getattr(os, "sched_getaffinity", None)
    return len(available(0)) if available else os.cpu_count() or 1
