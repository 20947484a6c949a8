"""The local files of a source, or one line that says why it has none."""

from pathlib import Path

import pytest

from common.errors import BadInput
from data.config import DataConfig
from data.prepare.documents import input_files


def test_input_files_refuses_what_holds_none(tmp_path: Path) -> None:
    """No file to read is refused."""
    (tmp_path / "a.pdf").write_text("x")
    for path, why in [
        (tmp_path, "no such file in it"),
        (tmp_path / "missing", "no such file or folder"),
        (tmp_path / "a.pdf", "another kind of file"),
    ]:
        with pytest.raises(BadInput, match=why):
            input_files(DataConfig("files", str(path), "bytes", 0.1, 1))
