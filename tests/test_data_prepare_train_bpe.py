"""A trained BPE gives every text back by the ids of `tokenizers`; its file is always the same."""

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
from hypothesis import given
from hypothesis import strategies as st

from common.errors import BadInput
from data.config import DataConfig
from data.manifest import compare, read_manifest
from data.prepare import prepare
from data.prepare.sources import read_documents
from data.prepare.splits import is_validation
from data.shards import open_split
from data.token_bytes import text_bytes
from data.tokenizer import (
    END_OF_TEXT,
    TOKENIZER_FILE,
    load_decoder,
    load_encoder,
    load_encoding,
    vocabulary,
)
from data.verification import check_shards

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


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_encoding_gives_the_text_back_by_the_ids_of_tokenizers(prepared: Path, text: str) -> None:
    encoding = load_encoding(prepared)
    ids = encoding.encode_ordinary(text)
    assert encoding.decode_bytes(ids) == text.encode()
    if END_OF_TEXT not in text:
        theirs = tokenizers.Tokenizer.from_file(str(prepared / TOKENIZER_FILE))
        assert theirs.encode(text).ids == ids
        assert theirs.decode(ids) == text


def test_encoding_gives_every_byte_and_text_of_the_corpus_back(prepared, corpus) -> None:
    encode, encoding = load_encoder("bpe", prepared), load_encoding(prepared)
    theirs = tokenizers.Tokenizer.from_file(str(prepared / TOKENIZER_FILE))
    for document in read_documents(corpus, Counter()):
        assert encoding.decode_bytes(encode(document.text).tolist()) == document.utf8
        assert theirs.encode(document.text).ids == encode(document.text).tolist()
    for noise in (bytes(range(256)), random.Random(0).randbytes(20_000)):
        text = noise.decode("latin-1")
        assert encoding.decode_bytes(encode(text).tolist()) == text.encode()
        assert theirs.encode(text).ids == encode(text).tolist()


def test_encoding_never_gives_the_separator(prepared: Path) -> None:
    """No text is encoded to the separator."""
    ids = load_encoder("bpe", prepared)(f"a{END_OF_TEXT}b")
    assert vocabulary("bpe", SIZE).end_of_text == SIZE - 1 not in ids
    theirs = tokenizers.Tokenizer.from_file(str(prepared / TOKENIZER_FILE))
    assert theirs.get_vocab_size() == SIZE
    assert theirs.token_to_id(END_OF_TEXT) == SIZE - 1


def test_shards_of_a_bpe_hold_the_text(prepared: Path, corpus: DataConfig) -> None:
    manifest, encoding = read_manifest(prepared), load_encoding(prepared)
    assert (manifest.vocab_size, manifest.end_of_text) == (SIZE, SIZE - 1)
    check_shards(prepared, manifest)
    for name in ("train", "val"):
        split = open_split(prepared, manifest, name)
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
        assert manifest.split(name).text_bytes == sum(map(len, texts))
        assert text_bytes(ids, manifest, prepared) == sum(map(len, texts))


def test_train_bpe_reads_no_validation_text(prepared: Path) -> None:
    """No validation text is read."""
    words = json.loads((prepared / TOKENIZER_FILE).read_text())["model"]["vocab"]
    assert not [word for word in words if "zq" in word or "xj" in word]


