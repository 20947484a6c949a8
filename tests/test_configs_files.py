"""A file or a folder is there whole, or not at all."""

import os
from pathlib import Path

import pytest

from configs.files import whole_folder, write_once


def test_a_folder_appears_at_the_end_readable_by_all(tmp_path: Path) -> None:
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
def test_a_folder_that_is_not_finished_leaves_nothing(tmp_path: Path, error: type) -> None:
    with pytest.raises(error), whole_folder(tmp_path / "out") as building:
        (building / "part").write_text("1")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("1")
    with pytest.raises(OSError), whole_folder(tmp_path / "out") as building:
        (building / "part").write_text("2")
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "kept"]


def test_the_longest_names_that_a_folder_may_have_can_be_built(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    with whole_folder(tmp_path / ("x" * longest)):
        pass
    assert (tmp_path / ("x" * longest)).is_dir()


def test_a_file_written_once_is_never_replaced(tmp_path: Path) -> None:
    assert write_once(tmp_path / "one", "first")
    assert not write_once(tmp_path / "one", "second")
    assert (tmp_path / "one").read_text() == "first"
