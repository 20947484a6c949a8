"""Documents that are no text: refused by file and line, or left out, counted and named."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

import data.prepare.encode
import data.prepare.splits
from common.errors import BadInput
from data.config import DataConfig, HubConfig
from data.manifest import Manifest, read_manifest
from data.prepare import prepare
from data.prepare.pipeline import build_folder
from data.prepare.recipe import recipe_of
from data.tokenizer import Ids, TokenizerFailure, load_encoder

BAD_LINES = (
    (b"no JSON", "not JSON: Expecting value at character 1"),
    (b'{"body": "x"}', "found fields body"),
    (b'{"text": 5}', "found text of type int"),
    (b'{"text": null}', "found fields text"),
    (b"[1]", "found a list"),
    (b'{"text": "\\ud800"}', "found half a surrogate pair at character 1"),
    (b'{"text": "\xff"}', "found byte 0xff at column 11, expected UTF-8"),
    (b'{"text": "a\\u0000b"}', "found a NUL character"),
)
TEXTS = [f"Document {n}: " + "wörd " * (n % 97) for n in range(200)]


def lines(texts: list[str]) -> list[bytes]:
    return [json.dumps({"text": text}).encode() for text in texts]


def corpus(folder: Path, rows: list[bytes], name: str = "a.jsonl", **fields) -> DataConfig:
    folder.mkdir()
    (folder / name).write_bytes(b"\n".join(rows))
    config = DataConfig("files", str(folder), "bytes", 0.2, 1, skip_invalid=True)
    return replace(config, **fields)


def made(config: DataConfig, out: Path) -> Manifest:
    return read_manifest(prepare(config, out))


@pytest.mark.parametrize(("line", "problem"), BAD_LINES)
def test_an_invalid_line_is_refused_by_file_and_line(tmp_path, line, problem) -> None:
    config = corpus(tmp_path / "text", [*lines(TEXTS[:3]), line], skip_invalid=False)
    with pytest.raises(BadInput) as refusal:
        prepare(config, tmp_path / "out")
    assert str(refusal.value).startswith(f"{tmp_path}/text/a.jsonl:4: {problem}")
    assert list((tmp_path / "out").iterdir()) == []


def test_invalid_lines_are_left_out_counted_and_named(tmp_path, capsys) -> None:
    """The shards are those of the other documents, in a folder of its own."""
    rows = lines(TEXTS)
    for place, (line, _) in zip(range(0, 200, 20), BAD_LINES, strict=False):
        rows.insert(place, line)
    config = corpus(tmp_path / "text", rows)
    found = made(config, tmp_path / "out")
    assert found.skipped == {"invalid": len(BAD_LINES)}
    assert len(found.invalid) == 5
    for entry, place, (_, problem) in zip(
        found.invalid, range(0, 200, 20), BAD_LINES, strict=False
    ):
        assert entry.startswith(f"{tmp_path}/text/a.jsonl:{place + 1}: {problem}")
    assert found.invalid[0] in capsys.readouterr().err
    good = made(corpus(tmp_path / "good", lines(TEXTS)), tmp_path / "out")
    assert (found.train, found.val, found.digest) == (good.train, good.val, good.digest)


def test_invalid_text_files_and_pieces_are_left_out(tmp_path) -> None:
    """A file of a folder, or of a lone file the piece in which the bad line stands."""
    config = corpus(tmp_path / "text", [b"one\n"], "a.txt")
    for name, content in (("b", b"two\n"), ("c", b"thr\xe9e\n"), ("d", b"a\nfo\0ur\n")):
        (tmp_path / "text" / f"{name}.txt").write_bytes(content)
    found = made(config, tmp_path / "out")
    assert (found.train.documents or 0) + (found.val.documents or 0) == 2
    assert [entry.partition(": ")[0] for entry in found.invalid] == [
        f"{tmp_path}/text/c.txt:1",
        f"{tmp_path}/text/d.txt",
    ]
    alone = [b"line %d of a long text" % number for number in range(2000)]
    alone[700] += b"\xff"
    config = corpus(tmp_path / "alone", alone, "a.txt")
    [entry] = made(config, tmp_path / "out").invalid
    assert entry.startswith(f"{tmp_path}/alone/a.txt:701: found byte 0xff at column 24")


@pytest.mark.parametrize(("good", "bad", "refused"), [
    (3, 1, False), (20, 5, False), (20, 6, True), (60, 6, False), (50, 6, True), (100, 900, True),
])  # fmt: skip
def test_more_invalid_documents_than_the_ceiling_are_refused(tmp_path, good, bad, refused) -> None:
    """Five, or a tenth of all, may be left out."""
    rows = [*[b"no JSON"] * bad, *lines(TEXTS[:good])]
    config = corpus(tmp_path / "text", rows)
    if not refused:
        assert made(config, tmp_path / "out").skipped == {"invalid": bad}
        return
    with pytest.raises(BadInput, match=r"^data.skip_invalid: found .*a.jsonl:1: not JSON"):
        prepare(config, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_wrong_corpus_is_refused_by_its_beginning(tmp_path) -> None:
    """Not after hours: once 1,001 documents are invalid, a tenth of those read is the ceiling."""
    config = corpus(tmp_path / "text", [*lines(TEXTS), *[b"no JSON"] * 3000])
    with pytest.raises(BadInput, match="found 1,001 invalid documents .* of 1,201"):
        prepare(config, tmp_path / "out")


def test_a_corpus_of_invalid_documents_alone_is_refused(tmp_path) -> None:
    with pytest.raises(BadInput, match="found no text"):
        prepare(corpus(tmp_path / "text", [b"no JSON"] * 4), tmp_path / "out")


def test_the_recipe_says_that_documents_were_left_out(tmp_path) -> None:
    """And is as it was before there was a choice where none may be."""
    config = corpus(tmp_path / "text", lines(TEXTS))
    assert recipe_of(config)["skip_invalid"] is True
    assert "skip_invalid" not in recipe_of(replace(config, skip_invalid=False))


def test_invalid_documents_are_counted_once_whoever_is_interrupted(tmp_path, monkeypatch) -> None:
    rows = lines(TEXTS[:40])
    for place in (5, 20, 30):
        rows.insert(place, b"no JSON")
    config = corpus(tmp_path / "text", rows)
    expected = made(config, tmp_path / "undisturbed")
    monkeypatch.setattr(data.prepare.splits, "SAVE_S", -1)
    add = data.prepare.splits._Splits.add

    def interrupted(state, document, ids) -> None:
        if document.after == (0, 25):
            raise KeyboardInterrupt
        add(state, document, ids)

    with monkeypatch.context() as patch:
        patch.setattr(data.prepare.splits._Splits, "add", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare(config, tmp_path / "out")
    assert made(config, tmp_path / "out") == expected


def test_rows_of_parquet_and_json_lines_are_left_out(tmp_path) -> None:
    """Bytes that are not UTF-8 in a column of text; a broken line of JSON among good ones."""
    hub = HubConfig(None, None, "train", "text", None)
    texts = pyarrow.array([text.encode() for text in TEXTS[:50]] + [b"\xff\xfe"], pyarrow.binary())
    (tmp_path / "p").mkdir()
    column = pyarrow.StringArray.from_buffers(51, *texts.buffers()[1:])
    pyarrow.parquet.write_table(pyarrow.table({"text": column}), tmp_path / "p" / "a.parquet")
    fields = {"source": "hf", "hub": hub}
    config = DataConfig("hf", str(tmp_path / "p"), "bytes", 0.2, 1, hub=hub)
    with pytest.raises(BadInput, match="a.parquet:51: found byte 0xff at column 1"):
        build_folder(config, tmp_path)
    for name, kind in (
        ("parquet", replace(config, skip_invalid=True)),
        ("json", corpus(tmp_path / "j", [*lines(TEXTS[:50]), b"no JSON"], **fields)),
    ):
        (tmp_path / name).mkdir()
        build_folder(kind, tmp_path / name)
        [folder] = (tmp_path / name).iterdir()
        found = read_manifest(folder)
        assert found.skipped == {"invalid": 1}
        assert (found.train.documents or 0) + (found.val.documents or 0) == 50


def failing(monkeypatch: pytest.MonkeyPatch, on: str) -> None:
    """tiktoken that panics on one text."""

    def load(*arguments: object) -> Callable[[str], Ids]:
        encode = load_encoder("bytes")

        def attempt(text: str) -> Ids:
            if text == on:
                raise TokenizerFailure("a text on which tiktoken fails: StackOverflow")
            return encode(text)

        return attempt

    monkeypatch.setattr(data.prepare.encode, "load_encoder", load)


def test_a_failure_of_the_tokenizer_names_the_line_and_keeps_what_is_done(
    tmp_path, monkeypatch
) -> None:
    """Another version of it goes on from there; or the document is left out."""
    config = corpus(tmp_path / "text", lines(TEXTS[:40]), skip_invalid=False)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setattr(data.prepare.splits, "SAVE_S", -1)
    with monkeypatch.context() as patch:
        failing(patch, TEXTS[25])
        with pytest.raises(BadInput, match=r"a.jsonl:26: found a text on which tiktoken fails"):
            build_folder(config, out)
        [kept] = out.iterdir()
        assert json.loads((kept / ".progress.json").read_text())["after"] == [0, 25]
        found = made(replace(config, skip_invalid=True), tmp_path / "skipped")
    assert found.skipped == {"invalid": 1}
    build_folder(config, out)
    [folder] = out.iterdir()
    assert read_manifest(folder) == made(config, tmp_path / "undisturbed")


def test_encode_in_parallel_names_what_cannot_be_encoded() -> None:
    from data.prepare.documents import Document
    from data.prepare.encode import encode_in_parallel

    documents = [Document(t, t.encode(), f"book:{n}") for n, t in enumerate(["a", "b\0", "c"])]
    with pytest.raises(BadInput, match="^book:1: found a NUL character"):
        list(encode_in_parallel(iter(documents), "bytes"))
    found = list(encode_in_parallel(iter(documents), "bytes", skip_invalid=True))
    assert [document.problem is None for document, _ in found] == [True, False, True]
    np.testing.assert_array_equal([len(ids) for _, ids in found], [1, 0, 1])
