"""A data set is built once, whole or not at all, by whatever processes ask for it."""

import fcntl
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

import data.prepare.build_directory
from common.errors import BadInput
from data.config import DataConfig
from data.prepare import prepare
from data.prepare.build_directory import building_folder
from data.prepare.shard_writer import ShardWriter
from tests.support.tiny_corpus import prepare_command, tiny_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> DataConfig:
    return tiny_corpus(tmp_path)


def test_building_folder_of_several_processes_becomes_one(
    corpus: DataConfig, tmp_path: Path
) -> None:
    """Several processes prepare one folder."""
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


def test_building_folder_leaves_nothing_after_a_failure(corpus, tmp_path, monkeypatch) -> None:
    """A failure half way leaves nothing."""
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


def killed(corpus: DataConfig, out: Path, before: str) -> Path:
    """What a preparation leaves that is killed before it writes its manifest or its progress."""
    dies = f"import os, {before} as p\n"
    name = "write_manifest" if before.endswith("pipeline") else "save_progress"
    dies += f"p.{name} = lambda *_: os.kill(os.getpid(), 9)\n"
    dies += "import data.prepare.pipeline as p, data.prepare.splits as s\n"
    dies += "s.SAVE_S = -1\n" if name == "save_progress" else ""
    config = f"DataConfig('files', {corpus.path!r}, 'bytes', 0.2, 1)"
    code = f"{dies}from data.config import DataConfig; p.prepare({config}, p.Path({str(out)!r}))"
    already = set(out.glob("*")) | set(out.glob(".*"))
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    [left] = {*out.glob("*"), *out.glob(".*")} - already
    return left


@pytest.mark.parametrize("before", ["data.prepare.pipeline", "data.prepare.splits"])
def test_building_folder_of_a_killed_process_is_removed_by_the_next(
    corpus: DataConfig, tmp_path: Path, before: str
) -> None:
    """At once, however young, for none can be between making and locking its folder."""
    killed(corpus, tmp_path / "out", before)
    folder = prepare(corpus, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == [folder]


def test_building_folders_beside_a_complete_data_set_are_removed_when_it_is_used(
    corpus: DataConfig, tmp_path: Path
) -> None:
    """Of whoever was killed while another completed it, with progress too; and within it."""
    out = tmp_path / "out"
    folder = prepare(corpus, out)
    folder.rename(tmp_path / "aside")
    left = killed(corpus, out, "data.prepare.splits")
    (left / ".progress.json").write_text("{}")
    (tmp_path / "aside").rename(folder)
    (folder / ".lock").touch()
    (folder / ".progress.json.12345678.tmp").touch()
    assert prepare(corpus, out) == folder
    assert list(out.iterdir()) == [folder]
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(("age_s", "stays"), [(3600, True), (100_000, False)])
def test_building_folder_of_another_machine_is_removed_after_a_day(
    corpus: DataConfig, tmp_path: Path, age_s: float, stays: bool
) -> None:
    """Its locks may not be seen here; a living preparation writes all the time."""
    folder = prepare(corpus, tmp_path / "out")
    foreign = tmp_path / "out" / f".{folder.name}.elsewhere.1234"
    foreign.mkdir()
    (foreign / "train_000000.bin").touch()
    for path in (foreign / "train_000000.bin", foreign):
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    prepare(corpus, tmp_path / "out")
    assert foreign.exists() is stays


@pytest.mark.needs_root
@pytest.mark.parametrize("umask", [0o022, 0o002])
def test_building_folder_of_another_user_never_stands_in_the_way(
    corpus: DataConfig, tmp_path: Path, umask: int
) -> None:
    """In a folder that two users share, what one left is removed by the other if it may be."""
    out = tmp_path / "out"
    out.mkdir()
    left = killed(corpus, out, "data.prepare.splits")
    os.chown(out, 4001, 4000)
    out.chmod(0o2777)
    for path in (left, *left.iterdir()):
        os.chown(path, 4001, 4000)
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
    for path in tmp_path.parents:  # pytest's folders are their owner's
        if path.stat().st_mode & 0o001 == 0:
            path.chmod(0o711)
    tmp_path.chmod(0o755)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(4000, 4000, 4000)
            os.setresuid(4002, 4002, 4002)
            folder = prepare(corpus, out)
            expected = {folder} if umask == 0o002 else {folder, left}
            status = 0 if set(out.iterdir()) == expected else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_building_folder_waits_for_no_process_that_was_stopped(
    corpus: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the folder around is locked, what is young may be another's that has not locked it."""
    monkeypatch.setattr(data.prepare.build_directory, "PATIENCE_S", 0.2)
    folder = prepare(corpus, tmp_path / "out")
    folder.rename(tmp_path / "aside")
    left = killed(corpus, tmp_path / "out", "data.prepare.splits")
    holder = os.open(tmp_path / "out", os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    assert prepare(corpus, tmp_path / "out") == folder
    assert left.exists()
    os.close(holder)
    assert prepare(corpus, tmp_path / "out") == folder
    assert list((tmp_path / "out").iterdir()) == [folder]


def test_building_folder_in_use_is_not_removed(corpus: DataConfig, tmp_path: Path) -> None:
    """A preparation at work is not cleared away, even by one that has finished the same."""
    folder = prepare(corpus, tmp_path / "out")
    with building_folder(folder) as mine:
        with building_folder(folder) as other:
            assert mine.exists() and other.exists() and mine != other
        assert not other.exists()
        assert prepare(corpus, tmp_path / "out") == folder
        assert mine.exists()
    assert list((tmp_path / "out").iterdir()) == [folder]
