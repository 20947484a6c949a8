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

from configs.errors import BadInput
from data.loader import Loader
from data.manifest import Manifest, SplitEntry, SplitName
from data.shards import (
    HEADER_BYTES,
    Split,
    open_shard,
    open_split,
    verify,
    verify_digests,
)
from data.writer import TAIL_TOKENS, ShardWriter


def split_of(*paths: Path, name: SplitName = "train") -> Split:
    return Split(name, tuple(open_shard(path) for path in paths))


def write(folder: Path, ids, name: SplitName = "train", max_tokens: int = 10**8):
    writer = ShardWriter(folder, name, max_tokens)
    writer.write(np.asarray(ids, dtype=np.uint16))
    return writer.close()


def poke(path: Path, token: int, value: int) -> None:
    with path.open("r+b") as file:
        file.seek(HEADER_BYTES + 2 * token)
        file.write(struct.pack("<H", value))


def dataset(folder: Path, n_train: int = 5000, n_val: int = 500) -> Manifest:
    """Shards of random GPT-2 ids."""
    rng = np.random.default_rng(0)
    train, val = (
        SplitEntry(write(folder, rng.integers(0, 50257, n), name), 1, 4 * n)
        for name, n in (("train", n_train), ("val", n_val))
    )
    return Manifest(1, {}, "gpt2", 50257, 50256, {}, train, val)


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    dataset(tmp_path)
    return tmp_path / "train_000000.bin"


def test_a_file_is_llm_c_s(tmp_path: Path) -> None:
    [entry] = write(tmp_path, [7, 50256, 65535])
    content = (tmp_path / entry.name).read_bytes()
    assert content[:12] == struct.pack("<iii", 20240520, 1, 3)
    assert content[12:1024] == bytes(1012)
    assert content[1024:] == struct.pack("<HHH", 7, 50256, 65535)


@pytest.mark.parametrize("room", [10_000, 30_000, 70_000])
@pytest.mark.parametrize("n_tokens", [2, 10_000, 10_001, 75_536, 200_000])
def test_shards_joined_are_what_was_written(tmp_path: Path, n_tokens: int, room: int) -> None:
    rng = np.random.default_rng(n_tokens)
    stream = rng.integers(0, 50257, n_tokens).astype(np.uint16)
    cuts = np.sort(rng.integers(0, n_tokens, 10))
    writer = ShardWriter(tmp_path, "train", max_tokens=TAIL_TOKENS + room)
    for part in np.split(stream, cuts):
        writer.write(part)
    entries = writer.close()
    shards = split_of(*(tmp_path / entry.name for entry in entries)).shards
    joined = np.concatenate([shard.read(0, shard.n_tokens) for shard in shards])
    np.testing.assert_array_equal(joined, stream)
    assert sorted(path.name for path in tmp_path.iterdir()) == [entry.name for entry in entries]
    assert all(entry.tokens <= TAIL_TOKENS + room for entry in entries)


def test_no_shard_is_left_too_short_for_a_window(tmp_path: Path) -> None:
    limit = 100_000 - TAIL_TOKENS
    entries = write(tmp_path, np.zeros(2 * limit + 10), max_tokens=100_000)
    assert [entry.tokens for entry in entries] == [limit, limit + 10]


@pytest.mark.parametrize("token", [0, 2500, 4999])
@pytest.mark.parametrize("value", [50257, 50303, 65535])  # the first two hide in the padding
def test_an_id_beyond_the_vocabulary_is_refused(shard: Path, token: int, value: int) -> None:
    poke(shard, token, value)
    with pytest.raises(BadInput) as refusal:
        verify(split_of(shard), vocab_size=50257)
    for part in (str(shard), f"id {value}", f"token {token}", "50257"):
        assert part in str(refusal.value)


def test_valid_ids_are_not_refused(shard: Path) -> None:
    poke(shard, 17, 50256)
    verify(split_of(shard), vocab_size=50257)


