"""Ready token shards as a data set: checked, digested and linked to, where they are."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

from common.errors import BadInput
from common.files import file_digest
from common.text import listed
from data.config import DataConfig
from data.manifest import (
    MANIFEST_NAME,
    Manifest,
    ShardEntry,
    SplitEntry,
    SplitName,
    compare,
    read_manifest,
)
from data.prepare.progress import note
from data.shards import open_shard
from data.tokenizer import TOKENIZER_FILE, load_encoding

SUFFIXES = (".bin", ".npy")
SPLIT_WORDS: dict[SplitName, set[str]] = {
    "train": {"train", "training"},
    "val": {"val", "valid", "validation"},
}


def shard_files(root: Path) -> list[Path]:
    """The shards of a folder, sorted; both splits must occur.

    They are its .bin and .npy files that have train or val as a word in their names; or, where none
    has, those of its folders that do. A split that has .bin files has no others: arrays beside them
    are the same tokens in another form, or no shards.
    """
    try:
        files = [path for path in _token_files(root) if _split_named(path)]
        if not files:
            folders = [path for path in root.glob("*/") if _split_named(path)]
            files = [path for folder in folders for path in _token_files(folder)]
    except OSError as error:
        raise BadInput(f"data.path: {root}: cannot be read: {error.strerror}") from error
    if root.is_file():
        raise BadInput(f"data.path: {root}: found a file, expected a folder, as {root.parent}")
    splits = {path: _split_of(path, root) for path in files}
    in_bin = {split for path, split in splits.items() if path.suffix == SUFFIXES[0]}
    for name in SPLIT_WORDS:
        if name not in splits.values():
            found = f"none with the word {name} in its name" if root.is_dir() else "no such folder"
            raise BadInput(
                f"data.path: {root}: found {found}, expected .bin or .npy files such as "
                "fineweb_train_000001.bin and fineweb_val_000000.bin, or folders train and val"
            )
    return sorted(
        p for p, split in splits.items() if p.suffix == SUFFIXES[0] or split not in in_bin
    )


def link(root: Path, folder: Path) -> dict[SplitName, SplitEntry]:
    """Check the shards of `root`, digest them and link to them from `folder`."""
    shards: dict[SplitName, list[ShardEntry]] = {"train": [], "val": []}
    files = shard_files(root)
    if aside := [path.name for path in _token_files(root) if path not in files]:
        why = "by their names neither train nor val, or arrays beside .bin files"
        note(f"left aside, {why}: {listed(sorted(aside))}")
    for path in files:
        name = _free_name("_".join(path.relative_to(root).parts), folder)
        entry = ShardEntry(name, open_shard(path).n_tokens, file_digest(path))
        shards[_split_of(path, root)].append(entry)
        (folder / name).symlink_to(path)
    trained = {entry.sha256: entry.name for entry in shards["train"]}
    for entry in shards["val"]:
        if entry.sha256 in trained:
            raise BadInput(
                f"data.path: found the same content in {entry.name} and {trained[entry.sha256]}, "
                "expected a validation split that is not trained on"
            )
    return {name: SplitEntry(tuple(shards[name]), None, None) for name in shards}


def _free_name(name: str, folder: Path) -> str:
    """`name`, or a number before it where train_a/0.bin and train/a_0.bin would have the same.

    Before it, since a shard without a header is known by the end of its name.
    """
    names = (name, *(f"{count}-{name}" for count in range(2, len(os.listdir(folder)) + 3)))
    return next(free for free in names if not os.path.lexists(folder / free))


def copy_tokenizer(config: DataConfig, root: Path, folder: Path) -> None:
    """Bring the file of a trained tokenizer along; BadInput if it has another size."""
    size = load_encoding(root).n_vocab
    if size != config.vocab_size:
        raise BadInput(f"data.vocab_size: found {config.vocab_size}, expected {size} of {root}")
    shutil.copyfile(root / TOKENIZER_FILE, folder / TOKENIZER_FILE)


def with_text_counts(manifest: Manifest, root: Path) -> Manifest:
    """The manifest with the text counts of the one beside the shards, where there is one."""
    if not (root / MANIFEST_NAME).is_file():
        return manifest
    made = read_manifest(root)  # shards that were prepared elsewhere
    if difference := compare(made, manifest):
        raise BadInput(f"{root / MANIFEST_NAME}: {difference}")
    return replace(
        manifest, skipped=made.skipped, invalid=made.invalid, train=made.train, val=made.val
    )


def _token_files(folder: Path) -> list[Path]:
    return [path for path in folder.glob("*.*") if path.suffix in SUFFIXES and path.is_file()]


def _split_of(path: Path, root: Path) -> SplitName:
    """The split of a shard: the file or else its folder names it, and they must not differ."""
    named = [_split_named(path)] if path.parent == root else map(_split_named, (path, path.parent))
    [split, *others] = {split for split in named if split}
    if others:
        raise BadInput(f"{path}: found both train and val in its path, expected one of them")
    return split


def _split_named(path: Path) -> SplitName | None:
    """The split whose word is one of the words of a name, which anything but letters parts."""
    words = set(re.findall("[a-z]+", path.stem.lower()))
    found = [split for split, names in SPLIT_WORDS.items() if words & names]
    if len(found) > 1:
        raise BadInput(f"{path}: found both train and val in its name, expected one of them")
    return found[0] if found else None
