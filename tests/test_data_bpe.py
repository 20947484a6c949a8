"""A learnt BPE gives every text back by the ids of `tokenizers`; its file is always the same."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadInput
from data.bpe import END_OF_TEXT, NAME, load_encoding
from data.config import DataConfig
from data.manifest import compare, read_manifest
from data.prepare import prepare
from data.shards import open_split, verify
from data.sources import read_documents
from data.tokenizer import load_encoder, vocabulary
from data.tokenizing import is_validation

SIZE = 400


def write_corpus(folder: Path) -> DataConfig:
    """Code of the standard library in 40 documents, and words that only validation has."""
    folder.mkdir()
    source = Path(random.__file__).read_text() + Path(json.__file__).read_text()
    step = len(source) // 40
    rows, held_out = [], 0
    for index in range(40):
        text = f"{index} " + source[index * step : (index + 1) * step]
        if is_validation(text.encode(), 0.2):
            text, held_out = f"{index} " + "zqxj" * 2000, held_out + 1
            while not is_validation(text.encode(), 0.2):
                text += "zqxj"
        rows.append(json.dumps({"text": text}) + "\n")
    assert 3 < held_out < 20
    (folder / "a.jsonl").write_text("".join(rows))
    return DataConfig("files", str(folder), "bpe", 0.2, 1, vocab_size=SIZE)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> DataConfig:
    return write_corpus(tmp_path_factory.mktemp("bpe") / "text")


@pytest.fixture(scope="module")
def prepared(corpus: DataConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare(corpus, tmp_path_factory.mktemp("shards"))


@settings(deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_ids_give_the_text_back_and_are_those_of_tokenizers(prepared: Path, text: str) -> None:
    encoding = load_encoding(prepared)
    ids = encoding.encode_ordinary(text)
    assert encoding.decode_bytes(ids) == text.encode()
    if END_OF_TEXT not in text:
        theirs = tokenizers.Tokenizer.from_file(str(prepared / NAME))
        assert theirs.encode(text).ids == ids
        assert theirs.decode(ids) == text


def test_every_byte_and_every_text_of_the_corpus_comes_back(prepared, corpus) -> None:
    encode, encoding = load_encoder("bpe", prepared), load_encoding(prepared)
    theirs = tokenizers.Tokenizer.from_file(str(prepared / NAME))
    for document in read_documents(corpus, Counter()):
        assert encoding.decode_bytes(encode(document.text).tolist()) == document.utf8
        assert theirs.encode(document.text).ids == encode(document.text).tolist()
    for noise in (bytes(range(256)), random.Random(0).randbytes(20_000)):
        text = noise.decode("latin-1")
        assert encoding.decode_bytes(encode(text).tolist()) == text.encode()
        assert theirs.encode(text).ids == encode(text).tolist()


def test_no_text_is_encoded_to_the_separator(prepared: Path) -> None:
    ids = load_encoder("bpe", prepared)(f"a{END_OF_TEXT}b")
    assert vocabulary("bpe", SIZE).end_of_text == SIZE - 1 not in ids
    theirs = tokenizers.Tokenizer.from_file(str(prepared / NAME))
    assert theirs.get_vocab_size() == SIZE
    assert theirs.token_to_id(END_OF_TEXT) == SIZE - 1


def test_the_shards_hold_the_text(prepared: Path, corpus: DataConfig) -> None:
    manifest, encoding = read_manifest(prepared), load_encoding(prepared)
    assert (manifest.vocab_size, manifest.end_of_text) == (SIZE, SIZE - 1)
    for name in ("train", "val"):
        split = open_split(prepared, manifest, name)
        verify(split, SIZE)
        [shard] = split.shards
        ids = shard.read(0, shard.n_tokens)
        parts = np.split(ids, np.flatnonzero(ids == SIZE - 1))[1:]
        texts = [encoding.decode_bytes(part[1:].tolist()) for part in parts]
        expected = [
            document.utf8
            for document in read_documents(corpus, Counter())
            if is_validation(document.utf8, 0.2) == (name == "val")
        ]
        assert texts == expected
        assert manifest.split(name).bytes_per_token == sum(map(len, texts)) / len(ids)


def test_nothing_is_learnt_from_validation_text(prepared: Path) -> None:
    learnt = json.loads((prepared / NAME).read_text())["model"]["vocab"]
    assert not [word for word in learnt if "zq" in word or "xj" in word]


def test_the_file_is_the_same_from_every_process(prepared, corpus, tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from data.config import DataConfig\n"
        "from data.prepare import build_folder\n"
        f"config = DataConfig('files', {corpus.path!r}, 'bpe', 0.2, 1, vocab_size={SIZE})\n"
        "Path(sys.argv[1]).mkdir(); build_folder(config, Path(sys.argv[1]))"
    )
    for threads in ("1", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        out = tmp_path / threads
        subprocess.run([sys.executable, "-c", code, str(out)], env=environment, check=True)
        [folder] = out.iterdir()
        assert (folder / NAME).read_bytes() == (prepared / NAME).read_bytes()
        assert read_manifest(folder) == read_manifest(prepared)


@pytest.mark.parametrize("killed_in, learns_again", [
    ("data.bpe.write_atomic", True),
    ("data.tokenizing.encode_here", False),
])  # fmt: skip
def test_killed_it_learns_again_only_what_was_not_learnt(
    prepared, corpus, tmp_path, capfd, killed_in, learns_again
) -> None:
    out = tmp_path / "out"
    code = (
        "import os, sys, data.bpe, data.tokenizing; from pathlib import Path\n"
        "from data.config import DataConfig\n"
        "from data.prepare import build_folder\n"
        f"{killed_in} = lambda *_: os.kill(os.getpid(), 9)\n"
        f"config = DataConfig('files', {corpus.path!r}, 'bpe', 0.2, 1, vocab_size={SIZE})\n"
        "Path(sys.argv[1]).mkdir(); build_folder(config, Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(out)]).returncode == -9
    capfd.readouterr()
    folder = prepare(corpus, out)
    assert ("learning" in capfd.readouterr().err) == learns_again
    assert read_manifest(folder) == read_manifest(prepared)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare(corpus, out) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_learning_is_announced_and_what_is_learnt_already_is_not(corpus, tmp_path, capfd) -> None:
    folder = prepare(corpus, tmp_path / "out")
    first, last = capfd.readouterr().err.splitlines()
    assert first == "data: learning a tokenizer of 400 ids from up to 64 MB of training text"
    assert last.startswith("data: learnt in ")
    assert prepare(corpus, tmp_path / "out") == folder
    assert capfd.readouterr().err == ""


def test_another_tokenizer_is_other_data(prepared, corpus, tmp_path) -> None:
    other = prepare(replace(corpus, vocab_size=SIZE - 1), tmp_path / "out")
    here, there = read_manifest(prepared), read_manifest(other)
    assert here.digest != there.digest
    assert compare(here, there) == f"data: found vocab_size {SIZE - 1}, expected {SIZE}"
    changed = replace(here, tokenizer_sha256="0" * 64)
    assert changed.digest != here.digest
    assert "tokenizer_sha256" in (compare(here, changed) or "")


def test_shards_bring_their_tokenizer_along(prepared, tmp_path) -> None:
    config = DataConfig("shards", str(prepared), "bpe", 0.01, 1, vocab_size=SIZE)
    folder = prepare(config, tmp_path / "out")
    assert read_manifest(folder).digest == read_manifest(prepared).digest
    assert (folder / NAME).read_bytes() == (prepared / NAME).read_bytes()
    with pytest.raises(BadInput, match=f"data.vocab_size: found 999, expected {SIZE}"):
        prepare(replace(config, vocab_size=999), tmp_path / "out")


def test_a_text_with_too_few_words_is_refused(corpus, tmp_path) -> None:
    with pytest.raises(BadInput, match="data.vocab_size: found 60000, expected at most [0-9]+, "):
        prepare(replace(corpus, vocab_size=60_000), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"vocab_size": None}, "data.vocab_size: found None, expected 257 to 65536"),
        ({"vocab_size": 256}, "data.vocab_size: found 256, expected 257 to 65536"),
        ({"tokenizer": "gpt2"}, "data.vocab_size: found 400, expected null"),
        ({"val_tokens": 10}, "data.val_fraction: found 0.2 and data.val_tokens 10"),
        ({"val_tokens": 10, "val_fraction": None}, "data.val_tokens: found 10, expected null"),
        ({"val_fraction": None}, "data.val_fraction: found None"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(corpus, values, why) -> None:
    with pytest.raises(BadInput, match=why):
        replace(corpus, **values)
