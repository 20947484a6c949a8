"""Disks that are full, read-only, or gone: one line, and what was saved stays."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.support.kill_harness import fork
from tests.support.tiny_training import prepared_config
from tests.support.train_command import run_in
from training.trial.attempt import newest_attempt
from training.trial.checkpoint import newest
from training.trial.metrics import read_metrics
from training.trial.record import read_record

pytestmark = pytest.mark.timeout(120)


def mount(*arguments: str) -> None:
    if subprocess.run(["mount", *arguments], capture_output=True).returncode:
        pytest.skip("needs the right to mount")


@pytest.fixture
def small(tmp_path) -> Iterator[Path]:
    """A disk of 1 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def read_only(tmp_path) -> Iterator[Path]:
    """A folder mounted read-only: permissions do not stop root."""
    folder = tmp_path / "read-only"
    folder.mkdir()
    mount("--bind", str(folder), str(folder))
    subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_ends_the_run_and_spares_what_was_saved(tmp_path, small):
    out = small / "out"
    child = fork(
        lambda: run_in(out, prepared_config(tmp_path, 4000, runtime__keep_checkpoints=1)),
        tmp_path / "log",
    )
    child.until(lambda: len(read_metrics(out)) > 3)
    with (small / "fill").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    assert child.wait() == 2
    said = child.log.read_text()
    assert "no checkpoint (1 of 3)" in said and "; needs over " in said
    assert "No space left on device" in said or "as on a full disk" in said  # torch has two words
    assert said.splitlines()[-1].startswith("error: ") and said.endswith("3 times in a row\n")
    saved = newest(out, print)
    assert saved is not None and saved.meta.step > 1
    assert not list(out.rglob(".*"))


@pytest.mark.parametrize(
    "kilobytes",
    [
        pytest.param(size, marks=() if size in (4, 40, 76, 112) else pytest.mark.slow)
        for size in range(4, 129, 12)
    ],
)
def test_a_disk_without_room_never_fails_a_run(tmp_path, capsys, kilobytes):
    """Whatever the moment at which it is full: one line, no record, and with room it goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(disk))
    try:
        config = prepared_config(tmp_path, 20)
        status = run_in(disk / "out", config)
        error = capsys.readouterr().err
        if status:
            assert status == 2 and error.count("\n") == 1, error
            assert "No space left on device" in error or "the disk refused 3 times" in error
            assert not (disk / "out" / "record.json").exists()
        mount("-o", "remount,size=10m", str(disk))
        if attempt := newest_attempt(disk / "out"):
            attempt.release()  # its owner, this process, lives
        assert run_in(disk / "out", config) == 0
        assert read_record(disk / "out").status == "done"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_read_only_out_is_refused_before_the_first_step(tmp_path, read_only, capsys):
    assert run_in(read_only / "out", prepared_config(tmp_path)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"out: {read_only / 'out'}: Read-only file system" in error


def test_data_that_cannot_be_prepared_for_want_of_a_place_name_it(tmp_path, read_only, capsys):
    config = prepared_config(tmp_path, runtime__data_dir=str(read_only))
    assert run_in(tmp_path / "out", config) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "Read-only file system" in error and str(read_only) in error
    assert not (tmp_path / "out").exists()


def test_a_folder_that_vanishes_ends_the_run_and_is_not_made_again(tmp_path, monkeypatch):
    """The heartbeat's thread beats all the time."""
    monkeypatch.setattr("training.trial.attempt.BEAT_S", 0.001)
    out = tmp_path / "out"
    child = fork(lambda: run_in(out, prepared_config(tmp_path, 40_000)), tmp_path / "log")
    child.until(lambda: read_metrics(out))
    out.rename(tmp_path / "elsewhere")
    assert child.wait() == 2
    said = child.log.read_text()
    assert "no checkpoint (1 of 3)" in said and "No such file or directory" in said
    assert not list(out.glob("attempt-*/heartbeat")) and read_record(out) is None


def cut(path: Path) -> None:
    os.truncate(path, 2000)


def replaced(path: Path) -> None:
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").rename(path)


@pytest.mark.parametrize("happens", [cut, replaced, Path.unlink])
def test_data_that_change_under_a_run_stop_it_and_spare_the_checkpoint(tmp_path, happens):
    out = tmp_path / "out"
    child = fork(lambda: run_in(out, prepared_config(tmp_path, 4000)), tmp_path / "log")
    child.until(lambda: len(read_metrics(out)) > 1)
    [shard] = (tmp_path / "shards").glob("*/train_000000.bin")
    happens(shard)
    assert child.wait() == 2
    last = child.log.read_text().splitlines()[-1]
    assert last.startswith(f"error: {shard}: ") and "since it was opened" in last
    saved = newest(out, print)
    assert saved is not None and saved.meta.step >= len(read_metrics(out)) - 1
