"""Temporary folders: what a killed owner leaves is removed, what a live one has is not."""

import os
import signal
import tempfile
import time

import pytest

from tests.support.kill_harness import fork
from training.trial.scratch import scratch_folder


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def owner(place, kind):
    """A process that owns such a folder until it is killed; the process and its folder."""

    def hold():
        with scratch_folder(kind) as folder:
            (folder / "shape").mkdir()
            time.sleep(600)

    child = fork(hold, place / "log")
    child.until(lambda: list(place.glob(f"{kind}-*/shape")))
    [folder] = place.glob(f"{kind}-*")
    return child, folder


def test_scratch_folder_is_removed_at_its_end(place):
    with scratch_folder("measure") as folder:
        assert folder.parent == place and folder.is_dir()
    assert not list(place.iterdir())


def test_scratch_folder_of_a_killed_owner_is_removed_by_the_next(place):
    """Of its own kind; one whose owner lives stays, and a name of another origin too."""
    child, left = owner(place, "measure")
    strange = place / "measure-abcdefgh"
    strange.mkdir()
    with scratch_folder("measure"):
        assert left.exists()
    child.kill(signal.SIGKILL)
    child.wait()
    with scratch_folder("compile"):
        assert left.exists()
    with scratch_folder("measure"):
        assert not left.exists() and strange.exists()


def test_scratch_folder_of_an_owner_elsewhere_or_of_a_reused_pid_is_told_apart(place):
    """The pid of another machine says nothing here; the same pid started later is another."""
    with scratch_folder("measure") as own:
        kind, here, pid, start, _ = own.name.split("-", 4)
    assert int(pid) == os.getpid()
    elsewhere = place / f"{kind}-00000000-1-1-x"
    reused = place / f"{kind}-{here}-{pid}-{int(start) + 1}-x"
    elsewhere.mkdir(), reused.mkdir()
    with scratch_folder("measure"):
        assert elsewhere.exists() and not reused.exists()


def test_scratch_folder_lies_where_it_is_asked_for(place):
    """In a folder that ranks share, say; there too a dead owner's is removed."""
    (shared := place / "shared").mkdir()
    with scratch_folder("random", shared) as folder:
        assert folder.parent == shared
        kind, here, pid, start, _ = folder.name.split("-", 4)
    (left := shared / f"{kind}-{here}-{pid}-{int(start) + 1}-x").mkdir()
    with scratch_folder("random", shared):
        assert not left.exists()
