"""Shards copied to a node's own disk: once, whole, compared, and never at the price of the run."""

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from kill_harness import fork
from tiny_sweep import eventually, note
from tiny_training import prepared_config, train_once

from data import stage as module
from data.manifest import read_manifest
from data.prepare import prepare
from data.stage import staged
from training.config import trial_id


@pytest.fixture
def prepared(tmp_path):
    config = prepared_config(tmp_path)
    folder = prepare(config.data, Path(config.runtime.data_dir))
    return folder, read_manifest(folder)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".bin"}


def test_a_copy_is_made_once_and_then_found(tmp_path, prepared, capsys):
    folder, manifest = prepared
    copy = staged(folder, manifest, str(tmp_path / "local"), 5)
    assert copy.parent == tmp_path / "local" and files(copy) == files(folder)
    before = {path: path.stat().st_ino for path in copy.iterdir()}
    assert staged(folder, manifest, str(tmp_path / "local"), 5) == copy
    assert {path: path.stat().st_ino for path in copy.iterdir()} == before
    assert capsys.readouterr().err == ""
    assert staged(folder, manifest, None, 5) == folder


def test_eight_processes_copy_once(tmp_path, prepared, monkeypatch):
    folder, manifest = prepared
    local, copy = tmp_path / "local", shutil.copyfile

    def counted(source, target):
        note(tmp_path / "copied")
        return copy(source, target)

    monkeypatch.setattr(module.shutil, "copyfile", counted)
    children = [
        fork(
            lambda: 0 if staged(folder, manifest, str(local), 30) != folder else 1, tmp_path / "log"
        )
        for _ in range(8)
    ]
    assert [child.wait() for child in children] == [0] * 8
    assert (tmp_path / "copied").read_text().count("x") == len(files(folder)) + 1


def test_a_copier_that_is_killed_leaves_the_copy_to_the_next(tmp_path, prepared, monkeypatch):
    folder, manifest = prepared
    local = tmp_path / "local"

    def hang(source, target):
        Path(target).write_bytes(b"half")
        module.time.sleep(60)

    with monkeypatch.context() as patch:
        patch.setattr(module.shutil, "copyfile", hang)
        child = fork(lambda: staged(folder, manifest, str(local), 5), tmp_path / "log")
        eventually(lambda: list(local.glob(".*.partial/*")))
        child.kill()
        child.wait()
    copy = staged(folder, manifest, str(local), 5)
    assert copy != folder and files(copy) == files(folder) and not list(local.glob(".*.partial"))


def test_who_waits_too_long_reads_the_original(tmp_path, prepared, monkeypatch, capsys):
    folder, manifest = prepared
    local = tmp_path / "local"
    monkeypatch.setattr(module, "_copy", lambda *_: module.time.sleep(60))
    child = fork(lambda: staged(folder, manifest, str(local), 5), tmp_path / "log")
    eventually(lambda: list(local.glob(".*.lock")))
    module.time.sleep(0.1)
    assert staged(folder, manifest, str(local), 0.3) == folder
    child.kill()
    child.wait()
    assert "another process has copied for 0.3 s" in capsys.readouterr().err


def test_a_copy_that_differs_is_not_used(tmp_path, prepared, monkeypatch, capsys):
    folder, manifest = prepared

    def flip(source, target):
        data = bytearray(Path(source).read_bytes())
        data[-1] ^= 1
        Path(target).write_bytes(data)

    monkeypatch.setattr(module.shutil, "copyfile", flip)
    assert staged(folder, manifest, str(tmp_path / "local"), 5) == folder
    error = capsys.readouterr().err
    assert "the copy is not the original" in error and error.count("\n") == 1
    assert [path.suffix for path in (tmp_path / "local").iterdir()] == [".lock"]


def test_a_disk_that_has_no_room_costs_the_copy_only(tmp_path, prepared, monkeypatch, capsys):
    folder, manifest = prepared
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    assert staged(folder, manifest, str(tmp_path / "local"), 5) == folder
    error = capsys.readouterr().err
    assert "has 1,000 bytes free, the shards need" in error and error.count("\n") == 1


@pytest.mark.parametrize("place", ["a file", "below a file"])
def test_a_place_that_is_no_folder_costs_the_copy_only(tmp_path, prepared, capsys, place):
    folder, manifest = prepared
    (tmp_path / "local").write_text("")
    path = tmp_path / "local" / ("x" if place == "below a file" else "")
    assert staged(folder, manifest, str(path), 5) == folder
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.needs_root
def test_a_disk_that_fills_while_it_is_copied_to(tmp_path, prepared, monkeypatch, capsys):
    folder, manifest = prepared
    local = tmp_path / "local"
    local.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(local)], check=True)
    try:
        usage = shutil.disk_usage(local)._replace(free=10**9)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
        assert staged(folder, manifest, str(local), 5) == folder
        assert "No space left on device" in capsys.readouterr().err
        assert not list(local.glob(".*.partial"))
    finally:
        subprocess.run(["umount", str(local)], check=True)


def test_a_run_reads_its_copy_and_ends_in_the_same_bits(tmp_path):
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
