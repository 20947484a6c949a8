"""Random tokens in place of a data set that is not here, for measurements: speed needs no text."""

from pathlib import Path

import numpy as np

from common.files import digest
from common.folders import whole_folder
from data.config import DataConfig
from data.manifest import SCHEMA, Manifest, SplitEntry, SplitName, write_manifest
from data.prepare.recipe import folder_of, is_prepared, recipe_of
from data.prepare.shard_writer import ShardWriter
from data.tokenizer import vocabulary


def random_data(data: DataConfig, data_dir: Path, train_tokens: int, val_tokens: int) -> DataConfig:
    """Data of the vocabulary of `data`, prepared in `data_dir` if they are not there yet.

    A run may go over them as often as it likes. Ranks may ask at once: each draws the same in a
    folder of its own, and the first to finish gives it its name.
    """
    drawn = DataConfig(
        source="python",  # the one that has neither a path nor a network
        path=None,
        tokenizer=data.tokenizer,
        vocab_size=data.vocab_size,
        val_fraction=0.5,
        max_epochs=1e12,
        train_tokens=train_tokens,
    )
    if not is_prepared(drawn, data_dir):
        recipe, ids = recipe_of(drawn), vocabulary(drawn.tokenizer, drawn.vocab_size)
        folder = folder_of(recipe, data_dir)
        known = SCHEMA, recipe, drawn.tokenizer, ids.size, ids.end_of_text
        try:
            with whole_folder(folder) as building:
                train = _entry(building, "train", train_tokens, ids.size)
                val = _entry(building, "val", val_tokens, ids.size)
                write_manifest(building, Manifest(*known, {}, train, val))
        except OSError:
            if not is_prepared(drawn, data_dir):
                raise
    return drawn


def _entry(folder: Path, name: SplitName, count: int, vocab_size: int) -> SplitEntry:
    seed = int(digest([name, count, vocab_size]), 16)
    writer = ShardWriter(folder, name)
    writer.write(np.random.default_rng(seed).integers(vocab_size, size=count, dtype=np.uint16))
    return SplitEntry(writer.close(), None, None)
