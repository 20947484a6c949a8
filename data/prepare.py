"""Text to shards: once, whole or not at all, and safe to ask for from many processes."""

import os
import platform
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from configs.errors import BadInput, ExitStatus, StopRequested
from configs.files import digest
from configs.load import Arguments, build, run_entry
from data import bpe, linking
from data.apart import build_apart
from data.building import building_folder, publish
from data.config import DataConfig
from data.manifest import (
    MANIFEST_NAME,
    SCHEMA,
    Manifest,
    SplitEntry,
    SplitName,
    read_manifest,
    write_manifest,
)
from data.shards import file_digest, open_split, verify
from data.sources import input_files, input_size
from data.tokenizer import load_encoder, vocabulary
from data.tokenizing import tokenize

PARALLEL_BYTES = 20_000_000  # below, starting processes costs more than it saves


def prepare(config: DataConfig, data_dir: Path, fetch: bool = False) -> Path:
    """The folder of `config`'s shards and manifest in `data_dir`, made if it is not there yet.

    Several processes may ask at once: each builds in a folder of its own and the first to finish
    gives it its name. Ready shards stay where they are; their folder holds links and a manifest.
    A data set of the hub is only fetched where `fetch` says so: no run waits hours for a download.
    Raises BadInput for input that cannot be used, and then leaves nothing behind.
    """
    folder = _folder(config, data_dir)
    if _is_complete(folder):
        return folder
    if config.is_of_the_hub and not fetch:
        assert config.hub is not None
        raise BadInput(
            f"data: {config.hub.name} is not prepared in {data_dir}; first run python -m "
            "data.prepare with the same experiment= and data arguments where there is a network, "
            "or set data.path to a folder with a copy of its files, as under HF_HOME"
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
        build_apart(config, data_dir, parallel)
    else:
        build_folder(config, data_dir)
    return folder


def is_prepared(config: DataConfig, data_dir: Path) -> bool:
    """Whether `prepare` would find the data there; BadInput for an unusable path."""
    return _is_complete(_folder(config, data_dir))


def build_folder(config: DataConfig, data_dir: Path, parallel: bool = False) -> None:
    """Make the folder, here and now; see `prepare`."""
    recipe = _recipe(config)
    folder = _named(config, recipe, data_dir)
    try:
        with building_folder(folder) as building:
            if config.source == "shards":
                manifest = _link(config, recipe, building)
            else:
                manifest = _manifest(
                    config, recipe, building, *tokenize(config, building, parallel)
                )
            write_manifest(building, manifest)
            publish(building, folder)
    except OSError as error:
        if not _is_complete(folder):  # else another process was first
            raise BadInput(f"{error.filename or data_dir}: {error.strerror}") from error


def _folder(config: DataConfig, data_dir: Path) -> Path:
    try:
        return _named(config, _recipe(config), data_dir)
    except (OSError, ValueError) as error:  # a path too long, forbidden, or with a NUL
        raise BadInput(f"data.path: found {config.path!r}, expected a path: {error}") from error


def _named(config: DataConfig, recipe: dict[str, Any], data_dir: Path) -> Path:
    return data_dir / f"{config.source}-{config.tokenizer}-{digest(recipe)}"


def _is_complete(folder: Path) -> bool:
    return os.path.isfile(folder / MANIFEST_NAME)  # unlike Path's, False for any unusable path


def _recipe(config: DataConfig) -> dict[str, Any]:
    """Everything that decides the shards; equal recipes share a folder."""
    recipe = asdict(config)
    del recipe["max_epochs"]
    if config.tokenizer == "bpe":
        recipe["tokenizer_sample_bytes"] = bpe.SAMPLE_BYTES
    if config.source == "python":
        return recipe | {"python": platform.python_version()}
    if config.path is None:
        return recipe
    root = Path(config.path).resolve()
    files = linking.shard_files(root) if config.source == "shards" else input_files(config)
    listing = [
        (os.path.relpath(file.resolve(), root), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
    ]
    return recipe | {"path": str(root), "files": len(files), "listing": digest(listing)}


def _link(config: DataConfig, recipe: dict[str, Any], folder: Path) -> Manifest:
    root = Path(recipe["path"])
    entries = linking.link(root, folder)
    if config.tokenizer == "bpe":
        linking.copy_tokenizer(config, root, folder)
    return linking.with_text_counts(_manifest(config, recipe, folder, entries, {}), root)


def _manifest(
    config: DataConfig,
    recipe: dict[str, Any],
    folder: Path,
    entries: dict[SplitName, SplitEntry],
    skipped: dict[str, int],
) -> Manifest:
    ids = vocabulary(config.tokenizer, config.vocab_size)
    return Manifest(
        schema=SCHEMA,
        recipe=recipe,
        tokenizer=config.tokenizer,
        vocab_size=ids.size,
        end_of_text=ids.end_of_text,
        skipped=skipped,
        tokenizer_sha256=file_digest(folder / bpe.NAME) if config.tokenizer == "bpe" else None,
        **entries,
    )


def main(arguments: Arguments) -> int:
    """Prepare what the command line asks for and say where it is."""
    config, out = requested(arguments)
    try:
        folder = prepare(config, out, fetch=True)
    except KeyboardInterrupt:
        raise StopRequested("the same command goes on, at most half a minute back") from None
    manifest = read_manifest(folder)
    for name in ("train", "val"):
        verify(open_split(folder, manifest, name), manifest.vocab_size)
    skipped = ", ".join(f"{count} {reason}" for reason, count in manifest.skipped.items())
    print(
        f"{folder}: {manifest.train.tokens:,} training and {manifest.val.tokens:,} validation "
        f"tokens ({manifest.tokenizer})" + (f"; left out: {skipped}" if skipped else "")
    )
    return ExitStatus.DONE


def requested(arguments: Arguments) -> tuple[DataConfig, Path]:
    """The data of a run as train.py and sweep.py are told it, or a source with its own fields."""
    given = {line.lstrip("+~").partition("=")[0].partition(".")[0] for line in arguments.overrides}
    if given & {"experiment", "data", "runtime"}:
        run = Arguments("train", arguments.overrides, arguments.config_dir)
        values = run.compose(open_keys=("out",))
        out = Path(values.get("out") or values["runtime"]["data_dir"])
        return build(DataConfig, values["data"], "data"), out
    values = arguments.compose(path_keys=("out", "path"))
    out = Path(values.pop("out"))
    group = arguments.config_dir / "data" / f"{values['source']}.yaml"
    if not group.is_file():
        raise BadInput(f"source: found {values['source']!r}, expected python, files, hf or shards")
    typed = {key: value for key, value in values.items() if value is not None}
    defaults = yaml.safe_load(group.read_text(encoding="utf-8")) | {"path": None}
    return build(DataConfig, defaults | typed, "data"), out


if __name__ == "__main__":
    sys.exit(run_entry(main, "prepare", "Turn text into token shards."))
