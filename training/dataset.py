"""The data of a run: prepared on one rank, checked before step 0, opened on all."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from configs.errors import BadInput
from configs.files import to_json, write_atomic
from data.loader import Loader, evaluation_windows, require_epochs
from data.manifest import Manifest, read_manifest
from data.prepare import prepare
from data.shards import Split, open_split, verify
from data.stage import staged
from training.config import TrainConfig
from training.distributed import Ranks

VERIFIED = "verified.json"


@dataclass(frozen=True)
class Data:
    """The checked data of a run; `windows` (k, T + 1) are the held-out set."""

    manifest: Manifest
    loader: Loader
    windows: npt.NDArray[np.int64]
    epochs: float


def open_data(config: TrainConfig, ranks: Ranks) -> Data:
    """Prepare the data on rank 0 and open it everywhere; every check of it that there is."""

    def prepare_and_verify() -> str:
        folder = prepare(config.data, Path(config.runtime.data_dir))
        manifest = read_manifest(folder)
        found, expected = config.model.vocab_size, manifest.vocab_size
        if found != expected:
            raise BadInput(
                f"model.vocab_size: found {found}, expected {expected} of the tokenizer "
                f"{manifest.tokenizer}"
            )
        _verify_once(folder, manifest)
        return str(folder.absolute())

    folder = Path(ranks.from_main(prepare_and_verify))

    def open_here() -> Data:
        manifest = read_manifest(folder)
        here = staged(folder, manifest, config.runtime.stage, config.runtime.timeout_s)
        block_size, schedule = config.model.block_size, config.schedule
        loader = Loader(open_split(here, manifest, "train"), block_size, config.seed)
        val = open_split(here, manifest, "val")
        return Data(
            manifest=manifest,
            loader=loader,
            windows=evaluation_windows(
                val, block_size, config.evaluation.tokens, config.evaluation.windows
            ),
            epochs=require_epochs(
                schedule.tokens_seen, loader.tokens_per_epoch, config.data.max_epochs
            ),
        )

    data = ranks.everywhere(open_here)
    ranks.require_same("the data of the ranks", data.manifest.digest)
    return data


def _verify_once(folder: Path, manifest: Manifest) -> None:
    """Check every token id, unless these very files were checked before (by size and time)."""
    splits: list[Split] = [open_split(folder, manifest, name) for name in ("train", "val")]
    files = {s.path.name: list(s.identity) for split in splits for s in split.shards}
    stamp = to_json({"vocab_size": manifest.vocab_size, "files": files})
    if (folder / VERIFIED).exists() and (folder / VERIFIED).read_text() == stamp:
        return
    for split in splits:
        verify(split, manifest.vocab_size)
    with suppress(OSError):  # prepared data may be read-only: it is checked each time then
        write_atomic(folder / VERIFIED, stamp)
