"""A table is read packed or not, from a file or a pipe; what cannot be unpacked says so."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import zipfile

import pyarrow
import pytest

from scaling.fit.table import files
from tests.support.fit_tables import admitted, refusal

TEXT = b"run_id,params,tokens,loss\na,1e6,1e8,3\nb,2e6,1e8,2.9\n"


def zipped(**members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return data.getvalue()


PACKED = {
    "t.csv.gz": gzip.compress(TEXT),
    "t.gz": gzip.compress(TEXT),
    "t.csv.xz": lzma.compress(TEXT),
    "t.csv.bz2": bz2.compress(TEXT),
    "t.csv.zst": pyarrow.compress(TEXT, "zstd", asbytes=True),
    "t.zip": zipped(**{"t.csv": TEXT, "readme.md": b"words"}),
    "t.csv": gzip.compress(TEXT),
}


@pytest.mark.parametrize("name", PACKED)
def test_content_of_unpacks_the_one_table_of_a_file(tmp_path, name):
    """The first bytes say how a file is packed, whatever it is called."""
    path = tmp_path / name
    path.write_bytes(PACKED[name])
    assert admitted(path).run_id == ("a", "b")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(TEXT)[:20], "looks like gzip that cannot be unpacked"),
        (b"\xfd7zXZ\0nothing", "looks like xz that cannot be unpacked"),
        (zipped(**{"a.csv": TEXT, "b.csv": TEXT}), "a zip with 2 tables in it, expected one"),
        (zipped(**{"a.md": TEXT}), "a zip with no table in it"),
        (zipped(**{"[Content_Types].xml": b""}), "looks like a spreadsheet; export it as CSV"),
    ],
    ids=["gzip", "xz", "two tables", "no table", "spreadsheet"],
)
def test_content_of_refuses_what_holds_no_one_table(tmp_path, content, says):
    (tmp_path / "t.csv").write_bytes(content)
    assert says in refusal(tmp_path / "t.csv")


def test_content_of_refuses_what_unpacks_without_end(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MOST_UNPACKED", 100)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"0" * 1000))
    assert "unpacked; write it to a file first" in refusal(tmp_path / "t.csv.gz")


@pytest.mark.parametrize(
    "data",
    [TEXT, gzip.compress(TEXT), b'{"params": 1e6, "tokens": 1, "loss": 3}'],
    ids=["CSV", "gzip", "JSON"],
)
def test_content_of_reads_a_pipe_and_sees_what_it_is(data):
    """CSV, packed CSV or JSON from /dev/stdin, where no ending says which."""
    code = "from pathlib import Path; from scaling.fit.table.readers import read_table; "
    code += "print(read_table(Path('/dev/stdin')).values('params')[0])"
    found = subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, check=True
    )
    assert float(found.stdout) == 1e6


def test_content_of_reads_a_pipe_by_its_number(tmp_path):
    """As the shell gives one for <(command)."""
    reader, writer = os.pipe()
    os.write(writer, TEXT)
    os.close(writer)
    assert admitted(f"/dev/fd/{reader}").run_id == ("a", "b")
    os.close(reader)