@pytest.mark.parametrize("n_tokens", [2, 63, 64])
def test_a_shard_without_a_whole_window_is_refused(tmp_path: Path, n_tokens: int) -> None:
    [entry] = write(tmp_path, np.zeros(n_tokens))
    with pytest.raises(BadInput, match=f"{entry.name}: found {n_tokens} tokens, .* 65 "):
        Loader(split_of(tmp_path / entry.name), block_size=64, seed=0)


def test_an_empty_shard_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train_000000.bin"
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"train_000000.bin: found an empty file \(0 tokens\)"):
        open_shard(path)
    path.write_bytes(struct.pack("<256i", 20240520, 1, *[0] * 254))
    with pytest.raises(BadInput, match="found 0 tokens, expected at least 2"):
        open_shard(path)


@pytest.mark.parametrize("cut", [1, 2, 5000])
def test_a_cut_shard_is_refused(shard: Path, cut: int) -> None:
    size = shard.stat().st_size
    os.truncate(shard, size - cut)
    with pytest.raises(BadInput, match=f"found {size - cut} bytes, expected {size} for the 5000"):
        open_shard(shard)


@pytest.mark.parametrize("count", [4999, 5001, 2**31 - 1, -1])
def test_a_header_that_counts_wrong_is_refused(shard: Path, count: int) -> None:
    with shard.open("r+b") as file:
        file.seek(8)
        file.write(struct.pack("<i", count))
    with pytest.raises(BadInput, match=f"expected {1024 + 2 * count} for the {count} tokens"):
        open_shard(shard)


def test_a_shard_that_is_not_the_manifest_s_is_refused(tmp_path: Path) -> None:
    manifest = dataset(tmp_path)
    write(tmp_path, np.zeros(4000))
    with pytest.raises(BadInput, match="found 4000 tokens, expected 5000 as the manifest says"):
        open_split(tmp_path, manifest, "train")
    (tmp_path / "train_000000.bin").unlink()
    with pytest.raises(BadInput, match="train_000000.bin: cannot be opened: No such file"):
        open_split(tmp_path, manifest, "train")


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
        (npy(np.arange(600, dtype=np.uint16)), "a .npy file"),
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
def test_what_is_no_shard_is_refused_by_its_look(tmp_path, content, look, name) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BadInput) as refusal:
        open_shard(tmp_path / name)
    assert str(refusal.value).startswith(str(tmp_path / name))
    assert look in str(refusal.value)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=3000))
def test_random_bytes_are_never_a_shard(tmp_path_factory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("random") / "train_000000.bin"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        open_shard(path)


def test_bare_ids_are_read_under_nanogpt_s_names_only(tmp_path: Path) -> None:
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


def test_the_far_end_of_a_file_beyond_32_bits(tmp_path: Path) -> None:
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
def test_a_shard_that_changes_during_a_run_ends_it_by_name(shard: Path, happens, why) -> None:
    loader = Loader(split_of(shard), block_size=64, seed=0)
    loader.batch(0, 8)
    happens(shard)
    with pytest.raises(BadInput, match=f"train_000000.bin: {why}"):
        loader.batch(1, 8)


def test_a_read_past_a_cut_is_an_error_not_a_signal(shard: Path) -> None:
    opened = open_shard(shard)
    os.truncate(shard, 2000)
    with pytest.raises(BadInput, match="train_000000.bin: found 0 bytes at token 4000"):
        opened.read(4000, 64)


def test_the_full_check_finds_every_flipped_byte(tmp_path: Path) -> None:
    manifest = dataset(tmp_path)
    path = tmp_path / "val_000000.bin"
    content = path.read_bytes()
    verify_digests(tmp_path, manifest)
    for offset in np.random.default_rng(0).integers(0, len(content), 64):
        flipped = bytearray(content)
        flipped[offset] ^= 1 << (offset % 8)
        path.write_bytes(flipped)
        with pytest.raises(BadInput, match="val_000000.bin: found sha256"):
            verify_digests(tmp_path, manifest)


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
def test_the_reference_shards_are_read(data_dir: Path, name: str, n_tokens: int) -> None:
    split = split_of(data_dir / "shards" / name)
    assert split.n_tokens == n_tokens
    verify(split, vocab_size=50257)
