"""A manifest names its data by content and says where two of them differ."""

from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import BadInput
from data.manifest import (
    Manifest,
    ShardEntry,
    SplitEntry,
    compare,
    read_manifest,
    write_manifest,
)

A, B, C = (ShardEntry(f"{name}_train.bin", 100, name * 64) for name in "abc")


def of_shards(*shards: ShardEntry) -> Manifest:
    val = SplitEntry((ShardEntry("val.bin", 10, "0" * 64),), documents=1, text_bytes=40)
    return Manifest(1, {}, "gpt2", 50257, 50256, {}, SplitEntry(shards, None, None), val)


def test_manifest_survives_its_file(tmp_path: Path) -> None:
    write_manifest(tmp_path, of_shards(A, B))
    again = read_manifest(tmp_path)
    assert again == of_shards(A, B)
    assert again.train.tokens == 200


def test_digest_is_of_content_alone() -> None:
    elsewhere = replace(of_shards(A, B), recipe={"path": "/another"}, skipped={"empty": 3})
    assert elsewhere.digest == of_shards(A, B).digest
    others = of_shards(B, A), of_shards(A), replace(of_shards(A, B), tokenizer="bytes")
    assert len({manifest.digest for manifest in (elsewhere, *others)}) == 4


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"schema": 1', '"schema": 2', "found schema 2, expected 1"),
        ("a_train.bin", "../a_train.bin", "expected a plain name"),
        ('"tokenizer"', '"tokeniser"', "tokeniser: unknown key"),
        ("50257", "NaN", "not strict JSON"),
        ("}", "", "not strict JSON"),
    ],
)
def test_read_manifest_refuses_a_foreign_one(tmp_path, old: str, new: str, why: str) -> None:
    write_manifest(tmp_path, of_shards(A, B))
    path = tmp_path / "manifest.json"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(BadInput, match=why):
        read_manifest(tmp_path)


def test_compare_names_the_first_difference() -> None:
    before = of_shards(A, B)
    assert compare(before, of_shards(A, B)) is None
    assert compare(before, of_shards(A, B, C)) == (
        "data: train shard 2: found c_train.bin, expected no more shards"
    )
    assert compare(before, of_shards(A)) == "data: train shard 1: found none, expected b_train.bin"
    assert compare(before, of_shards(B, A)) == (
        "data: train shard 0: found b_train.bin, expected a_train.bin"
    )
    larger = ShardEntry("b_train.bin", 101, B.sha256)
    assert compare(before, of_shards(A, larger)) == (
        "data: train shard 1: found 101 tokens in b_train.bin, expected 100"
    )
    other = ShardEntry("b_train.bin", 100, "d" * 64)
    assert "other content in b_train.bin" in (compare(before, of_shards(A, other)) or "")


def test_manifest_without_shards_is_refused() -> None:
    with pytest.raises(BadInput, match=r"train\.shards: found none"):
        of_shards()
