"""Both splits are written once, whoever is killed between, and divided by each document alone."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import data.prepare.splits
from common.errors import BadInput
from data.config import DataConfig
from data.manifest import read_manifest
from data.prepare import prepare
from data.prepare.sources import read_documents
from data.prepare.splits import is_validation, threshold
from tests.support.tiny_corpus import tiny_corpus

TEXTS = [f"Document {n}: " + "wörd " * (n % 97) for n in range(600)]


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


KILLED = """
import os, sys, data.prepare.pipeline as p, data.prepare.splits as t
from pathlib import Path
from data.config import DataConfig
add, seen = t._Splits.add, []

def add_and_die(state, document, ids):
    t.SAVE_S = 1e9 if (len(seen) + 1) % 25 else -1  # noted after each 25 documents
    add(state, document, ids)
    seen.append(document)
    if len(seen) == int(sys.argv[3]):
        for writer in state._writers.values():
            if sys.argv[4] == "torn":
                writer.write(ids)  # written after the progress was noted
                writer.flush()
        os.kill(os.getpid(), 9)

t._Splits.add = add_and_die
config = DataConfig("files", sys.argv[1], "bytes", 0.2, 1)
p.build_folder(config, Path(sys.argv[2]))
print(len(seen))
"""


@pytest.mark.parametrize("end", ["clean", "torn"])
def test_write_splits_goes_on_after_a_kill(tmp_path: Path, end: str) -> None:
    """Killed and continued is never killed."""
    folder = tmp_path / "text"
    folder.mkdir()
    for name, texts in (("a", TEXTS[:290]), ("b", TEXTS[290:291]), ("c", TEXTS[291:])):
        rows = (json.dumps({"text": text}) for text in texts)
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    config = DataConfig("files", str(folder), "bytes", 0.2, 1)
    expected = read_manifest(prepare(config, tmp_path / "undisturbed"))
    out = tmp_path / "out"
    out.mkdir()

    def run(documents: int) -> subprocess.CompletedProcess[str]:
        words = [str(folder), str(out), str(documents), end]
        return subprocess.run(
            [sys.executable, "-c", KILLED, *words], capture_output=True, text=True
        )

    for documents in (30, 310, 175, 10):  # in the first file, over the second, in the last
        assert run(documents).returncode == -9
        assert len(list(out.iterdir())) == 1
    last = run(10_000)
    assert (last.returncode, last.stdout) == (0, f"{600 - 25 - 300 - 175}\n"), last.stderr
    [made] = out.iterdir()
    assert read_manifest(made) == expected
    assert sorted(path.name for path in made.iterdir()) == [
        "manifest.json",
        "train_000000.bin",
        "val_000000.bin",
    ]


def test_write_splits_stops_at_train_tokens(tmp_path: Path) -> None:
    """Reading stops at the training tokens asked for."""
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    config = DataConfig("files", str(tmp_path), "bytes", None, 1, val_tokens=900, train_tokens=5000)
    manifest = read_manifest(prepare(config, tmp_path / "out"))
    assert 900 <= manifest.val.tokens < 900 + 700
    assert 5000 <= manifest.train.tokens < 5000 + 700


def test_is_validation_holds_out_the_fraction() -> None:
    held_out = [is_validation(str(number).encode(), 0.05) for number in range(20_000)]
    assert abs(np.mean(held_out) - 0.05) < 5 * np.sqrt(0.05 * 0.95 / 20_000)


def test_is_validation_only_adds_documents_as_the_fraction_grows() -> None:
    texts = [str(number).encode() for number in range(1000)]
    small, large = ({t for t in texts if is_validation(t, share)} for share in (0.1, 0.3))
    assert small < large


@pytest.mark.parametrize("megabytes", [1, 9])
def test_threshold_divides_four_documents_of_any_size(tmp_path: Path, megabytes: int) -> None:
    """4 MB and 36 MB of four documents are divided in the same way."""
    for number in range(4):
        (tmp_path / f"{number}.txt").write_text(f"{number} abcdefgh \n" * (83_000 * megabytes))
    config = DataConfig("files", str(tmp_path), "bytes", 0.01, 1)
    manifest = read_manifest(prepare(config, tmp_path / "out"))
    assert (manifest.train.documents, manifest.val.documents) == (3, 1)


def test_threshold_reads_no_further_than_both_splits_have_a_text(tmp_path, monkeypatch) -> None:
    """Of a large corpus, and of one that is streamed, only the beginning is read twice."""
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    config = DataConfig("files", str(tmp_path), "bytes", 0.2, 1)
    seen = []

    def counted(*arguments):
        for document in read_documents(*arguments):
            seen.append(document)
            yield document

    monkeypatch.setattr(data.prepare.splits, "read_documents", counted)
    assert threshold(config) == 0.2 * 2**64
    assert 2 <= len(seen) < 40
    assert len({is_validation(document.utf8, 0.2) for document in seen}) == 2


def test_write_splits_with_train_tokens_reads_until_a_text_is_held_out(tmp_path: Path) -> None:
    """Few training tokens do not leave the validation split empty."""
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    held_out = [is_validation(text.encode(), 0.02) for text in TEXTS]
    config = DataConfig("files", str(tmp_path), "bytes", 0.02, 1, train_tokens=10)
    manifest = read_manifest(prepare(config, tmp_path / "out"))
    assert held_out.index(True) > 1
    assert (manifest.train.documents, manifest.val.documents) == (held_out.index(True), 1)


def test_threshold_divides_a_few_documents_whatever_the_fraction(tmp_path: Path) -> None:
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
def test_threshold_refuses_what_cannot_be_divided(tmp_path: Path, text: str, found: str) -> None:
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(BadInput, match=found):
        prepare(DataConfig("files", str(path), "bytes", 0.01, 1), tmp_path / "shards")
