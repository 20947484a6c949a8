"""Which text, how it is turned into tokens and how it is divided; torch-free."""

from dataclasses import dataclass
from typing import Literal

from configs.errors import BadInput


@dataclass(frozen=True)
class DataConfig:
    """The recipe of a data set (where its shards are kept is `runtime.data_dir`).

    source      python: the interpreter's standard library; files: `path` is a file or a folder of
                txt, jsonl, either also .xz; shards: `path` is a folder of ready token shards
    path        file or folder; null for source python
    tokenizer   bytes (256 ids) or gpt2 (50257 ids)
    val_fraction  share of documents held out, chosen by the digest of each document
    max_epochs  how often a run may see the training tokens; more is refused
    """

    source: Literal["python", "files", "shards"]
    path: str | None
    tokenizer: Literal["bytes", "gpt2"]
    val_fraction: float
    max_epochs: float

    def __post_init__(self) -> None:
        if (self.path is None) != (self.source == "python"):
            raise BadInput(
                f"data.path: found {self.path!r}, expected "
                + ("null" if self.source == "python" else "a path")
                + f" for data.source={self.source}"
            )
        if not 0 < self.val_fraction < 1:
            raise BadInput(
                f"data.val_fraction: found {self.val_fraction}, expected between 0 and 1"
            )
        if self.max_epochs <= 0:
            raise BadInput(f"data.max_epochs: found {self.max_epochs}, expected more than 0")
