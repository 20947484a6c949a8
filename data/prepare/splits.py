"""Text to the shards of the training and the validation split, resumable at any document.

By a fraction, documents are divided by their own digest, so a text that occurs twice is never on
both sides. By a number of tokens, the first documents are held out until they have so many: as
llm.c cuts FineWeb, whose first shard is its validation split.
"""

import time
from collections import Counter
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BadInput
from data.config import DataConfig
from data.manifest import SplitEntry, SplitName
from data.prepare.build_directory import read_progress, save_progress
from data.prepare.documents import Document, Position
from data.prepare.encode import encode_here, encode_in_parallel
from data.prepare.invalid import InvalidDocuments
from data.prepare.progress import Progress, note
from data.prepare.shard_writer import ShardWriter
from data.prepare.sources import input_size, read_documents
from data.prepare.train_bpe import train_bpe
from data.tokenizer import Ids, vocabulary

SAVE_S = 30.0
SPLITS: tuple[SplitName, SplitName] = ("train", "val")


def is_validation(utf8: bytes, val_fraction: float) -> bool:
    """Whether a document is held out: a fixed function of its text and the fraction."""
    return _place(utf8) < val_fraction * 2**64


def threshold(config: DataConfig) -> float:
    """The place below which texts are held out; moved so that either split has some.

    So few texts divide whatever their size. Reads on until both sides have one: of many texts the
    first. 0 where the first documents are held out. BadInput for a corpus that cannot be divided.
    """
    if config.val_fraction is None:
        return 0
    low = config.val_fraction * 2**64
    least = most = None
    for document in read_documents(config, Counter()):
        if document.utf8:
            place = _place(document.utf8)
            least = place if least is None else min(least, place)
            most = place if most is None else max(most, place)
            if least < low <= most:
                return low
    if least is None or most is None:
        raise BadInput(f"data: {config.name}: found no text, expected at least two documents")
    if least == most:
        raise BadInput(
            f"data: {config.name}: found one document, expected at least two, one to hold out; "
            "give more, or one .txt of several lines and over 8 kB, which is cut at line ends"
        )
    return min(max(low, least + 1), most)


@dataclass(frozen=True)
class Written:
    """The shards of both splits; documents left out by reason, and the first invalid ones."""

    entries: dict[SplitName, SplitEntry]
    skipped: dict[str, int]
    invalid: tuple[str, ...]


def write_splits(config: DataConfig, folder: Path, parallel: bool) -> Written:
    """Write the shards of both splits into `folder`.

    Goes on where an earlier process was when it noted its progress in `folder`: the shards are the
    same as if it had never ended. Raises BadInput naming what cannot be used.
    """
    splits = _Splits(config, folder)
    if config.tokenizer == "bpe":
        train_bpe(config, folder, lambda document: not splits.is_validation(document))
        splits.save()  # so that it is not trained again
    progress = Progress(input_size(config), splits.input_bytes)
    encode = encode_in_parallel if parallel else encode_here
    try:
        documents = read_documents(config, splits.skipped, splits.after)
        for document, ids in encode(documents, config.tokenizer, folder, config.skip_invalid):
            if splits.is_full:
                break
            splits.add(document, ids)
            progress.update(document)
    finally:
        progress.end()
        splits.leave()
    return splits.close()


class _Splits:
    """What is written so far, in memory and as the progress noted in the folder."""

    def __init__(self, config: DataConfig, folder: Path) -> None:
        self._config, self._folder = config, folder
        self._separator = np.array(
            [vocabulary(config.tokenizer, config.vocab_size).end_of_text], dtype=np.uint16
        )
        self._threshold = threshold(config)
        noted = read_progress(folder)
        try:
            self._restore(noted or {})
        except (OSError, BadInput, KeyError):  # a shard is gone or cut: begin again
            self._restore({})
        self._saved = time.monotonic()

    def _restore(self, noted: dict[str, Any]) -> None:
        after = noted.get("after", (0, 0))
        self.after: Position = (after[0], after[1])
        self.input_bytes: int = noted.get("input_bytes", 0)
        self._documents = Counter[str](noted.get("documents", {}))
        self._text_bytes = Counter[str](noted.get("text_bytes", {}))
        self._empty: int = noted.get("empty", 0)
        self._invalid = InvalidDocuments(*noted.get("invalid", ()))
        self.skipped = Counter[str]()
        counts = noted.get("shards", {"train": [], "val": []})
        self._writers = {
            name: ShardWriter(self._folder, name, counts=counts[name]) for name in SPLITS
        }

    def add(self, document: Document, ids: Ids) -> None:
        self.after, self.input_bytes = document.after, document.input_bytes
        if document.problem is not None:
            self._invalid.add(document, self._read)
        elif document.utf8:
            name = SPLITS[self.is_validation(document)]
            self._writers[name].write(np.concatenate([self._separator, ids]))
            self._documents[name] += 1
            self._text_bytes[name] += len(document.utf8)
        else:
            self._empty += 1
        # Duplicates of the library's files are known from the beginning alone.
        if self._config.source != "python" and time.monotonic() - self._saved > SAVE_S:
            self.save()

    @property
    def is_full(self) -> bool:
        limit = self._config.train_tokens
        is_enough = limit is not None and self._writers["train"].n_tokens >= limit
        return is_enough and self._documents["val"] > 0

    @property
    def _read(self) -> int:
        """Documents read so far."""
        return self._documents.total() + self._empty + self._invalid.count

    def is_validation(self, document: Document) -> bool:
        if self._config.val_tokens is not None:
            return self._writers["val"].n_tokens < self._config.val_tokens
        return _place(document.utf8) < self._threshold

    def save(self) -> None:
        shards = {name: writer.flush() for name, writer in self._writers.items()}
        progress = {
            "after": self.after,
            "input_bytes": self.input_bytes,
            "documents": self._documents,
            "text_bytes": self._text_bytes,
            "empty": self._empty,
            "invalid": (self._invalid.count, self._invalid.first),
            "shards": shards,
        }
        save_progress(self._folder, progress)
        self._saved = time.monotonic()

    def leave(self) -> None:
        for writer in self._writers.values():
            writer.leave()

    def close(self) -> Written:
        self._invalid.require_few(self._read)
        for name in SPLITS:
            if not self._documents[name]:
                field = "val_fraction" if self._config.val_tokens is None else "val_tokens"
                raise BadInput(
                    f"data.{field}: {getattr(self._config, field)} of "
                    f"{self._documents.total()} documents left none for the {name} split, "
                    "expected at least one; change it or give more text"
                )
        if self._empty:
            self.skipped["empty"] += self._empty
        if self._invalid.count:
            self.skipped["invalid"] += self._invalid.count
            note(f"left out {self._invalid}")
        entries = {
            name: SplitEntry(
                self._writers[name].close(), self._documents[name], self._text_bytes[name]
            )
            for name in reversed(SPLITS)  # the long one last: then only the manifest is missing
        }
        return Written(entries, dict(self.skipped), tuple(self._invalid.first))


def _place(utf8: bytes) -> int:
    """Where a text stands between 0 and 2^64; the lowest are held out."""
    return int.from_bytes(sha256(utf8).digest()[:8], "big")
