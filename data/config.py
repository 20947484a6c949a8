"""Which text, how it is turned into tokens and how it is divided; torch-free."""

from dataclasses import dataclass
from typing import Literal

from common.errors import BadInput, require_positive

BPE_SIZES = 257, 65536  # 256 bytes and end-of-text at least; ids are uint16


@dataclass(frozen=True)
class HubConfig:
    """A data set of the Hugging Face hub.

    name      its repository, as HuggingFaceFW/fineweb; null: local files alone (`data.path`)
    subset    one of its configurations, as sample-10BT; null: the default one
    split     which of its own splits is read; ours are cut from it
    column    the column that holds the text
    revision  commit of the repository, so that the text is the same next year; null: the newest
    """

    name: str | None
    subset: str | None
    split: str
    column: str
    revision: str | None


@dataclass(frozen=True)
class DataConfig:
    """The recipe of a data set (where its shards are kept is `runtime.data_dir`).

    source      python: the interpreter's standard library; files: `path` is a file or a folder of
                txt, jsonl, either also .xz; hf: a data set of the hub, or with `path` a file or a
                folder of its Parquet, JSON-lines or Arrow files; shards: `path` is a folder of
                ready token shards
    path        file or folder; null for source python, and for hf from the hub
    tokenizer   bytes (256 ids), gpt2 (50257 ids), or bpe, trained on the training text
    val_fraction  share of documents held out, chosen by the digest of each document
    max_epochs  how often a run may see the training tokens; more is refused
    val_tokens  instead of the fraction: the first documents, until they have so many tokens
    train_tokens  where reading stops, for a part of a large data set; null: all of it, but a sweep
                  of a data set of the hub prepares what its longest run reads
    unique_tokens  a run sees only so many of the training tokens, over and over: windows drawn
                at random, the same for every seed, fewer being a part of more; null: all
    vocab_size  of the tokenizer bpe, end-of-text included; null for the others
    hub         for source hf
    verify      at each start: sample: changed files whole, of the others some blocks
                (data/verification.py); full: every file whole. Part of no trial's id
    skip_invalid  leave out documents that are no text (not JSON, no field `text`, not UTF-8, a
                character that the tokenizer cannot hold), up to a ceiling; false: refuse the first
    """

    source: Literal["python", "files", "hf", "shards"]
    path: str | None
    tokenizer: Literal["bytes", "gpt2", "bpe"]
    val_fraction: float | None
    max_epochs: float
    val_tokens: int | None = None
    train_tokens: int | None = None
    unique_tokens: int | None = None
    vocab_size: int | None = None
    hub: HubConfig | None = None
    verify: Literal["sample", "full"] = "sample"
    skip_invalid: bool = False

    def __post_init__(self) -> None:
        if (self.hub is None) != (self.source != "hf"):
            expected = "its fields" if self.source == "hf" else "null"
            raise BadInput(f"data.hub: expected {expected} for data.source={self.source}")
        if self.hub is not None:
            if self.path is None and self.hub.name is None:
                raise BadInput("data.hub.name: found null, expected a repository, or a data.path")
        elif (self.path is None) != (self.source == "python"):
            expected = "null" if self.source == "python" else "a path"
            raise BadInput(
                f"data.path: found {self.path!r}, expected {expected} for data.source={self.source}"
            )
        self._check_split()
        low, high = BPE_SIZES
        if self.tokenizer == "bpe" and not low <= (self.vocab_size or 0) <= high:
            raise BadInput(
                f"data.vocab_size: found {self.vocab_size}, expected {low} to {high} for "
                "data.tokenizer=bpe"
            )
        if self.tokenizer != "bpe" and self.vocab_size is not None:
            raise BadInput(
                f"data.vocab_size: found {self.vocab_size}, expected null for data.tokenizer="
                f"{self.tokenizer}, which has a size of its own"
            )
        require_positive("data", self, "max_epochs")
        for name in ("train_tokens", "unique_tokens"):
            if getattr(self, name) is not None:
                require_positive("data", self, name)

    @property
    def is_of_the_hub(self) -> bool:
        """Whether the text is to be fetched from the Hugging Face hub."""
        return self.source == "hf" and self.path is None

    @property
    def name(self) -> str:
        """Where the text comes from, as python, files:/text or hf:OWNER/NAME/SUBSET."""
        parts = [self.hub.name, self.hub.subset] if self.hub and not self.path else [self.path]
        return ":".join([self.source, "/".join(filter(None, parts))]).removesuffix(":")

    def _check_split(self) -> None:
        if self.val_tokens is not None:
            require_positive("data", self, "val_tokens")
            if self.val_fraction is not None:
                raise BadInput(
                    f"data.val_fraction: found {self.val_fraction} and data.val_tokens "
                    f"{self.val_tokens}, expected one of them and null for the other"
                )
            if self.tokenizer == "bpe":
                raise BadInput(
                    f"data.val_tokens: found {self.val_tokens}, expected null for data.tokenizer="
                    "bpe, which is trained after the text is divided; give data.val_fraction"
                )
        elif self.val_fraction is None or not 0 < self.val_fraction < 1:
            raise BadInput(
                f"data.val_fraction: found {self.val_fraction}, expected between 0 and 1"
            )
