"""Text becomes shards once, whole or not at all, and the same from any number of processes."""

import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import SPLITS, ids_of, prepare_command, tiny_corpus

import data.prepare
import data.tokenizing
from configs.errors import BadInput
from data.config import DataConfig
from data.manifest import compare, read_manifest
from data.prepare import prepare
from data.shards import open_split, verify, verify_digests
from data.sources import read_documents
from data.tokenizer import vocabulary
from data.tokenizing import is_validation


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def test_every_document_stands_after_a_separator_in_its_split(corpus, tmp_path) -> None:
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
        verify(open_split(folder, manifest, name), 256)
    verify_digests(folder, manifest)


def test_the_share_held_out_is_the_fraction() -> None:
    held_out = [is_validation(str(number).encode(), 0.05) for number in range(20_000)]
    assert abs(np.mean(held_out) - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 20_000)


def test_a_growing_fraction_only_adds_documents() -> None:
    texts = [str(number).encode() for number in range(1000)]
    small, large = ({t for t in texts if is_validation(t, share)} for share in (0.1, 0.3))
    assert small < large


def test_prepared_data_is_left_alone(corpus: DataConfig, tmp_path: Path) -> None:
    folder = prepare(corpus, tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare(replace(corpus, max_epochs=4), tmp_path / "out") == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_another_recipe_is_another_folder(corpus: DataConfig, tmp_path: Path) -> None:
    folders = {prepare(corpus, tmp_path / "out")}
    folders.add(prepare(replace(corpus, val_fraction=0.3), tmp_path / "out"))
    with (tmp_path / "corpus" / "a.jsonl").open("a") as file:
        file.write('\n{"text": "one more"}')
    folders.add(prepare(corpus, tmp_path / "out"))
    assert len(folders) == 3


def test_the_same_text_elsewhere_is_the_same_data(corpus: DataConfig, tmp_path: Path) -> None:
    first = read_manifest(prepare(corpus, tmp_path / "out"))
    (tmp_path / "corpus").rename(tmp_path / "moved")
    moved = replace(corpus, path=str(tmp_path / "moved"))
    second = read_manifest(prepare(moved, tmp_path / "other"))
    assert second.digest == first.digest
    assert compare(first, second) is None


@pytest.mark.parametrize(("share", "empty"), [(1e-9, "val"), (1 - 1e-9, "train")])
def test_a_large_corpus_without_a_split_is_refused(
    corpus, tmp_path, monkeypatch, share, empty
) -> None:
    monkeypatch.setattr(data.tokenizing, "SMALL_CORPUS_BYTES", 0)
    with pytest.raises(BadInput, match=f"data.val_fraction: .* of 200 documents .* the {empty} "):
        prepare(replace(corpus, val_fraction=share), tmp_path / "out")


@pytest.mark.parametrize("name", ["file/out", "x" * 300, "nul\0"])
def test_a_path_that_cannot_be_is_refused(corpus, tmp_path, name) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="runtime.data_dir: "):
        prepare(corpus, tmp_path / name)
    for source in ("files", "shards"):
        with pytest.raises(BadInput, match="data.path: "):
            prepare(replace(corpus, source=source, path=str(tmp_path / name)), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "file"]


def test_the_command_takes_defaults_from_the_group_of_its_source(tmp_path, corpus) -> None:
    for arguments, status, text in [
        (("source=files", "tokenizer=bytes"), 2, "data.path: found None, expected a path"),
        (("source=web",), 2, "source: found 'web', expected python, files, hf or shards"),
        (("sauce=files",), 2, "sauce: unknown key; did you mean source?"),
        (("source=files", f"path={corpus.path}", "tokenizer=bytes", "val_fraction=0.2"), 0, ""),
    ]:
        result = subprocess.run(
            prepare_command(*arguments, f"out={tmp_path / 'out'}"), capture_output=True, text=True
        )
        assert result.returncode == status
        assert text in result.stderr
        assert result.stderr.count("\n") == (status == 2)


def test_the_library_of_this_interpreter_is_a_corpus(tmp_path: Path) -> None:
    config = DataConfig("python", None, "bytes", val_fraction=0.05, max_epochs=1)
    folder = prepare(config, tmp_path)
    manifest = read_manifest(folder)
    assert manifest.train.tokens > 5_000_000
    assert 0.02 < manifest.val.tokens / manifest.train.tokens < 0.1
    for name in SPLITS:
        verify(open_split(folder, manifest, name), vocabulary("bytes").size)


@pytest.mark.needs_reference
def test_the_reference_corpus_has_its_published_counts(tmp_path, data_dir, monkeypatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    path = str(data_dir / "corpus" / "val.jsonl.xz")
    config = DataConfig("files", path, "gpt2", val_fraction=0.1, max_epochs=1)
    serial = read_manifest(prepare(config, tmp_path / "serial"))
    splits = (serial.train, serial.val)
    assert sum(split.documents or 0 for split in splits) == 99
    assert sum(split.text_bytes or 0 for split in splits) == 3_120_151
    assert sum(split.tokens for split in splits) == 795_372 + 99
    monkeypatch.setattr(data.prepare, "PARALLEL_BYTES", 0)
    assert read_manifest(prepare(config, tmp_path / "parallel")) == serial


def test_a_few_documents_are_divided_whatever_the_fraction(tmp_path: Path) -> None:
    folder = tmp_path / "text"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.txt").write_text(f"document {number}\n")
    config = DataConfig("files", str(folder), "bytes", 0.0001, 1)
    few = read_manifest(prepare(config, tmp_path / "few"))
    assert (few.train.documents, few.val.documents) == (2, 1)
    many = read_manifest(prepare(replace(config, val_fraction=0.9999), tmp_path / "many"))
    assert (many.train.documents, many.val.documents) == (1, 2)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "found no text"),
        ("a", "found one document"),
        ("a " * 9000, "found one document.*of several lines and over 8 kB"),
    ],
)
def test_what_cannot_be_divided_is_refused(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(BadInput, match=found):
        prepare(DataConfig("files", str(path), "bytes", 0.01, 1), tmp_path / "shards")


def test_the_command_prepares_what_an_experiment_trains_on(corpus, tmp_path) -> None:
    out = tmp_path / "out"
    given = ["data=files", f"data.path={corpus.path}", "data.tokenizer=bytes"]
    done = subprocess.run(
        prepare_command("experiment=smoke", *given, f"runtime.data_dir={out}"),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    [folder] = out.iterdir()
    assert prepare(replace(corpus, val_fraction=0.01), out) == folder
    assert list(out.iterdir()) == [folder]
    wrong = subprocess.run(prepare_command("experiment=smoke", "source=files"), capture_output=True)
    assert wrong.returncode == 2 and b"source: unknown key" in wrong.stderr
