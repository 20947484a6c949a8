"""A folder is there whole, or not at all; what is written follows the umask."""

import os
from pathlib import Path

import pytest

from common.errors import BadInput
from common.files import write_atomic, write_once
from common.folders import new_folder, whole_folder


def test_whole_folder_appears_at_the_end_readable_by_all(tmp_path: Path) -> None:
    out = tmp_path / "parent" / "out"
    with whole_folder(out) as building:
        (building / "part").write_text("1")
        assert not out.exists()
        assert building.parent == out.parent  # one file system, so that a rename is enough
        assert building.name.startswith(".")
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "part").read_text() == "1"
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_whole_folder_leaves_nothing_unfinished(tmp_path: Path, error: type) -> None:
    """A folder that is not finished leaves nothing."""
    with pytest.raises(error), whole_folder(tmp_path / "out") as building:
        (building / "part").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_whole_folder_never_replaces(tmp_path: Path) -> None:
    """A folder that is there is never replaced."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("1")
    with pytest.raises(OSError), whole_folder(tmp_path / "out") as building:
        (building / "part").write_text("2")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "kept"]


def test_whole_folder_removes_what_a_killed_process_left(tmp_path: Path) -> None:
    """Of the same folder, once it is a minute old; not what a living process holds, nor another's
    names.
    """
    child = os.fork()
    if child == 0:
        with whole_folder(tmp_path / "out") as building:
            (building / "part").write_text("1")
            os.kill(os.getpid(), 9)
    os.waitpid(child, 0)
    [left] = tmp_path.iterdir()
    for name in (".out.settings", ".out.0123abc", ".other.01234567", ".out.01234567"):
        (tmp_path / name).mkdir()
    young = tmp_path / ".out.01234567"
    with whole_folder(tmp_path / "out") as held:
        for path in (left, held):
            os.utime(path, (0, 0))
        with whole_folder(tmp_path / "out"):
            assert held.exists() and young.exists() and not left.exists()
        (tmp_path / "out").rmdir()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"out", ".out.settings", ".out.0123abc", ".other.01234567", young.name}


def test_whole_folder_takes_the_longest_names(tmp_path: Path) -> None:
    """The longest names that a folder may have can be built."""
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    with whole_folder(tmp_path / ("x" * longest)):
        pass
    assert (tmp_path / ("x" * longest)).is_dir()


def test_new_folder_says_why_it_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    file = tmp_path / "file"
    with pytest.raises(BadInput, match=f"^out: {file}: found something there"), new_folder(file):
        pass
    with pytest.raises(BadInput, match=f"^out: {file}: File exists"), new_folder(file / "out"):
        pass
    with pytest.raises(BadInput, match="^out: part: No space left"), new_folder(tmp_path / "out"):
        raise OSError(28, "No space left on device", "part")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077])
def test_every_file_and_folder_follows_the_umask(tmp_path: Path, umask: int) -> None:
    """Also what a library wrote by way of a temporary file of its owner's alone."""
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "one" / "atomic", "1")
        write_once(tmp_path / "one" / "once", "1")
        with whole_folder(tmp_path / "one" / "out") as building:
            (building / "within").mkdir()
            os.close(os.open(building / "within" / "private", os.O_CREAT, 0o600))
            (building / "link").symlink_to(tmp_path / "linked")
            (tmp_path / "linked").touch(0o640)
    finally:
        os.umask(before)
    for path in (tmp_path / "one").rglob("*"):
        if not path.is_symlink():
            most = 0o777 if path.is_dir() else 0o666
            assert oct(path.stat().st_mode & 0o777) == oct(most & ~umask), path
    assert (tmp_path / "linked").stat().st_mode & 0o777 == 0o640 & ~umask
