"""What a folder of shards holds: counts and digests, kept in manifest.json beside them."""

from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from common.errors import BadInput
from common.files import digest, read_json, to_json, write_atomic
from configs.schema import build
from data.tokenizer import vocabulary

SCHEMA = 1
MANIFEST_NAME = "manifest.json"
SplitName = Literal["train", "val"]


@dataclass(frozen=True)
class ShardEntry:
    """One file of a folder: its plain name, its number of tokens and the digest of its bytes."""

    name: str
    tokens: int
    sha256: str


@dataclass(frozen=True)
class SplitEntry:
    """The shards of one split in reading order; text counts are null where only ids were given."""

    shards: tuple[ShardEntry, ...]
    documents: int | None
    text_bytes: int | None

    @property
    def tokens(self) -> int:
        """Tokens of all shards, separators included."""
        return sum(shard.tokens for shard in self.shards)


@dataclass(frozen=True)
class Manifest:
    """A data set: the recipe it was made by, the vocabulary of its ids, and its files.

    `skipped` counts documents left out, by reason; `invalid` names the first that were no text.
    `tokenizer_sha256` is of a trained tokenizer's file beside the shards.
    """

    schema: int
    recipe: dict[str, Any]
    tokenizer: Literal["bytes", "gpt2", "bpe"]
    vocab_size: int
    end_of_text: int
    skipped: dict[str, int]
    train: SplitEntry
    val: SplitEntry
    tokenizer_sha256: str | None = None
    invalid: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, split in (("train", self.train), ("val", self.val)):
            if not split.shards:
                raise BadInput(f"manifest: {name}.shards: found none, expected a shard or more")
        for entry in (*self.train.shards, *self.val.shards):
            if Path(entry.name).name != entry.name:
                raise BadInput(f"manifest: found shard name {entry.name!r}, expected a plain name")

    @property
    def digest(self) -> str:
        """Identity by content, 16 hex digits: equal wherever and whenever the data was prepared."""
        shards = [[asdict(shard) for shard in split.shards] for split in (self.train, self.val)]
        trained = [self.tokenizer_sha256] if self.tokenizer_sha256 else []
        return digest([self.tokenizer, *trained, shards])

    def split(self, name: SplitName) -> SplitEntry:
        """The entry of `train` or `val`."""
        return self.train if name == "train" else self.val


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest` into `folder`; that it is there says that the folder is complete."""
    write_atomic(folder / MANIFEST_NAME, to_json(asdict(manifest)))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder; BadInput if it is missing, broken or newer than this."""
    path = folder / MANIFEST_NAME
    values = read_json(path)
    schema = values.get("schema") if isinstance(values, dict) else None
    if schema != SCHEMA:
        raise BadInput(f"{path}: found schema {schema!r}, expected {SCHEMA}")
    manifest = build(Manifest, values, str(path))
    known = vocabulary(manifest.tokenizer, manifest.vocab_size)
    if (manifest.vocab_size, manifest.end_of_text) != (known.size, known.end_of_text):
        raise BadInput(
            f"{path}: found {manifest.vocab_size} ids and end-of-text {manifest.end_of_text}, "
            f"expected {known.size} and {known.end_of_text} for tokenizer {manifest.tokenizer}"
        )
    return manifest


def compare(stored: Manifest, present: Manifest) -> str | None:
    """The first difference in what is trained on, as one line; None if there is none.

    Where the data lies and how it was made may differ; names, order, sizes and content may not.
    """
    for field in ("tokenizer", "vocab_size", "end_of_text", "tokenizer_sha256"):
        expected, found = getattr(stored, field), getattr(present, field)
        if expected != found:
            return f"data: found {field} {found!r}, expected {expected!r}"
    splits: tuple[SplitName, ...] = ("train", "val")
    for split in splits:
        pairs = zip_longest(stored.split(split).shards, present.split(split).shards)
        for index, (before, now) in enumerate(pairs):
            if before != now:
                return f"data: {split} shard {index}: {_difference(before, now)}"
    return None


def _difference(before: ShardEntry | None, now: ShardEntry | None) -> str:
    if before is None:
        assert now is not None
        return f"found {now.name}, expected no more shards"
    if now is None:
        return f"found none, expected {before.name}"
    if before.name != now.name:
        return f"found {now.name}, expected {before.name}"
    if before.tokens != now.tokens:
        return f"found {now.tokens} tokens in {now.name}, expected {before.tokens}"
    digests = now.sha256[:16], before.sha256[:16]
    return f"found other content in {now.name}, sha256 {digests[0]}, expected {digests[1]}"
