"""Ready shards become a data set where they lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_corpus import ids_of, tiny_corpus

import data.linking
from configs.errors import BadInput
from data.config import DataConfig
from data.manifest import compare, read_manifest
from data.prepare import prepare


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def shards(folder: Path, **sizes: int) -> DataConfig:
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, size) in enumerate(sizes.items()):
        rng = np.random.default_rng(index)
        rng.integers(0, 50257, size).astype("<u2").tofile(folder / f"{name}.bin")
    return DataConfig("shards", str(folder), "gpt2", val_fraction=0.01, max_epochs=1)


def test_ready_shards_stay_where_they_are(tmp_path: Path) -> None:
    config = shards(tmp_path / "given", train=3000, val=500)
    before = sorted((tmp_path / "given").iterdir())
    folder = prepare(config, tmp_path / "out")
    manifest = read_manifest(folder)
    assert sorted((tmp_path / "given").iterdir()) == before
    assert (manifest.train.tokens, manifest.val.tokens) == (3000, 500)
    assert manifest.vocab_size == 50257
    assert manifest.val.bytes_per_token is None
    expected = np.fromfile(tmp_path / "given" / "val.bin", "<u2")
    np.testing.assert_array_equal(ids_of(folder, manifest, "val"), expected)


def test_ready_shards_are_digested_once(tmp_path, monkeypatch) -> None:
    config = shards(tmp_path / "given", train=3000, val=500)
    folder = prepare(config, tmp_path / "out")
    monkeypatch.setattr(data.linking, "file_digest", lambda path: pytest.fail("read again"))
    assert prepare(config, tmp_path / "out") == folder


def test_added_and_renamed_shards_are_named_and_listing_order_is_not_seen(
    tmp_path, monkeypatch
) -> None:
    config = shards(tmp_path / "given", a_train=300, b_train=300, val=300)
    before = read_manifest(prepare(config, tmp_path / "out"))

    glob = Path.glob
    with monkeypatch.context() as patch:
        patch.setattr(Path, "glob", lambda path, pattern: reversed(sorted(glob(path, pattern))))
        assert read_manifest(prepare(config, tmp_path / "shuffled")) == before

    (tmp_path / "given" / "a_train.bin").rename(tmp_path / "given" / "c_train.bin")
    renamed = read_manifest(prepare(config, tmp_path / "out"))
    assert compare(before, renamed) == (
        "data: train shard 0: found b_train.bin, expected a_train.bin"
    )
    shards(tmp_path / "given", a_train=300, b_train=300, val=300, d_train=300)
    added = read_manifest(prepare(config, tmp_path / "out"))
    assert compare(before, added) == (
        "data: train shard 2: found c_train.bin, expected no more shards"
    )


def test_a_validation_shard_that_is_trained_on_is_refused(tmp_path: Path) -> None:
    config = shards(tmp_path / "given", a_train=300, b_train=300)
    content = (tmp_path / "given" / "b_train.bin").read_bytes()
    (tmp_path / "given" / "val.bin").write_bytes(content)
    with pytest.raises(BadInput, match=r"the same content in val.bin and b_train.bin"):
        prepare(config, tmp_path / "out")


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ({"train": 300}, r"no \*val\*.bin"),
        ({"val": 300}, r"no \*train\*.bin"),
        ({"other": 300}, r"no \*train\*.bin"),
        ({"train": 300, "val": 300, "val_train": 300}, "both train and val"),
    ],
)
def test_a_folder_without_both_splits_is_refused(tmp_path, sizes, why) -> None:
    with pytest.raises(BadInput, match=why):
        prepare(shards(tmp_path / "given", **sizes), tmp_path / "out")


def test_shards_prepared_elsewhere_keep_their_text_counts(corpus, tmp_path) -> None:
    made = prepare(corpus, tmp_path / "out")
    config = replace(corpus, source="shards", path=str(made))
    manifest = read_manifest(prepare(config, tmp_path / "there"))
    assert manifest.val == read_manifest(made).val
    assert manifest.digest == read_manifest(made).digest
    with pytest.raises(BadInput, match="found tokenizer 'gpt2', expected 'bytes'"):
        prepare(replace(config, tokenizer="gpt2"), tmp_path / "there")


@pytest.mark.needs_reference
def test_the_reference_shards_are_a_data_set(tmp_path: Path, data_dir: Path) -> None:
    config = DataConfig("shards", str(data_dir / "shards"), "gpt2", 0.01, 1)
    manifest = read_manifest(prepare(config, tmp_path))
    assert [entry.tokens for entry in manifest.train.shards] == [301_966, 305_260]
    assert [entry.tokens for entry in manifest.val.shards] == [36_059, 32_768]
