"""Every document once, in one order, and whatever is no text refused by file and line."""

import lzma
import os
from collections import Counter
from pathlib import Path

import pytest

from common.errors import BadInput
from data.config import DataConfig
from data.prepare import documents as listing
from data.prepare.sources import PIECE_BYTES, read_documents


def files(path: Path) -> DataConfig:
    return DataConfig("files", str(path), "bytes", val_fraction=0.1, max_epochs=1)


def texts(config: DataConfig) -> list[str]:
    return [document.text for document in read_documents(config, Counter())]


def test_read_documents_follows_the_order_of_names(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "1.txt").write_text("third\n")
    (tmp_path / "c.jsonl").write_text('{"text": "fourth"}\n\n{"id": 7, "text": "fifth \\u00e9"}\n')
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress("first ü\r\n".encode()))
    (tmp_path / "a2.jsonl.xz").write_bytes(lzma.compress(b'{"text": "second"}'))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert texts(files(tmp_path)) == ["first ü\r\n", "second", "third\n", "fourth", "fifth é"]


def test_read_documents_does_not_follow_the_order_of_the_folder(tmp_path, monkeypatch) -> None:
    for name in "dbca":
        (tmp_path / f"{name}.txt").write_text(name)
    walk = os.walk
    monkeypatch.setattr(
        os, "walk", lambda top: ((f, s, sorted(n, reverse=True)) for f, s, n in walk(top))
    )
    assert texts(files(tmp_path)) == list("abcd")


def test_read_documents_cuts_a_lone_text_file_at_line_ends(tmp_path: Path) -> None:
    text = "".join(f"line {number}\n" for number in range(30_000))
    path = tmp_path / "book.txt"
    path.write_text(text)
    pieces = list(read_documents(files(path), Counter()))
    assert "".join(piece.text for piece in pieces) == text
    assert len(pieces) == -(-len(text) // PIECE_BYTES)
    assert all(piece.text.endswith("\n") for piece in pieces)
    line = text[: len(pieces[0].text)].count("\n") + 1
    assert pieces[1].where == f"{path}:{line}"


@pytest.mark.parametrize(
    ("name", "content", "where", "why"),
    [
        ("a.jsonl", b'{"text": "good"}\n{"body": "x"}\n', ":2", "fields body"),
        ("a.jsonl", b'{"text": 5}\n', ":1", "text of type int"),
        ("a.jsonl", b"[1]\n", ":1", "list"),
        ("a.jsonl", b'{"text": "cut\n', ":1", "not JSON"),
        ("a.jsonl", b"[" * 100_000 + b"\n", ":1", "not JSON"),
        ("a.jsonl", b'{"text": "\\ud800"}\n', ":1", "surrogate"),
        ("a.jsonl", b'\xef\xbb\xbf{"text": "x"}\n', ":1", "BOM"),
        ("a.txt", b"one\ntwo\nthr\xe9e\n", ":3", "byte 0xe9 at column 4"),
        ("a.txt.xz", b"no xz at all", ":1", "broken .xz"),
        ("a.txt.xz", lzma.compress(os.urandom(5000).hex().encode())[:-2000], ":", "broken .xz"),
    ],
)
def test_read_documents_refuses_what_is_no_text_by_file_and_line(
    tmp_path, name, content, where, why
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        texts(files(tmp_path))
    assert f"{tmp_path / name}{where}" in str(refusal.value)
    assert why in str(refusal.value)


def test_read_documents_of_the_library_skips_packages_duplicates_and_broken_files(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "installed.py").write_text("other\n")
    (tmp_path / "a.py").write_text("one\n")
    (tmp_path / "b.py").write_text("one\n")
    (tmp_path / "c.py").write_bytes(b"# -*- latin-1 -*- \xe9\n")
    (tmp_path / "d.py").write_text("two\n")
    (tmp_path / "e.txt").write_text("three\n")
    monkeypatch.setattr(listing.sysconfig, "get_path", lambda name: str(tmp_path))
    skipped: Counter[str] = Counter()
    config = DataConfig("python", None, "bytes", val_fraction=0.05, max_epochs=1)
    found = [document.text for document in read_documents(config, skipped)]
    assert found == ["one\n", "two\n"]
    assert skipped == {"duplicate": 1, "undecodable": 1}


@pytest.mark.needs_reference
def test_read_documents_of_the_reference_corpus_are_complete(data_dir: Path) -> None:
    documents = list(read_documents(files(data_dir / "corpus" / "val.jsonl.xz"), Counter()))
    assert len(documents) == 99
    assert sum(len(document.utf8) for document in documents) == 3_120_151
    assert documents[0].where.endswith("val.jsonl.xz:1")
