"""Bits per byte divide by the bytes of the very tokens that were predicted."""

import json
from pathlib import Path

import numpy as np
import pytest

from common.errors import BadInput
from data.loader import evaluation_windows
from data.manifest import Manifest, ShardEntry, SplitEntry, read_manifest
from data.prepare import prepare
from data.shards import open_split
from data.token_bytes import text_bytes
from data.tokenizer import TOKENIZER_FILE, load_encoder, load_encoding
from tests.support.tiny_corpus import random_data, tiny_corpus, write_shards
from tests.support.tiny_training import alone, joined_ranks, prepared_config, tiny_config
from training.dataset import open_data, prepared_data

SPLIT = SplitEntry((ShardEntry("train_000000.bin", 1, ""),), 0, 0)
GPT2 = Manifest(1, {}, "gpt2", 50257, 50256, {}, SPLIT, SPLIT)


@pytest.mark.needs_reference
def test_lengths_of_gpt2_are_those_of_tiktoken(data_dir, monkeypatch) -> None:
    """Each id by itself."""
    import tiktoken

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    encoding = tiktoken.get_encoding("gpt2")
    expected = [len(encoding.decode_single_token_bytes(token)) for token in range(50256)] + [0]
    nowhere = Path("nowhere")
    assert [text_bytes(np.array([t]), GPT2, nowhere) for t in range(0, 50257, 97)] == expected[::97]
    assert text_bytes(np.arange(50257), GPT2, nowhere) == sum(expected)


@pytest.mark.needs_reference
def test_text_bytes_of_gpt2_ids_are_those_of_the_text(data_dir, monkeypatch) -> None:
    """Characters of several bytes, cut between their tokens too, and separators."""
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data_dir / "tiktoken_cache"))
    texts = ["naïve café, 東京タワー 🗼", "plain words\n\n  indented", " " * 30]
    encode = load_encoder("gpt2")
    ids = np.concatenate([np.append(50256, encode(text)) for text in texts])
    assert text_bytes(ids, GPT2, Path()) == sum(len(text.encode()) for text in texts)
    by_halves = text_bytes(ids[:11], GPT2, Path()) + text_bytes(ids[11:], GPT2, Path())
    assert by_halves == text_bytes(ids, GPT2, Path())


@pytest.mark.parametrize("which", ["spread", "first"])
@pytest.mark.parametrize(("block_size", "n_tokens"), [(16, 16), (16, 320), (48, 960)])
def test_text_bytes_of_windows_equal_a_slow_count(tmp_path, which, block_size, n_tokens) -> None:
    """By byte tokens: the targets that are no separators, one by one."""
    folder = prepare(tiny_corpus(tmp_path), tmp_path / "out")
    manifest = read_manifest(folder)
    split = open_split(folder, manifest, "val")
    windows = evaluation_windows(split, block_size, n_tokens, which)
    slow = sum(token != 0 for window in windows for token in window[1:])
    assert text_bytes(windows[:, 1:], manifest, folder) == slow > 0


def test_text_bytes_of_a_bpe_equal_a_slow_count(tmp_path) -> None:
    config = tiny_corpus(tmp_path)
    config = type(config)(**{**vars(config), "tokenizer": "bpe", "vocab_size": 280})
    folder = prepare(config, tmp_path / "out")
    manifest, encoding = read_manifest(folder), load_encoding(folder)
    windows = evaluation_windows(open_split(folder, manifest, "val"), 8, 160)
    slow = sum(
        len(encoding.decode_single_token_bytes(int(token)))
        for token in windows[:, 1:].reshape(-1)
        if token != manifest.end_of_text
    )
    assert text_bytes(windows[:, 1:], manifest, folder) == slow > 160


def test_ready_shards_have_bits_per_byte_too(tmp_path) -> None:
    """Their ids tell the bytes: no document was ever counted."""
    random_data(tmp_path, 5000, 2000)
    config = tiny_config(
        tmp_path,
        data__source="shards",
        data__path=str(tmp_path),
        data__tokenizer="gpt2",
        model__vocab_size=50257,
    )
    assert prepared_data(config).manifest.val.text_bytes is None
    data = open_data(config, alone())
    ids = data.windows[:, 1:]
    slow = sum(text_bytes(np.array([token]), GPT2, Path()) for token in ids.reshape(-1))
    assert data.text_bytes == slow > ids.size


def test_all_ranks_count_the_same_bytes(tmp_path) -> None:
    """The held-out set is one, however many ranks share it."""
    config = prepared_config(tmp_path)
    expected = open_data(config, alone()).text_bytes

    def body(ranks) -> int:
        return 0 if open_data(config, ranks).text_bytes == expected else 1

    assert [child.wait() for child in joined_ranks(config, tmp_path, body)] == [0, 0]


def test_separators_alone_stand_for_no_byte(tmp_path) -> None:
    [entry] = write_shards(tmp_path, np.full(100, 50256), "val")
    val = SplitEntry((entry,), None, None)
    manifest = Manifest(1, {}, "gpt2", 50257, 50256, {}, val, val)
    windows = evaluation_windows(open_split(tmp_path, manifest, "val"), 8, 64)
    assert text_bytes(windows[:, 1:], manifest, tmp_path) == 0


@pytest.mark.parametrize("content", ["[]", "{}", '{"model": {"vocab": {"a": 999}}}'])
def test_a_tokenizer_that_is_none_is_named(tmp_path, content) -> None:
    (tmp_path / TOKENIZER_FILE).write_text(content)
    bpe = Manifest(1, {}, "bpe", 300, 299, {}, SPLIT, SPLIT, "0" * 64)
    with pytest.raises(BadInput, match=r"tokenizer.json: not a byte-level BPE of 300 ids"):
        text_bytes(np.array([1]), bpe, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"), [("tokenizer", "gptx"), ("vocab_size", 50256), ("end_of_text", 0)]
)
def test_a_manifest_of_another_vocabulary_is_refused(tmp_path, field, value) -> None:
    """One line, and no wrong count."""
    folder = prepare(tiny_corpus(tmp_path), tmp_path / "out")
    path = folder / "manifest.json"
    values = json.loads(path.read_text()) | {field: value} | {"end_of_text": 7}
    path.write_text(json.dumps(values))
    with pytest.raises(BadInput, match="manifest|tokenizer"):
        read_manifest(folder)