def test_train_bpe_writes_the_same_file_in_every_process(prepared, corpus, tmp_path) -> None:
    code = (
        "import sys; from pathlib import Path; from data.config import DataConfig\n"
        "from data.prepare.pipeline import build_folder\n"
        f"config = DataConfig('files', {corpus.path!r}, 'bpe', 0.2, 1, vocab_size={SIZE})\n"
        "Path(sys.argv[1]).mkdir(); build_folder(config, Path(sys.argv[1]))"
    )
    for threads in ("1", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": threads}
        out = tmp_path / threads
        subprocess.run([sys.executable, "-c", code, str(out)], env=environment, check=True)
        [folder] = out.iterdir()
        assert (folder / TOKENIZER_FILE).read_bytes() == (prepared / TOKENIZER_FILE).read_bytes()
        assert read_manifest(folder) == read_manifest(prepared)


@pytest.mark.parametrize("killed_in, trains_again", [
    ("data.prepare.train_bpe.write_atomic", True),
    ("data.prepare.splits.encode_here", False),
])  # fmt: skip
def test_train_bpe_goes_on_after_a_kill(
    prepared, corpus, tmp_path, capfd, killed_in, trains_again
) -> None:
    """What was trained before the kill is not trained again."""
    out = tmp_path / "out"
    code = (
        "import os, sys, data.prepare.train_bpe, data.prepare.splits; from pathlib import Path\n"
        "from data.config import DataConfig\n"
        "from data.prepare.pipeline import build_folder\n"
        f"{killed_in} = lambda *_: os.kill(os.getpid(), 9)\n"
        f"config = DataConfig('files', {corpus.path!r}, 'bpe', 0.2, 1, vocab_size={SIZE})\n"
        "Path(sys.argv[1]).mkdir(); build_folder(config, Path(sys.argv[1]))"
    )
    assert subprocess.run([sys.executable, "-c", code, str(out)]).returncode == -9
    capfd.readouterr()
    folder = prepare(corpus, out)
    assert ("training" in capfd.readouterr().err) == trains_again
    assert read_manifest(folder) == read_manifest(prepared)
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert prepare(corpus, out) == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def test_train_bpe_announces_itself_once(corpus, tmp_path, capfd) -> None:
    """Training is announced, and what is trained already is not."""
    folder = prepare(corpus, tmp_path / "out")
    first, last = capfd.readouterr().err.splitlines()
    assert first == "data: training a tokenizer of 400 ids on up to 64 MB of training text"
    assert last.startswith("data: trained in ")
    assert prepare(corpus, tmp_path / "out") == folder
    assert capfd.readouterr().err == ""


def test_digest_differs_by_tokenizer(prepared, corpus, tmp_path) -> None:
    """Another tokenizer is other data."""
    other = prepare(replace(corpus, vocab_size=SIZE - 1), tmp_path / "out")
    here, there = read_manifest(prepared), read_manifest(other)
    assert here.digest != there.digest
    assert compare(here, there) == f"data: found vocab_size {SIZE - 1}, expected {SIZE}"
    changed = replace(here, tokenizer_sha256="0" * 64)
    assert changed.digest != here.digest
    assert "tokenizer_sha256" in (compare(here, changed) or "")


def test_copy_tokenizer_brings_it_along_with_shards(prepared, tmp_path) -> None:
    config = DataConfig("shards", str(prepared), "bpe", 0.01, 1, vocab_size=SIZE)
    folder = prepare(config, tmp_path / "out")
    assert read_manifest(folder).digest == read_manifest(prepared).digest
    assert (folder / TOKENIZER_FILE).read_bytes() == (prepared / TOKENIZER_FILE).read_bytes()
    with pytest.raises(BadInput, match=f"data.vocab_size: found 999, expected {SIZE}"):
        prepare(replace(config, vocab_size=999), tmp_path / "out")


def test_train_bpe_refuses_a_text_with_too_few_words(corpus, tmp_path) -> None:
    with pytest.raises(BadInput, match="data.vocab_size: found 60000, expected at most [0-9]+, "):
        prepare(replace(corpus, vocab_size=60_000), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


def test_training_on_a_word_of_a_megabyte_takes_seconds(tmp_path: Path) -> None:
    """The trainer's time is quadratic in a word; what is cut for it is encoded whole."""
    rng = random.Random(0)
    long = ["".join(rng.choices("abcdefgh", k=1_000_000)), "end" + " " * 1_000_000 + "end"]
    texts = [f"document {n} has words of its own, {rng.random()} for one" for n in range(200)]
    rows = [json.dumps({"text": text}) for text in [*texts, *long]]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    config = DataConfig("files", str(tmp_path / "a.jsonl"), "bpe", 0.2, 1, vocab_size=300)
    started = os.times()
    folder = prepare(config, tmp_path / "out")
    ended = os.times()
    assert ended.children_user - started.children_user < 20
    encode, decode = load_encoder("bpe", folder), load_decoder("bpe", folder)
    assert all(decode(encode(text).tolist()) == text for text in long)
    manifest = read_manifest(folder)
    assert manifest.train.documents + manifest.val.documents == 202
