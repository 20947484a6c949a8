"""Text to shards: once, whole or not at all, and safe to ask for from many processes."""

import os
from pathlib import Path
from typing import Any

from common.errors import BadInput, StopRequested
from common.files import file_digest
from data.config import DataConfig
from data.manifest import SCHEMA, Manifest, read_manifest, write_manifest
from data.prepare import ready_shards
from data.prepare.build_directory import building_folder, publish, remove_leftovers
from data.prepare.progress import note
from data.prepare.recipe import find_folder, folder_of, is_complete, recipe_of
from data.prepare.sources import input_size
from data.prepare.splits import Written, write_splits
from data.prepare.workers import run_in_child
from data.tokenizer import TOKENIZER_FILE, load_encoder, vocabulary
from data.verification import check_shards

PARALLEL_BYTES = 20_000_000  # below, starting processes costs more than it saves


def prepare(
    config: DataConfig, data_dir: Path, fetch: bool = False, known: str | None = None
) -> Path:
    """The folder of `config`'s shards and manifest in `data_dir`, made if it is not there yet.

    Several processes may ask at once: each builds in a folder of its own and the first to finish
    gives it its name. Ready shards stay where they are; their folder holds links and a manifest.
    A data set of the hub is only fetched where `fetch` says so: no run waits hours for a download.
    Where the text is gone, what was prepared from it serves (`find_folder`, as for `known`).
    Raises BadInput for input that cannot be used, and then leaves nothing behind.
    """
    folder = find_folder(config, data_dir, known)
    if is_complete(folder):
        remove_leftovers(folder)
        try:
            recipe_of(config)
        except BadInput as error:
            why = str(error)
            if config.path is not None and not os.path.exists(config.path):
                why = f"data.path: {config.path} is gone"
            note(f"{why}; reading what was prepared from it, {folder}")
        return folder
    if config.is_of_the_hub and not fetch:
        assert config.hub is not None
        raise BadInput(
            f"data: {config.hub.name} is not prepared in {data_dir}; first run python -m "
            "data.prepare with the same experiment=, grid and data arguments where there is a "
            "network, or set data.path to a folder with a copy of its files, as under HF_HOME"
        )
    if config.tokenizer == "gpt2" and config.source != "shards":
        load_encoder("gpt2")  # refused, if at all, before anything is read or written
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"runtime.data_dir: {str(data_dir)!r}: {error}") from error
    if config.source == "shards":
        build_folder(config, data_dir)
        return folder
    large = config.is_of_the_hub or input_size(config) > PARALLEL_BYTES
    parallel = config.tokenizer != "bytes" and large
    if parallel or config.source == "hf" or config.tokenizer == "bpe":
        run_in_child(build_folder, config, data_dir, parallel)
    else:
        build_folder(config, data_dir)
    return folder


def fetch(config: DataConfig, data_dir: Path) -> str:
    """Prepare the data, from the hub too, check every id, and say where they are and how many."""
    try:
        folder = prepare(config, data_dir, fetch=True)
    except KeyboardInterrupt:
        raise StopRequested("the same command goes on, at most half a minute back") from None
    manifest = read_manifest(folder)
    check_shards(folder, manifest, full=True)
    skipped = ", ".join(f"{count} {reason}" for reason, count in manifest.skipped.items())
    return (
        f"{folder}: {manifest.train.tokens:,} training and {manifest.val.tokens:,} validation "
        f"tokens ({manifest.tokenizer})" + (f"; left out: {skipped}" if skipped else "")
    )


def build_folder(config: DataConfig, data_dir: Path, parallel: bool = False) -> None:
    """Make the folder, here and now; see `prepare`."""
    recipe = recipe_of(config)
    folder = folder_of(recipe, data_dir)
    try:
        with building_folder(folder) as building:
            if config.source == "shards":
                manifest = _link(config, recipe, building)
            else:
                written = write_splits(config, building, parallel)
                manifest = _manifest(config, recipe, building, written)
            write_manifest(building, manifest)
            publish(building, folder)
    except OSError as error:
        if not is_complete(folder):  # else another process was first
            raise BadInput(f"{error.filename or data_dir}: {error.strerror}") from error


def _link(config: DataConfig, recipe: dict[str, Any], folder: Path) -> Manifest:
    root = Path(recipe["path"])
    entries = ready_shards.link(root, folder)
    if config.tokenizer == "bpe":
        ready_shards.copy_tokenizer(config, root, folder)
    linked = _manifest(config, recipe, folder, Written(entries, {}, ()))
    return ready_shards.with_text_counts(linked, root)


def _manifest(
    config: DataConfig, recipe: dict[str, Any], folder: Path, written: Written
) -> Manifest:
    ids = vocabulary(config.tokenizer, config.vocab_size)
    return Manifest(
        schema=SCHEMA,
        recipe=recipe,
        tokenizer=config.tokenizer,
        vocab_size=ids.size,
        end_of_text=ids.end_of_text,
        skipped=written.skipped,
        invalid=written.invalid,
        tokenizer_sha256=file_digest(folder / TOKENIZER_FILE)
        if config.tokenizer == "bpe"
        else None,
        **written.entries,
    )
