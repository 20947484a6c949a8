"""Ids become shards of llm.c's format, none of them too short for a window."""

import struct
from pathlib import Path

import numpy as np
import pytest

from data.prepare.shard_writer import TAIL_TOKENS, ShardWriter
from tests.support.tiny_corpus import split_of, write_shards


def test_shard_writer_writes_llm_c_s_format(tmp_path: Path) -> None:
    """A file is llm.c's."""
    [entry] = write_shards(tmp_path, [7, 50256, 65535])
    content = (tmp_path / entry.name).read_bytes()
    assert content[:12] == struct.pack("<iii", 20240520, 1, 3)
    assert content[12:1024] == bytes(1012)
    assert content[1024:] == struct.pack("<HHH", 7, 50256, 65535)


@pytest.mark.parametrize("room", [10_000, 30_000, 70_000])
@pytest.mark.parametrize("n_tokens", [2, 10_000, 10_001, 75_536, 200_000])
def test_shard_writer_shards_joined_are_what_was_written(
    tmp_path: Path, n_tokens: int, room: int
) -> None:
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


def test_shard_writer_leaves_no_shard_too_short_for_a_window(tmp_path: Path) -> None:
    limit = 100_000 - TAIL_TOKENS
    entries = write_shards(tmp_path, np.zeros(2 * limit + 10), max_tokens=100_000)
    assert [entry.tokens for entry in entries] == [limit, limit + 10]
