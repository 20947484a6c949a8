"""The paths that a user names: home, patterns, URLs, and the name of the results."""

import pytest

from common.errors import BadInput
from scaling.fit.table.paths import expanded, stem


def test_expanded_takes_the_home_folder_and_patterns(tmp_path, monkeypatch):
    """Files of a pattern come in order of their names; a name that is there is no pattern."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("b.csv", "a.csv", "[x].csv", "x.csv"):
        (tmp_path / name).touch()
    assert expanded(["~/a.csv"]) == (f"{tmp_path}/a.csv",)
    assert expanded([f"{tmp_path}/[ab]*.csv"]) == (f"{tmp_path}/a.csv", f"{tmp_path}/b.csv")
    assert expanded([f"{tmp_path}/[x].csv"]) == (f"{tmp_path}/[x].csv",)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (
            "https://example.org/t/runs.csv?raw=1",
            "download it first: curl -L -o runs.csv 'https://",
        ),
        ("s3://bucket/", "is a URL, expected a file"),
        ("/nowhere/*.csv", "no file matches /nowhere/*.csv"),
    ],
)
def test_expanded_refuses_what_is_no_file(path, says):
    with pytest.raises(BadInput, match="runs: ") as error:
        expanded([path])
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/runs.csv", "runs"),
        ("runs.csv.gz", "runs"),
        ("runs/quickstart", "quickstart"),
        ("-", "-"),
    ],
)
def test_stem_is_the_name_without_endings(path, name):
    assert stem(path) == name
