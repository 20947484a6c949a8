"""Where a data set is kept: the recipe of its shards, whose digest names their folder."""

import os
import platform
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import digest
from data.config import DataConfig
from data.manifest import MANIFEST_NAME, read_manifest
from data.prepare import ready_shards
from data.prepare.documents import input_files
from data.prepare.train_bpe import SAMPLE_BYTES


def is_prepared(config: DataConfig, data_dir: Path, known: str | None = None) -> bool:
    """Whether `prepare` would find the data there; BadInput for an unusable path."""
    return is_complete(find_folder(config, data_dir, known))


def find_folder(config: DataConfig, data_dir: Path, known: str | None = None) -> Path:
    """Where the data of `config` are, or are to be; BadInput for text that is not there.

    Once prepared, the text need not stay: without it, the data of the digest `known` are meant, or
    else what was prepared last by this recipe from a text of this path.
    """
    try:
        return folder_of(recipe_of(config), data_dir)
    except BadInput:
        if folder := _prepared_before(config, data_dir, known):
            return folder
        raise


def is_absent(config: DataConfig, data_dir: Path) -> bool:
    """Whether neither shards nor text are here: no such path, or yet to be fetched from the hub."""
    with suppress(BadInput):
        if is_prepared(config, data_dir):
            return False
    return config.is_of_the_hub or (config.path is not None and not os.path.exists(config.path))


def prepared_with(config: DataConfig, tokens: int, data_dir: Path) -> DataConfig | None:
    """`config` as it is prepared in `data_dir` with so many training tokens or more, or None.

    All of the text comes first, else the smallest part that serves.
    """
    whole = replace(config, train_tokens=None)
    if is_prepared(whole, data_dir):
        return whole
    recipe, sizes = recipe_of(whole), set[int]()
    for path in data_dir.glob(f"{recipe['source']}-{recipe['tokenizer']}-*/{MANIFEST_NAME}"):
        with suppress(BadInput):  # of another recipe, or damaged: not ours to judge
            found = read_manifest(path.parent).recipe
            size = found.get("train_tokens") or 0
            if found == recipe | {"train_tokens": size} and size >= tokens:
                sizes.add(size)
    return replace(config, train_tokens=min(sizes)) if sizes else None


def is_complete(folder: Path) -> bool:
    """Whether the folder holds a data set; False for any unusable path."""
    return os.path.isfile(folder / MANIFEST_NAME)  # Path's own raises for some


def folder_of(recipe: dict[str, Any], data_dir: Path) -> Path:
    """The folder of the data of a recipe in `data_dir`."""
    return data_dir / f"{recipe['source']}-{recipe['tokenizer']}-{digest(recipe)}"


def recipe_of(config: DataConfig) -> dict[str, Any]:
    """Everything that decides the shards; equal recipes share a folder. BadInput for its path."""
    try:
        return _recipe(config)
    except (OSError, ValueError) as error:  # a path too long, forbidden, or with a NUL
        raise BadInput(f"data.path: found {config.path!r}, expected a path: {error}") from error


def _prepared_before(config: DataConfig, data_dir: Path, known: str | None) -> Path | None:
    if config.source == "shards":  # they are not copied: nothing is left without them
        return None
    by_recipe = None
    with suppress(OSError, ValueError):  # a path that can be none, which recipe_of refuses
        asked = _asked(config)
        found = data_dir.glob(f"{config.source}-{config.tokenizer}-*/{MANIFEST_NAME}")
        for path in sorted(found, key=lambda path: -path.stat().st_mtime_ns):
            with suppress(BadInput):
                manifest = read_manifest(path.parent)
                if manifest.digest == known:
                    return path.parent
                if by_recipe is None and _without_listing(manifest.recipe) == asked:
                    by_recipe = path.parent
    return by_recipe


def _without_listing(recipe: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in recipe.items() if key not in ("files", "listing")}


def _asked(config: DataConfig) -> dict[str, Any]:
    """The recipe without the state that the files of its text are in."""
    recipe = asdict(config)
    del recipe["max_epochs"], recipe["verify"], recipe["unique_tokens"]
    if not config.skip_invalid:
        del recipe["skip_invalid"]  # as before there was a choice
    if config.tokenizer == "bpe":
        recipe["tokenizer_sample_bytes"] = SAMPLE_BYTES
    if config.path is not None:
        recipe["path"] = os.path.realpath(config.path)
    return recipe


def _recipe(config: DataConfig) -> dict[str, Any]:
    recipe = _asked(config)
    if config.source == "python":
        return recipe | {"python": platform.python_version()}
    if config.path is None:
        return recipe
    root = Path(recipe["path"])
    files = ready_shards.shard_files(root) if config.source == "shards" else input_files(config)
    listing = [
        (
            os.path.relpath(os.path.realpath(file), root),
            file.stat().st_size,
            file.stat().st_mtime_ns,
        )
        for file in files
    ]
    return recipe | {"files": len(files), "listing": digest(listing)}
