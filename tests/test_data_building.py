"""A data set is built once, whole or not at all, by whatever processes ask for it."""

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tiny_corpus import prepare_command, tiny_corpus

import data.building
from configs.errors import BadInput
from data.building import building_folder
from data.config import DataConfig
from data.prepare import prepare
from data.writer import ShardWriter


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def test_several_processes_prepare_one_folder(corpus: DataConfig, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ("source=files", f"path={corpus.path}", "tokenizer=bytes", "val_fraction=0.2")
    processes = [
        subprocess.Popen(
            prepare_command(*arguments, f"out={out}"), stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    printed = {process.communicate()[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    [folder] = out.iterdir()
    [line] = printed
    assert line.startswith(f"{folder}: ") and line.endswith(" validation tokens (bytes)\n")
    assert folder == prepare(corpus, out)


def test_a_failure_half_way_leaves_nothing(corpus, tmp_path, monkeypatch) -> None:
    write, calls = ShardWriter.write, Counter[str]()

    def fail_later(writer: ShardWriter, ids) -> None:
        calls["write"] += 1
        if calls["write"] == 150:
            raise OSError(28, "No space left on device", "train_000000.bin")
        write(writer, ids)

    monkeypatch.setattr(ShardWriter, "write", fail_later)
    with pytest.raises(BadInput, match="train_000000.bin: No space left on device"):
        prepare(corpus, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_killed_preparation_is_cleared_away_by_the_next(corpus, tmp_path, monkeypatch) -> None:
    out = tmp_path / "out"
    dies = "import os, data.prepare as p; p.write_manifest = lambda *_: os.kill(os.getpid(), 9)"
    config = f"DataConfig('files', {corpus.path!r}, 'bytes', 0.2, 1)"
    code = f"{dies}; from data.config import DataConfig; p.prepare({config}, p.Path({str(out)!r}))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    [left] = out.iterdir()
    folder = prepare(corpus, out)  # it may be at work still, as far as its age tells
    assert left.exists()
    (folder / "manifest.json").unlink()
    folder.rename(tmp_path / "gone")
    os.utime(left, (time.time() - 100, time.time() - 100))
    prepare(corpus, out)
    assert not left.exists()


def test_a_preparation_at_work_is_not_cleared_away(corpus, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(data.building, "ABANDONED_S", -1)
    folder = tmp_path / "data"
    with building_folder(folder) as mine, building_folder(folder) as b:
        assert mine.exists() and b.exists() and mine != b
    assert list(tmp_path.iterdir()) == [tmp_path / "corpus"]
