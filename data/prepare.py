"""Text to shards: once, whole or not at all, and safe to ask for from many processes.

Documents are divided by their own digest, so a text that occurs twice is never on both sides.
"""

import fcntl
import os
import platform
import shutil
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from configs.errors import BadInput, ExitStatus
from configs.files import digest
from configs.load import Arguments, build, run_entry
from data.config import DataConfig
from data.manifest import (
    MANIFEST_NAME,
    SCHEMA,
    Manifest,
    ShardEntry,
    SplitEntry,
    SplitName,
    compare,
    read_manifest,
    write_manifest,
)
from data.shards import ShardWriter, file_digest, open_shard, open_split, verify
from data.sources import input_files, read_documents
from data.tokenizer import VOCABULARIES, encode_here, encode_in_parallel, load_encoder

PARALLEL_BYTES = 20_000_000  # below, starting processes costs more than it saves
SMALL_CORPUS_BYTES = 32_000_000  # read once more beforehand, in a fraction of a second
ABANDONED_S = 60.0
PROGRESS_S = 10.0


def prepare(config: DataConfig, data_dir: Path) -> Path:
    """The folder of `config`'s shards and manifest in `data_dir`, made if it is not there yet.

    Several processes may ask at once: each builds in a folder of its own and the first to finish
    gives it its name. Ready shards stay where they are; their folder holds links and a manifest.
    Raises BadInput for input that cannot be used, and then leaves nothing behind.
    """
    try:
        recipe = _recipe(config)
    except (OSError, ValueError) as error:  # a path too long, forbidden, or with a NUL
        raise BadInput(f"data.path: found {config.path!r}, expected a path: {error}") from error
    folder = data_dir / f"{config.source}-{config.tokenizer}-{digest(recipe)}"
    if _is_complete(folder):
        return folder
    if config.source != "shards":
        load_encoder(config.tokenizer)  # refused, if at all, before anything is read or written
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise BadInput(f"runtime.data_dir: {str(data_dir)!r}: {error}") from error
    try:
        with _building_folder(folder) as building:
            make = _link if config.source == "shards" else _tokenize
            write_manifest(building, make(config, recipe, building))
            building.rename(folder)
    except OSError as error:
        if not _is_complete(folder):  # else another process was first
            raise BadInput(f"{error.filename or data_dir}: {error.strerror}") from error
    return folder


def is_validation(utf8: bytes, val_fraction: float) -> bool:
    """Whether a document is held out: a fixed function of its text and the fraction."""
    return _place(utf8) < val_fraction * 2**64


def _place(utf8: bytes) -> int:
    """Where a text stands between 0 and 2^64; the lowest are held out."""
    return int.from_bytes(sha256(utf8).digest()[:8], "big")


def _threshold(config: DataConfig) -> float:
    """The place below which texts are held out; moved for a small corpus so that some are.

    BadInput for a corpus that cannot be divided.
    """
    threshold = config.val_fraction * 2**64
    if sum(file.stat().st_size for file in input_files(config)) > SMALL_CORPUS_BYTES:
        return threshold
    places = {_place(document.utf8) for document in read_documents(config, Counter())}
    if not places:
        raise BadInput(f"data.path: {config.path}: found no text, expected at least two documents")
    if len(places) == 1:
        raise BadInput(
            f"data.path: {config.path}: found one document, expected at least two, one to hold "
            "out; give more, or one .txt of over 8 kB, which is cut into several"
        )
    return min(max(threshold, min(places) + 1), max(places))


