"""A shard is read to its far end or refused with file, found and expected."""

import gzip
import io
import os
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInput
from common.files import file_digest
from data.loader import Loader
from data.shards import (
    Split,
    open_shard,
    open_split,
)
from data.verification import check_whole
from tests.support.tiny_corpus import poke, random_data, split_of, write_shards


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    random_data(tmp_path)
    return tmp_path / "train_000000.bin"


@pytest.mark.parametrize("n_tokens", [2, 63, 64])
def test_loader_refuses_a_shard_without_a_whole_window(tmp_path: Path, n_tokens: int) -> None:
    [entry] = write_shards(tmp_path, np.zeros(n_tokens))
    with pytest.raises(BadInput, match=f"{entry.name}: found {n_tokens} tokens, .* 65 "):
        Loader(split_of(tmp_path / entry.name), block_size=64, seed=0)


def test_open_shard_refuses_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "train_000000.bin"
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"train_000000.bin: found an empty file \(0 tokens\)"):
        open_shard(path)
    path.write_bytes(struct.pack("<256i", 20240520, 1, *[0] * 254))
    with pytest.raises(BadInput, match="found 0 tokens, expected at least 2"):
        open_shard(path)


@pytest.mark.parametrize("cut", [1, 2, 5000])
def test_open_shard_refuses_one_cut_short(shard: Path, cut: int) -> None:
    size = shard.stat().st_size
    os.truncate(shard, size - cut)
    with pytest.raises(BadInput, match=f"found {size - cut} bytes, expected {size} for the 5000"):
        open_shard(shard)


@pytest.mark.parametrize("count", [4999, 5001, 2**31 - 1, -1])
def test_open_shard_refuses_a_header_that_counts_wrong(shard: Path, count: int) -> None:
    with shard.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<i", count))
    with pytest.raises(BadInput, match=f"expected {1024 + 2 * count} for the {count} tokens"):
        open_shard(shard)


def test_open_split_refuses_a_shard_that_is_not_the_manifest_s(tmp_path: Path) -> None:
    manifest = random_data(tmp_path)
    write_shards(tmp_path, np.zeros(4000))
    with pytest.raises(BadInput, match="found 4000 tokens, expected 5000 as the manifest says"):
        open_split(tmp_path, manifest, "train")
    (tmp_path / "train_000000.bin").unlink()
    with pytest.raises(BadInput, match="train_000000.bin: not found"):
        open_split(tmp_path, manifest, "train")


class Unpickled:
    """What ends the process that unpickles it."""

    def __reduce__(self) -> tuple[object, ...]:
        return os._exit, (99,)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "look"),
    [
        (b"<!DOCTYPE html><html>" + b"<p>404</p>" * 200, "an HTML page"),
        (b"To be, or not to be.\n" * 100, "text"),
        (("ü" * 2000).encode(), "text"),
        (gzip.compress(b"text", mtime=0), "a gzip file"),
        (npy(np.arange(600, dtype=np.int64)), "a .npy array of int64 in 1 dimensions"),
        (npy(np.arange(600, dtype=">u2")), "a .npy array of >u2 in 1 dimensions"),
        (npy(np.zeros((20, 30), np.uint16)), "a .npy array of uint16 in 2 dimensions"),
        (npy(np.array([{}, Unpickled()], object)), "a .npy array of object"),
        (npy(np.zeros(600, np.uint16))[:-1], "found 1327 bytes, expected 1328 for the 600 tokens"),
        (npy(np.zeros(1, np.uint16)), "found 1 tokens"),
        (b"\x93NUMPY\x09\x00" + bytes(2000), "a broken .npy header"),
        (b"\x93NUMPY\x01\x00\xff\x03" + b"(" * 2000, "a broken .npy header"),
        (b"\x93NUMPY\x01\x00\x40\x00" + b"__import__('os').abort()" * 80, "a broken .npy header"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(2000), "a broken .npy header"),
        (b"\x93NUMPY", "a broken .npy header"),
        (b"PK\x03\x04" + bytes(2000), "a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (struct.pack("<256i", 20240801, 7, 100, *[0] * 253), "llama-3 tokens of 32 bits"),
        (struct.pack("<256i", 20240522, 1, 4, *[0] * 253), "an llm.c evaluation file"),
        (struct.pack("<256i", 123456, 1, 4, *[0] * 253), "a header with magic 123456"),
        (struct.pack("<256i", 20240520, 2, 0, *[0] * 253), "header version 2, expected 1"),
        (np.arange(5000, dtype=np.int32).tobytes(), "ids of 32 bits"),
        (struct.pack("<iii", 20240520, 1, 0), "a header cut short"),
    ],
)
@pytest.mark.parametrize("name", ["train_000000.bin", "train.bin"])
def test_open_shard_says_what_a_file_looks_like(tmp_path, content, look, name) -> None:
    """What is no shard is refused by its look."""
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        open_shard(tmp_path / name)
    assert str(refusal.value).startswith(str(tmp_path / name))
    assert "\n" not in str(refusal.value)
    assert look in str(refusal.value)


