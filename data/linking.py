"""Ready token shards as a data set: checked, digested and linked to, where they are."""

import shutil
from dataclasses import replace
from pathlib import Path

from configs.errors import BadInput
from data.bpe import NAME, load_encoding
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
from data.shards import file_digest, open_shard


def shard_files(root: Path) -> list[Path]:
    """The *.bin files of a folder whose names say train or val, sorted; both must occur."""
    files = sorted(path for path in root.glob("*.bin") if path.is_file() and _split_of(path))
    for name in ("train", "val"):
        if not any(_split_of(path) == name for path in files):
            found = f"no *{name}*.bin in it" if root.is_dir() else "no such folder"
            raise BadInput(f"data.path: {root}: found {found}, expected token shards")
    return files


def link(root: Path, folder: Path) -> dict[SplitName, SplitEntry]:
    """Check the shards of `root`, digest them and link to them from `folder`."""
    shards: dict[SplitName, list[ShardEntry]] = {"train": [], "val": []}
    for path in shard_files(root):
        entry = ShardEntry(path.name, open_shard(path).n_tokens, file_digest(path))
        shards["train" if _split_of(path) == "train" else "val"].append(entry)
        (folder / path.name).symlink_to(path)
    trained = {entry.sha256: entry.name for entry in shards["train"]}
    for entry in shards["val"]:
        if entry.sha256 in trained:
            raise BadInput(
                f"data.path: found the same content in {entry.name} and {trained[entry.sha256]}, "
                "expected a validation split that is not trained on"
            )
    return {name: SplitEntry(tuple(shards[name]), None, None) for name in shards}


def copy_tokenizer(config: DataConfig, root: Path, folder: Path) -> None:
    """Bring the file of a learnt tokenizer along; BadInput if it has another size."""
    size = load_encoding(root).n_vocab
    if size != config.vocab_size:
        raise BadInput(f"data.vocab_size: found {config.vocab_size}, expected {size} of {root}")
    shutil.copyfile(root / NAME, folder / NAME)


def with_text_counts(manifest: Manifest, root: Path) -> Manifest:
    """The manifest with the text counts of the one beside the shards, where there is one."""
    if not (root / MANIFEST_NAME).is_file():
        return manifest
    made = read_manifest(root)  # shards that were prepared elsewhere
    if difference := compare(made, manifest):
        raise BadInput(f"{root / MANIFEST_NAME}: {difference}")
    return replace(manifest, skipped=made.skipped, train=made.train, val=made.val)


def _split_of(path: Path) -> SplitName | None:
    train, val = "train" in path.name, "val" in path.name
    if train and val:
        raise BadInput(f"{path}: found both train and val in its name, expected one of them")
    return "train" if train else "val" if val else None