@contextmanager
def _building_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` to build it in, removed at the end unless renamed.

    It is locked while its process lives; those of this host that nobody holds any more, left by
    processes that were killed, are removed.
    """
    prefix = f".{folder.name}.{socket.gethostname()}."
    for other in folder.parent.glob(f"{prefix}*"):
        # Held, or removed by another process, is an OSError. Between making and locking a folder
        # there is a moment, which the age bridges.
        with suppress(OSError):
            if time.time() - other.stat().st_mtime > ABANDONED_S:
                _remove_unheld(other)
    building = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    descriptor = os.open(building, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks: there nothing is ever abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        building.chmod(0o755)  # other users of a shared folder read it too
        yield building
    finally:
        shutil.rmtree(building, ignore_errors=True)
        os.close(descriptor)


def _remove_unheld(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)


def _is_complete(folder: Path) -> bool:
    return os.path.isfile(folder / MANIFEST_NAME)  # unlike Path's, False for any unusable path


def _recipe(config: DataConfig) -> dict[str, Any]:
    """Everything that decides the shards; equal recipes share a folder."""
    recipe = asdict(config)
    del recipe["max_epochs"]
    if config.source == "python":
        return recipe | {"python": platform.python_version()}
    assert config.path is not None
    root = Path(config.path).resolve()
    files = input_files(config) if config.source == "files" else _shard_files(root)
    listing = [
        (os.path.relpath(file.resolve(), root), file.stat().st_size, file.stat().st_mtime_ns)
        for file in files
    ]
    return recipe | {"path": str(root), "files": len(files), "listing": digest(listing)}


def _tokenize(config: DataConfig, recipe: dict[str, Any], folder: Path) -> Manifest:
    skipped: Counter[str] = Counter()
    splits: tuple[SplitName, SplitName] = ("train", "val")
    writers = {name: ShardWriter(folder, name) for name in splits}
    documents, text_bytes = Counter[str](), Counter[str]()
    threshold = _threshold(config)
    separator = np.array([VOCABULARIES[config.tokenizer].end_of_text], dtype=np.uint16)
    size = sum(file.stat().st_size for file in input_files(config))
    parallel = config.tokenizer == "gpt2" and size > PARALLEL_BYTES
    encode = encode_in_parallel if parallel else encode_here
    said = time.monotonic()
    for document, ids in encode(read_documents(config, skipped), config.tokenizer):
        name = splits[_place(document.utf8) < threshold]
        writers[name].write(np.concatenate([separator, ids]))
        documents[name] += 1
        text_bytes[name] += len(document.utf8)
        if time.monotonic() - said > PROGRESS_S:
            said = time.monotonic()
            print(f"data: {text_bytes.total() / 1e6:,.0f} MB of text prepared", file=sys.stderr)
    for name in splits:
        if not documents[name]:
            raise BadInput(
                f"data.val_fraction: {config.val_fraction} of {documents.total()} documents left "
                f"none for the {name} split, expected at least one; change it or give more text"
            )
    entries = {
        name: SplitEntry(writers[name].close(), documents[name], text_bytes[name])
        for name in splits
    }
    return _manifest(config, recipe, dict(skipped), entries)


def _shard_files(root: Path) -> list[Path]:
    """The *.bin files of a folder whose names say train or val, sorted; both must occur."""
    files = sorted(path for path in root.glob("*.bin") if path.is_file() and _split_of(path))
    for name in ("train", "val"):
        if not any(_split_of(path) == name for path in files):
            raise BadInput(f"data.path: {root}: found no *{name}*.bin, expected token shards")
    return files


def _split_of(path: Path) -> SplitName | None:
    train, val = "train" in path.name, "val" in path.name
    if train and val:
        raise BadInput(f"{path}: found both train and val in its name, expected one of them")
    return "train" if train else "val" if val else None


def _link(config: DataConfig, recipe: dict[str, Any], folder: Path) -> Manifest:
    """Check ready shards, digest them and link to them."""
    root = Path(recipe["path"])
    shards: dict[SplitName, list[ShardEntry]] = {"train": [], "val": []}
    for path in _shard_files(root):
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
    manifest = _manifest(
        config, recipe, {}, {name: SplitEntry(tuple(shards[name]), None, None) for name in shards}
    )
    if not (root / MANIFEST_NAME).is_file():
        return manifest
    made = read_manifest(root)  # shards that were prepared elsewhere bring their text counts
    if difference := compare(made, manifest):
        raise BadInput(f"{root / MANIFEST_NAME}: {difference}")
    return replace(manifest, skipped=made.skipped, train=made.train, val=made.val)


def _manifest(
    config: DataConfig,
    recipe: dict[str, Any],
    skipped: dict[str, int],
    entries: dict[SplitName, SplitEntry],
) -> Manifest:
    vocabulary = VOCABULARIES[config.tokenizer]
    return Manifest(
        schema=SCHEMA,
        recipe=recipe,
        tokenizer=config.tokenizer,
        vocab_size=vocabulary.size,
        end_of_text=vocabulary.end_of_text,
        skipped=skipped,
        **entries,
    )


def main(arguments: Arguments) -> int:
    """Prepare what the command line asks for and say where it is."""
    values = arguments.compose(path_keys=("out", "path"))
    out = Path(values.pop("out"))
    group = arguments.config_dir / "data" / f"{values['source']}.yaml"
    if not group.is_file():
        raise BadInput(f"source: found {values['source']!r}, expected python, files or shards")
    given = {key: value for key, value in values.items() if value is not None}
    defaults = yaml.safe_load(group.read_text(encoding="utf-8")) | {"path": None}
    config = build(DataConfig, defaults | given, "data")
    folder = prepare(config, out)
    manifest = read_manifest(folder)
    for name in ("train", "val"):
        verify(open_split(folder, manifest, name), manifest.vocab_size)
    skipped = ", ".join(f"{count} {reason}" for reason, count in manifest.skipped.items())
    print(
        f"{folder}: {manifest.train.tokens:,} training and {manifest.val.tokens:,} validation "
        f"tokens ({manifest.tokenizer})" + (f"; left out: {skipped}" if skipped else "")
    )
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(run_entry(main, "prepare", "Turn text into token shards."))