@settings(max_examples=200)
@given(content=st.binary(max_size=3000))
def test_open_shard_refuses_random_bytes(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("random") / "train_000000.bin"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        open_shard(path)


def test_open_shard_reads_build_nanogpt_s_arrays(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 50257, 3000).astype(np.uint16)
    np.save(tmp_path / "edufineweb_train_000001.npy", ids)
    shard = open_shard(tmp_path / "edufineweb_train_000001.npy")
    assert shard.n_tokens == 3000
    np.testing.assert_array_equal(shard.read(0, 3000), ids)
    np.testing.assert_array_equal(shard.read(2990, 10), ids[2990:])


@settings(max_examples=200)
@given(place=st.integers(0, 127), value=st.integers(0, 255))
def test_open_shard_of_a_damaged_array_is_refused_or_right(tmp_path_factory, place, value) -> None:
    """Each byte of its header changed: one line, or the tokens that were meant."""
    content = bytearray(npy(np.arange(600, dtype=np.uint16)))
    content[place] = value
    path = tmp_path_factory.mktemp("damaged") / "train_000000.npy"
    path.write_bytes(content)
    try:
        shard = open_shard(path)
    except BadInput as refusal:
        assert "\n" not in str(refusal) and str(path) in str(refusal)
    else:
        assert shard.read(0, shard.n_tokens).tolist() == list(range(600))


def test_open_shard_reads_bare_ids_under_nanogpt_s_names_only(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 50257, 3000).astype("<u2")
    ids.tofile(tmp_path / "val.bin")
    shard = open_shard(tmp_path / "val.bin")
    np.testing.assert_array_equal(shard.read(0, shard.n_tokens), ids)
    ids.tofile(tmp_path / "val_000000.bin")
    with pytest.raises(BadInput, match="a file that starts with"):
        open_shard(tmp_path / "val_000000.bin")
    (tmp_path / "val.bin").write_bytes(ids.tobytes()[:-1])
    with pytest.raises(BadInput, match="found 5999 bytes, expected an even number"):
        open_shard(tmp_path / "val.bin")


def test_read_reaches_beyond_32_bits(tmp_path: Path) -> None:
    """The far end of a file beyond 32 bits."""
    n_tokens, path = 3_000_000_000, tmp_path / "train.bin"
    markers = np.arange(1, 65, dtype="<u2")
    with path.open("wb") as file:  # 6 GB that take no room on the disk
        file.write(np.full(600, 50256, "<u2").tobytes())
        file.truncate(2 * n_tokens)
        file.seek(2 * (n_tokens - 64))
        file.write(markers.tobytes())
    assert path.stat().st_blocks * 512 < 1_000_000
    shard = open_shard(path)
    assert shard.n_tokens == n_tokens > 2**31
    np.testing.assert_array_equal(shard.read(n_tokens - 64, 64), markers)
    loader = Loader(Split("train", (shard,)), block_size=63, seed=0)
    assert loader.windows == (n_tokens - 1) // 63
    # the last whole window ends 18 tokens before the end
    start = (loader.windows - 1) * 63
    last = loader._reader.read(np.array([loader.windows - 1]))
    np.testing.assert_array_equal(last[0], shard.read(start, 64))
    assert 1 in last[0]


def cut(path: Path) -> None:
    os.truncate(path, 2000)


def rewrite(path: Path) -> None:
    poke(path, 100, 7)
    os.utime(path, (time.time() + 10, time.time() + 10))


def replace_by_rename(path: Path) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(path.read_bytes())
    other.rename(path)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (cut, "changed since"),
        (rewrite, "changed since"),
        (replace_by_rename, "changed since"),
        (os.unlink, "gone since"),
    ],
)
def test_check_unchanged_names_a_shard_that_changed(shard: Path, happens, why) -> None:
    """A shard that changes during a run ends it by name."""
    loader = Loader(split_of(shard), block_size=64, seed=0)
    loader.batch(0, 8)
    happens(shard)
    with pytest.raises(BadInput, match=f"train_000000.bin: {why}"):
        loader.batch(1, 8)


def test_read_past_a_cut_is_an_error_not_a_signal(shard: Path) -> None:
    opened = open_shard(shard)
    os.truncate(shard, 2000)
    with pytest.raises(BadInput, match="train_000000.bin: found 0 bytes at token 4000"):
        opened.read(4000, 64)


@pytest.mark.needs_reference
@pytest.mark.parametrize(
    ("name", "n_tokens"),
    [
        ("nanogpt_shakespeare_train.bin", 301_966),
        ("nanogpt_shakespeare_val.bin", 36_059),
        ("tiny_shakespeare_train.bin", 305_260),
        ("tiny_shakespeare_val.bin", 32_768),
    ],
)
def test_open_shard_reads_the_reference_shards(data_dir: Path, name: str, n_tokens: int) -> None:
    split = split_of(data_dir / "shards" / name)
    assert split.n_tokens == n_tokens
    path = split.shards[0].path
    check_whole(split.shards[0], 50257, file_digest(path))
