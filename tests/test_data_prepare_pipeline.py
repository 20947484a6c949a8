"""Text becomes shards once, whole or not at all, and the same from any number of processes."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import data.prepare.pipeline
import data.prepare.splits
from common.errors import BadInput
from data.config import DataConfig
from data.manifest import compare, read_manifest
from data.prepare import prepare
from data.prepare.sources import read_documents
from data.prepare.splits import is_validation
from data.tokenizer import vocabulary
from data.verification import check_shards
from tests.support.tiny_corpus import SPLITS, ids_of, tiny_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def test_prepare_puts_each_document_after_a_separator_in_its_split(corpus, tmp_path) -> None:
    folder = prepare(corpus, tmp_path / "out")
    manifest = read_manifest(folder)
    documents = list(read_documents(corpus, Counter()))
    for name in SPLITS:
        here = [d for d in documents if is_validation(d.utf8, 0.2) == (name == "val")]
        expected = b"".join(b"\0" + document.utf8 for document in here)
        assert ids_of(folder, manifest, name).astype(np.uint8).tobytes() == expected
        entry = manifest.split(name)
        assert entry.documents == len(here) > 0
        assert entry.text_bytes == len(expected) - len(here)
    check_shards(folder, manifest, full=True)


def test_prepare_leaves_prepared_data_alone(corpus: DataConfig, tmp_path: Path) -> None:
    folder = prepare(corpus, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare(replace(corpus, max_epochs=4), tmp_path / "out") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_prepare_makes_a_folder_for_each_recipe(corpus: DataConfig, tmp_path: Path) -> None:
    """Another recipe is another folder."""
    folders = {prepare(corpus, tmp_path / "out")}
    folders.add(prepare(replace(corpus, val_fraction=0.3), tmp_path / "out"))
    with (tmp_path / "corpus" / "a.jsonl").open("a") as file:
        file.write('\n{"text": "one more"}')
    folders.add(prepare(corpus, tmp_path / "out"))
    assert len(folders) == 3


def test_prepare_gives_the_same_digest_to_text_that_moved(
    corpus: DataConfig, tmp_path: Path
) -> None:
    """The same text elsewhere is the same data."""
    first = read_manifest(prepare(corpus, tmp_path / "out"))
    (tmp_path / "corpus").rename(tmp_path / "moved")
    moved = replace(corpus, path=str(tmp_path / "moved"))
    second = read_manifest(prepare(moved, tmp_path / "other"))
    assert second.digest == first.digest
    assert compare(first, second) is None


@pytest.mark.parametrize("name", ["file/out", "x" * 300, "nul\0"])
def test_prepare_refuses_an_impossible_path(corpus, tmp_path, name) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="runtime.data_dir: "):
        prepare(corpus, tmp_path / name)
    for source in ("files", "shards"):
        with pytest.raises(BadInput, match="data.path: "):
            prepare(replace(corpus, source=source, path=str(tmp_path / name)), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "file"]


def test_prepare_takes_the_standard_library(tmp_path: Path) -> None:
    """The library of this interpreter is a corpus."""
    config = DataConfig("python", None, "bytes", val_fraction=0.05, max_epochs=1)
    folder = prepare(config, tmp_path)
    manifest = read_manifest(folder)
    assert manifest.train.tokens > 5_000_000
    assert 0.02 < manifest.val.tokens / manifest.train.tokens < 0.1
    assert manifest.vocab_size == vocabulary("bytes").size
    check_shards(folder, manifest)


@pytest.mark.needs_reference
def test_prepare_counts_the_reference_corpus_as_published(tmp_path, data_dir, monkeypatch) -> None:
    """The reference corpus has its published counts."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    path = str(data_dir / "corpus" / "val.jsonl.xz")
    config = DataConfig("files", path, "gpt2", val_fraction=0.1, max_epochs=1)
    serial = read_manifest(prepare(config, tmp_path / "serial"))
    splits = (serial.train, serial.val)
    assert sum(split.documents or 0 for split in splits) == 99
    assert sum(split.text_bytes or 0 for split in splits) == 3_120_151
    assert sum(split.tokens for split in splits) == 795_372 + 99
    monkeypatch.setattr(data.prepare.pipeline, "PARALLEL_BYTES", 0)
    assert read_manifest(prepare(config, tmp_path / "parallel")) == serial
