"""Text to shards: once, whole or not at all, and safe to ask for from many processes.

Documents are divided by their own digest, so a text that occurs twice is never on both sides.
"""

import os
import platform
import shutil
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from hashlib import sha256
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from configs.errors import BadInput, ExitStatus
from configs.load import Arguments, build, run_entry
from data.config import DataConfig
from data.manifest import (
    MANIFEST_NAME,
    SCHEMA,
    Manifest,
    ShardEntry,
    SplitEntry,
    SplitName,
    content_digest,
    read_manifest,
    write_manifest,
)
from data.shards import Ids, ShardWriter, file_digest, open_shard, open_split, verify
from data.sources import Document, input_files, read_documents
from data.tokenizer import VOCABULARIES, load_encoder

PARALLEL_BYTES = 20_000_000  # below, starting processes costs more than it saves
TASK_BYTES = 1_000_000


def prepare(config: DataConfig, data_dir: Path) -> Path:
    """The folder of `config`'s shards and manifest in `data_dir`, made if it is not there yet.

    Several processes may ask at once: each builds in a folder of its own and the first to finish
    gives it its name. Ready shards stay where they are; their folder holds links and a manifest.
    Raises BadInput for input that cannot be used, and then leaves nothing behind.
    """
    recipe = _recipe(config)
    folder = data_dir / f"{config.source}-{config.tokenizer}-{content_digest(recipe)}"
    if (folder / MANIFEST_NAME).is_file():
        return folder
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=data_dir))
    except OSError as error:
        raise BadInput(f"runtime.data_dir: {data_dir}: {error.strerror}") from error
    try:
        building.chmod(0o755)  # other users of a shared folder read it too
        make = _link if config.source == "shards" else _tokenize
        write_manifest(building, make(config, recipe, building))
        building.rename(folder)
    except OSError as error:
        if not (folder / MANIFEST_NAME).is_file():  # else another process was first
            raise BadInput(f"{error.filename or folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def is_validation(utf8: bytes, val_fraction: float) -> bool:
    """Whether a document is held out: a fixed function of its text and the fraction."""
    return int.from_bytes(sha256(utf8).digest()[:8], "big") < val_fraction * 2**64


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
    return recipe | {"path": str(root), "files": len(files), "listing": content_digest(listing)}


def _tokenize(config: DataConfig, recipe: dict[str, Any], folder: Path) -> Manifest:
    load_encoder(config.tokenizer)  # before anything is read or started
    skipped: Counter[str] = Counter()
    splits: tuple[SplitName, SplitName] = ("train", "val")
    writers = {name: ShardWriter(folder, name) for name in splits}
    documents, text_bytes = Counter[str](), Counter[str]()
    separator = np.array([VOCABULARIES[config.tokenizer].end_of_text], dtype=np.uint16)
    size = sum(file.stat().st_size for file in input_files(config))
    parallel = config.tokenizer == "gpt2" and size > PARALLEL_BYTES
    encode = _encode_in_parallel if parallel else _encode_here
    for document, ids in encode(read_documents(config, skipped), config.tokenizer):
        name = splits[is_validation(document.utf8, config.val_fraction)]
        writers[name].write(np.concatenate([separator, ids]))
        documents[name] += 1
        text_bytes[name] += len(document.utf8)
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


def _encode_here(documents: Iterator[Document], tokenizer: str) -> Iterator[tuple[Document, Ids]]:
    for document in documents:
        try:
            yield document, load_encoder(tokenizer)(document.text)
        except ValueError as error:
            raise BadInput(f"{document.where}: found {error}") from error


def _encode_in_parallel(
    documents: Iterator[Document], tokenizer: str
) -> Iterator[tuple[Document, Ids]]:
    """The same in the same order by one process a core, a bounded number of tasks ahead."""
    workers = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pending: deque[tuple[list[Document], Future[list[Ids]]]] = deque()
    # spawn, not fork: the caller may hold threads or a GPU that a fork would break.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for task in _tasks(documents):
            texts = [document.text for document in task]
            pending.append((task, pool.submit(_encode_task, tokenizer, texts)))
            if len(pending) > 2 * (workers or 1):
                done, future = pending.popleft()
                yield from zip(done, future.result(), strict=True)
        for done, future in pending:
            yield from zip(done, future.result(), strict=True)


def _encode_task(tokenizer: str, texts: list[str]) -> list[Ids]:
    return [load_encoder(tokenizer)(text) for text in texts]


def _tasks(documents: Iterator[Document]) -> Iterator[list[Document]]:
    task: list[Document] = []
    size = 0
    for document in documents:
        task.append(document)
        size += len(document.utf8)
        if size >= TASK_BYTES:
            yield task
            task, size = [], 0
    if task:
        yield task


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
    shards: dict[SplitName, list[ShardEntry]] = {"train": [], "val": []}
    for path in _shard_files(Path(recipe["path"])):
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
    entries = {name: SplitEntry(tuple(shards[name]), None, None) for name in shards}
    return _manifest(config, recipe, {}, entries)


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
