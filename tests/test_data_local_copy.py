"""Shards copied to a node's own disk: once, whole, compared, and never at the price of the run."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from data import local_copy as module
from data.local_copy import local_copy
from data.manifest import read_manifest
from data.prepare import prepare
from tests.support.kill_harness import fork
from tests.support.tiny_sweep import eventually, note
from tests.support.tiny_training import prepared_config, train_once
from training.trial.identity import trial_id


@pytest.fixture
def prepared(tmp_path):
    config = prepared_config(tmp_path)
    folder = prepare(config.data, Path(config.runtime.data_dir))
    return folder, read_manifest(folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".bin"}


def test_local_copy_is_made_once_and_then_found(tmp_path, prepared, capsys):
    folder, manifest = prepared
    copy = local_copy(folder, manifest, str(tmp_path / "local"), 5)
    assert copy.parent == tmp_path / "local" and files(copy) == files(folder)
    before = {path: path.stat().st_ino for path in copy.iterdir()}
    assert local_copy(folder, manifest, str(tmp_path / "local"), 5) == copy
    assert {path: path.stat().st_ino for path in copy.iterdir()} == before
    assert capsys.readouterr().err == ""
    assert local_copy(folder, manifest, None, 5) == folder


def test_local_copy_by_eight_processes_is_one(tmp_path, prepared, monkeypatch):
    """Eight processes copy once."""
    folder, manifest = prepared
    local, copy = tmp_path / "local", shutil.copyfile

    def counted(source, target):
        note(tmp_path / "copied")
        return copy(source, target)

    monkeypatch.setattr(module.shutil, "copyfile", counted)
    children = [
        fork(
            lambda: 0 if local_copy(folder, manifest, str(local), 30) != folder else 1,
            tmp_path / "log",
        )
        for _ in range(8)
    ]
    assert [child.wait() for child in children] == [0] * 8
    assert (tmp_path / "copied").read_text().count("x") == len(files(folder)) + 1


def test_local_copy_of_a_killed_process_is_made_by_the_next(tmp_path, prepared, monkeypatch):
    """A copier that is killed leaves the copy to the next."""
    folder, manifest = prepared
    local = tmp_path / "local"

    def hang(source, target):
        Path(target).write_bytes(b"half")
        module.time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfile", hang)
        child = fork(lambda: local_copy(folder, manifest, str(local), 5), tmp_path / "log")
        eventually(lambda: list(local.glob(".*.partial/*")))
        child.kill()
        child.wait()
    copy = local_copy(folder, manifest, str(local), 5)
    assert copy != folder and files(copy) == files(folder) and not list(local.glob(".*.partial"))


def test_local_copy_waited_for_too_long_is_the_original(tmp_path, prepared, monkeypatch, capsys):
    """Who waits too long reads the original."""
    folder, manifest = prepared
    local = tmp_path / "local"
    monkeypatch.setattr(module, "_copy", lambda *_: module.time.sleep(60))
    child = fork(lambda: local_copy(folder, manifest, str(local), 5), tmp_path / "log")
    eventually(lambda: list(local.glob(".*.lock")))
    module.time.sleep(0.1)
    assert local_copy(folder, manifest, str(local), 0.3) == folder
    child.kill()
    child.wait()
    assert "another process has copied for 0.3 s" in capsys.readouterr().err


def test_local_copy_that_differs_is_not_used(tmp_path, prepared, monkeypatch, capsys):
    folder, manifest = prepared

    def flip(source, target):
        data = bytearray(Path(source).read_bytes())
        data[-1] ^= 1
        Path(target).write_bytes(data)

    monkeypatch.setattr(module.shutil, "copyfile", flip)
    assert local_copy(folder, manifest, str(tmp_path / "local"), 5) == folder
    error = capsys.readouterr().err
    assert "the copy is not the original" in error and error.count("\n") == 1
    assert [path.suffix for path in (tmp_path / "local").iterdir()] == [".lock"]


def test_local_copy_without_room_is_the_original(tmp_path, prepared, monkeypatch, capsys):
    """A disk that has no room costs the copy only."""
    folder, manifest = prepared
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    assert local_copy(folder, manifest, str(tmp_path / "local"), 5) == folder
    error = capsys.readouterr().err
    assert "has 1,000 bytes free, the shards need" in error and error.count("\n") == 1


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_local_copy_without_a_folder_is_the_original(tmp_path, prepared, capsys, place):
    """A place that is no folder costs the copy only."""
    folder, manifest = prepared
    (tmp_path / "local").write_text("")
    path = tmp_path / "local" / ("x" if place == "below a file" else "")
    assert local_copy(folder, manifest, str(path), 5) == folder
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.needs_root
def test_local_copy_on_a_disk_that_fills_is_the_original(tmp_path, prepared, monkeypatch, capsys):
    """A disk that fills while it is copied to."""
    folder, manifest = prepared
    local = tmp_path / "local"
    local.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(local)], check=True)
    try:
        usage = shutil.disk_usage(local)._replace(free=10**9)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
        assert local_copy(folder, manifest, str(local), 5) == folder
        assert "No space left on device" in capsys.readouterr().err
        assert not list(local.glob(".*.partial"))
    finally:
        subprocess.run(["umount", str(local)], check=True)


def test_local_copy_gives_the_same_bits(tmp_path):
    """A run reads its copy and ends in the same bits."""
    config = prepared_config(tmp_path)
    local = tmp_path / "local"
    on_disk = replace(config, runtime=replace(config.runtime, stage=str(local)))
    assert trial_id(on_disk) == trial_id(config)
    one = train_once(config, tmp_path / "one")
    [folder] = [path.parent for path in (tmp_path / "shards").rglob("manifest.json")]
    opened = []
    real = os.open

    def noted(path, *arguments, **options):
        opened.append(str(path))
        return real(path, *arguments, **options)

    os.open = noted
    try:
        other = train_once(on_disk, tmp_path / "other")
    finally:
        os.open = real
    assert other.weights_digest == one.weights_digest and other.data_digest == one.data_digest
    assert any(path.startswith(str(local)) and path.endswith(".bin") for path in opened)
    assert len(files(next(local.glob("files-*")))) == len(files(folder))


def test_local_copy_of_a_learnt_tokenizer_has_its_file(tmp_path, capsys):
    config = prepared_config(tmp_path)
    data = replace(config.data, tokenizer="bpe", vocab_size=270)
    folder = prepare(data, Path(config.runtime.data_dir))
    copy = local_copy(folder, read_manifest(folder), str(tmp_path / "local"), 5)
    assert copy.parent == tmp_path / "local"
    assert (copy / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()


def test_local_copy_that_is_damaged_is_made_again(tmp_path, prepared, capsys):
    """Zeros in the middle, size and times put back."""
    folder, manifest = prepared
    copy = local_copy(folder, manifest, str(tmp_path / "local"), 5)
    shard, status = copy / "train_000000.bin", (copy / "train_000000.bin").stat()
    with shard.open("r+b") as file:
        file.seek(2000)
        file.write(bytes(500))
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert local_copy(folder, manifest, str(tmp_path / "local"), 5) == copy
    assert files(copy) == files(folder)
