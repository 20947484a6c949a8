"""Ready shards become a data set where they lie."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import data.prepare.ready_shards
from common.errors import BadInput
from data.config import DataConfig
from data.manifest import compare, read_manifest
from data.prepare import prepare
from tests.support.tiny_corpus import ids_of, tiny_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def shards(folder: Path, **sizes: int) -> DataConfig:
    folder.mkdir(parents=True, exist_ok=True)
    for index, (name, size) in enumerate(sizes.items()):
        rng = np.random.default_rng(index)
        rng.integers(0, 50257, size).astype("<u2").tofile(folder / f"{name}.bin")
    return DataConfig("shards", str(folder), "gpt2", val_fraction=0.01, max_epochs=1)


def test_link_leaves_shards_where_they_are(tmp_path: Path) -> None:
    """Ready shards stay where they are."""
    config = shards(tmp_path / "given", train=3000, val=500)
    before = sorted((tmp_path / "given").iterdir())
    folder = prepare(config, tmp_path / "out")
    manifest = read_manifest(folder)
    assert sorted((tmp_path / "given").iterdir()) == before
    assert (manifest.train.tokens, manifest.val.tokens) == (3000, 500)
    assert manifest.vocab_size == 50257
    assert manifest.val.text_bytes is None
    expected = np.fromfile(tmp_path / "given" / "val.bin", "<u2")
    np.testing.assert_array_equal(ids_of(folder, manifest, "val"), expected)


def test_link_keeps_shards_of_folders_whose_names_run_together(tmp_path: Path) -> None:
    """train_a/0train.bin and train/a_0train.bin are two shards, each with its own tokens."""
    root = tmp_path / "given"
    shards(root / "train_a", **{"0train": 300})
    shards(root / "train", **{"skipped": 0, "a_0train": 400})
    (root / "train" / "skipped.bin").unlink()
    shards(root / "val", **{"skipped": 0, "more": 0, "val": 500})
    (root / "val" / "skipped.bin").unlink(), (root / "val" / "more.bin").unlink()
    folder = prepare(replace(shards(root), path=str(root)), tmp_path / "out")
    manifest = read_manifest(folder)
    assert (manifest.train.tokens, manifest.val.tokens) == (700, 500)
    names = [entry.name for entry in manifest.train.shards]
    assert names == ["train_a_0train.bin", "2-train_a_0train.bin"]
    given = [np.fromfile(root / name, "<u2") for name in ("train/a_0train.bin",)]
    given.append(np.fromfile(root / "train_a" / "0train.bin", "<u2"))
    np.testing.assert_array_equal(ids_of(folder, manifest, "train"), np.concatenate(given))


def test_link_digests_shards_once(tmp_path, monkeypatch) -> None:
    config = shards(tmp_path / "given", train=3000, val=500)
    folder = prepare(config, tmp_path / "out")
    monkeypatch.setattr(
        data.prepare.ready_shards, "file_digest", lambda path: pytest.fail("read again")
    )
    assert prepare(config, tmp_path / "out") == folder


def test_link_sorts_shards_and_compare_names_what_changed(tmp_path, monkeypatch) -> None:
    """Added and renamed shards are named and listing order is not seen."""
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


def test_link_refuses_a_validation_shard_that_is_trained_on(tmp_path: Path) -> None:
    config = shards(tmp_path / "given", a_train=300, b_train=300)
    content = (tmp_path / "given" / "b_train.bin").read_bytes()
    (tmp_path / "given" / "val.bin").write_bytes(content)
    with pytest.raises(BadInput, match=r"the same content in val.bin and b_train.bin"):
        prepare(config, tmp_path / "out")


@pytest.mark.parametrize(
    ("sizes", "why"),
    [
        ({"train": 300}, "found none with the word val in its name"),
        ({"val": 300}, "found none with the word train in its name"),
        ({"other": 300}, "found none with the word train in its name"),
        ({"retrieval": 300, "train": 300}, "found none with the word val in its name"),
        ({"train": 300, "val": 300, "val_train": 300}, "both train and val"),
    ],
)
def test_link_refuses_a_folder_without_both_splits(tmp_path, sizes, why) -> None:
    with pytest.raises(BadInput, match=why):
        prepare(shards(tmp_path / "given", **sizes), tmp_path / "out")


def test_shard_files_says_that_a_file_was_named_for_their_folder(tmp_path: Path) -> None:
    shards(tmp_path / "given", train=300, val=300)
    with pytest.raises(BadInput, match="found a file, expected a folder"):
        data.prepare.ready_shards.shard_files(tmp_path / "given" / "train.bin")


def header(count: int) -> bytes:
    fields = np.zeros(256, "<i4")
    fields[:3] = 20240520, 1, count
    return fields.tobytes()


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("retrieval_train_000000.bin", "retrieval_val_000000.bin"),
        ("constrained_Train_0.bin", "constrained-validation.0.bin"),
        ("edu_fineweb_train_000001.bin", "edu_fineweb_val_000000.bin"),
        ("pile10B-valued-training0001.bin", "pile10B-valued-valid0000.bin"),
        ("train/retrieval_0.bin", "val/retrieval_0.bin"),
        ("my training set/0.bin", "my.validation.set/0.bin"),
        ("train/fineweb_train_0.bin", "val/fineweb_val_0.bin"),
    ],
)
def test_shard_files_takes_whole_words_for_splits(tmp_path: Path, train, val) -> None:
    """Of the file's name, or else of its folder's; the name of `data.path` itself says nothing."""
    root = tmp_path / "train_val"
    for name, count in ((train, 700), (val, 300)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        ids = np.random.default_rng(count).integers(0, 50257, count).astype("<u2")
        (root / name).write_bytes(header(count) + ids.tobytes())
    config = DataConfig("shards", str(root), "gpt2", 0.01, 1)
    folder = prepare(config, tmp_path / "out")
    manifest = read_manifest(folder)
    assert (manifest.train.tokens, manifest.val.tokens) == (700, 300)
    assert len(ids_of(folder, manifest, "val")) == 300


def test_shard_files_refuses_a_name_that_contradicts_its_folder(tmp_path: Path) -> None:
    for name in ("train/a_val_0.bin", "val/a_0.bin"):
        (tmp_path / "d" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "d" / name).write_bytes(header(300) + bytes(600))
    with pytest.raises(BadInput, match="a_val_0.bin: found both train and val in its path"):
        prepare(DataConfig("shards", str(tmp_path / "d"), "gpt2", 0.01, 1), tmp_path / "out")


def test_link_says_which_files_are_left_aside(tmp_path: Path, capsys) -> None:
    """And looks into folders only where the folder itself has no shards."""
    config = shards(tmp_path / "given", train=3000, val=500, test=400, interval_3=100)
    shards(tmp_path / "given" / "train", old=900)
    manifest = read_manifest(prepare(config, tmp_path / "out"))
    assert (manifest.train.tokens, manifest.val.tokens) == (3000, 500)
    assert "files: interval_3.bin, test.bin\n" in capsys.readouterr().err


def test_link_takes_the_arrays_of_build_nanogpt(tmp_path: Path) -> None:
    """edu_fineweb10B: one validation shard and the training shards, saved by numpy."""
    (tmp_path / "edu").mkdir()
    rng = np.random.default_rng(0)
    for name, count in (("val_000000", 300), ("train_000001", 700), ("train_000002", 500)):
        ids = rng.integers(0, 50257, count).astype(np.uint16)
        np.save(tmp_path / "edu" / f"edufineweb_{name}", ids)
    folder = prepare(DataConfig("shards", str(tmp_path / "edu"), "gpt2", 0.01, 1), tmp_path / "out")
    manifest = read_manifest(folder)
    assert [entry.tokens for entry in manifest.train.shards] == [700, 500]
    np.testing.assert_array_equal(ids_of(folder, manifest, "train")[700:], ids)


def test_link_takes_no_array_beside_bin_files(tmp_path: Path, capsys) -> None:
    """Beside .bin files an array is the same tokens again, or losses that somebody plotted."""
    config, folder = shards(tmp_path / "given", train=3000, val=500), tmp_path / "given"
    alone = read_manifest(prepare(config, tmp_path / "alone"))
    np.save(folder / "train.npy", np.fromfile(folder / "train.bin", "<u2"))
    np.save(folder / "val_losses.npy", np.ones(3))
    beside = prepare(config, tmp_path / "beside")
    assert read_manifest(beside).digest == alone.digest
    assert "train.npy, val_losses.npy" in capsys.readouterr().err
    (folder / "train.bin").unlink()
    assert read_manifest(prepare(config, tmp_path / "mixed")).train.shards[0].name == "train.npy"


def test_with_text_counts_keeps_those_of_the_manifest_beside_the_shards(corpus, tmp_path) -> None:
    """Shards prepared elsewhere keep their text counts."""
    made = prepare(corpus, tmp_path / "out")
    config = replace(corpus, source="shards", path=str(made))
    manifest = read_manifest(prepare(config, tmp_path / "there"))
    assert manifest.val == read_manifest(made).val
    assert manifest.digest == read_manifest(made).digest
    with pytest.raises(BadInput, match="found tokenizer 'gpt2', expected 'bytes'"):
        prepare(replace(config, tokenizer="gpt2"), tmp_path / "there")


@pytest.mark.needs_reference
def test_link_takes_the_reference_shards(tmp_path: Path, data_dir: Path) -> None:
    """The reference shards are a data set."""
    config = DataConfig("shards", str(data_dir / "shards"), "gpt2", 0.01, 1)
    manifest = read_manifest(prepare(config, tmp_path))
    assert [entry.tokens for entry in manifest.train.shards] == [301_966, 305_260]
    assert [entry.tokens for entry in manifest.val.shards] == [36_059, 32_768]
