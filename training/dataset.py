"""The data of a run: prepared on one rank, checked before step 0, opened on all."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from common.errors import BadInput, require
from data.loader import Loader, evaluation_windows, require_epochs
from data.local_copy import local_copy
from data.manifest import Manifest, read_manifest
from data.prepare import is_prepared, prepare, random_data
from data.shards import open_split
from data.token_bytes import text_bytes
from data.tokenizer import vocabulary
from data.verification import check_shards
from training.config import TrainConfig

if TYPE_CHECKING:  # a plan looks at its data without torch
    from training.ranks.distributed import Ranks


@dataclass(frozen=True)
class PreparedData:
    """What a plan needs to know of its data: where it is, what it is, and its training tokens."""

    folder: Path
    manifest: Manifest
    tokens_per_epoch: int

    @property
    def digest(self) -> str:
        """Identity by content."""
        return self.manifest.digest


@dataclass(frozen=True)
class Data:
    """The checked data of a run; `windows` (k, T + 1) are the held-out set.

    text_bytes  of the tokens that are predicted in it, UTF-8; separators stand for none
    """

    manifest: Manifest
    loader: Loader
    windows: npt.NDArray[np.int64]
    text_bytes: int


def prepared_data(
    config: TrainConfig, known: str | None = None, check: bool = True
) -> PreparedData:
    """Prepare the data, once; BadInput where no trial could train on it.

    Where the text is gone, the data of the digest `known` serve. `check`: as `open_data` does.
    """
    folder, manifest = _prepare(config, known)
    if check:
        check_shards(folder, manifest, config.data.verify == "full")
    data = _open(config, folder, manifest)
    return PreparedData(folder, manifest, data.loader.tokens_per_epoch)


def on_random_tokens(config: TrainConfig, folder: Path) -> TrainConfig:
    """`config` on random ids in `folder`, as many as some steps read, to measure it without data.

    It is evaluated on a single sequence.
    """
    block, batch = config.model.block_size, config.schedule.batch_tokens
    return replace(
        config,
        data=random_data(config.data, folder, max(2**20, 4 * batch) + 1, block + 1),
        evaluation=replace(config.evaluation, tokens=block),
        runtime=replace(config.runtime, data_dir=str(folder), stage=None),
    )


def open_data(
    config: TrainConfig, ranks: "Ranks", known: str | None = None, folder: Path | None = None
) -> Data:
    """Prepare the data on rank 0 and open it everywhere; every check of it that there is.

    Where the text is gone, the data of the digest `known` serve. Data that a caller has prepared
    and checked lie in `folder`: then the config's path is not looked at.
    """

    def prepare_and_check() -> str:
        prepared, manifest = _prepare(config, known) if folder is None else _read(config, folder)
        check_shards(prepared, manifest, folder is None and config.data.verify == "full")
        return str(prepared.absolute())

    shared = Path(ranks.broadcast_from_rank0(prepare_and_check))

    def open_here() -> Data:
        manifest = read_manifest(shared)
        data = _open(config, node_copy(config, shared, manifest), manifest)
        require_epochs(
            config.schedule.tokens_planned, data.loader.tokens_per_epoch, config.data.max_epochs
        )
        return data

    data = ranks.on_all_ranks(open_here)
    ranks.require_same("the data of the ranks", data.manifest.digest)
    return data


def digest_if_there(config: TrainConfig, known: str | None) -> str | None:
    """The digest of the data that the config names; None where neither text nor shards are there.

    The text is prepared if need be, but never fetched from the hub; `known` as in `open_data`.
    """
    data_dir = Path(config.runtime.data_dir)
    try:
        is_there = is_prepared(config.data, data_dir, known) or not config.data.is_of_the_hub
    except BadInput:
        return None
    return read_manifest(prepare(config.data, data_dir, known=known)).digest if is_there else None


def node_copy(config: TrainConfig, folder: Path, manifest: Manifest) -> Path:
    """Where this node reads the data: a copy on its own disk, if `runtime.stage` names one."""
    runtime, full = config.runtime, config.data.verify == "full"
    return local_copy(folder, manifest, runtime.stage, runtime.timeout_s, full)


def _prepare(config: TrainConfig, known: str | None = None) -> tuple[Path, Manifest]:
    """The folder of the data, made if need be; BadInput, before, where the model has other ids."""
    require_vocabulary(config)
    return _read(config, prepare(config.data, Path(config.runtime.data_dir), known=known))


def require_vocabulary(config: TrainConfig) -> None:
    """BadInput where the model has not the ids of its data's tokenizer; needs no data."""
    expected = vocabulary(config.data.tokenizer, config.data.vocab_size).size
    _require_ids(config, expected, config.data.tokenizer)


def _require_ids(config: TrainConfig, expected: int, tokenizer: str) -> None:
    found = config.model.vocab_size
    wanted = f"{expected} for data.tokenizer={tokenizer}"
    require(found == expected, "model.vocab_size", found, wanted)


def _read(config: TrainConfig, folder: Path) -> tuple[Path, Manifest]:
    manifest = read_manifest(folder)
    _require_ids(config, manifest.vocab_size, manifest.tokenizer)
    return folder, manifest


def _open(config: TrainConfig, folder: Path, manifest: Manifest) -> Data:
    """The training order and the held-out windows; BadInput where the shards are too short."""
    block_size, evaluation = config.model.block_size, config.evaluation
    train = open_split(folder, manifest, "train")
    loader = Loader(train, block_size, config.seed, config.data.unique_tokens)
    val = open_split(folder, manifest, "val")
    windows = evaluation_windows(val, block_size, evaluation.tokens, evaluation.windows)
    predicted = text_bytes(windows[:, 1:], manifest, folder)
    return Data(manifest, loader, windows, predicted)
