"""Comparisons in `where`: which rows they keep, in what units, and what is text all the same."""

import pytest

from tests.support.fit_examples import write_csv
from tests.support.fit_tables import admitted, refusal, row


@pytest.fixture
def path(tmp_path):
    kinds = ["x", "y", ">1", ""]
    rows = [row(run_id=f"r{k}", params=(k + 1) * 1e6, kind=kinds[k]) for k in range(4)]
    return write_csv(tmp_path / "t.csv", rows)


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("where.params=>=3e6", [2, 3]),
        ("where.params=<2M", [0]),
        ("where.params=>1e6,<=3e6", [1, 2]),
        ("where.params=[<2e6,4e6]", [0, 3]),
        ("where.params=!=2e6", [0, 2, 3]),
        ("where.kind=!=x", [1, 2, 3]),
        ("where.kind=!=x,!=y", [2, 3]),
        ("where.kind=!=null", [0, 1, 2]),
        ("where.kind=>1", [2]),
    ],
)
def test_where_compares(path, where, kept):
    """Several comparisons with commas all hold; text that is in the column is that text."""
    assert sorted(admitted(path, where).run_id) == [f"r{k}" for k in kept]


def test_where_compares_in_single_units(tmp_path):
    path = write_csv(tmp_path / "t.csv", [row(params=k, run_id=str(k)) for k in (1, 2, 3)])
    assert admitted(path, "units.params=1e6", "where.params=>1.5e6").run_id == ("2", "3")


def test_where_says_what_it_cannot_compare(path):
    assert "no row with '>9e9'; there are " in refusal(path, "where.params=>9e9")
    assert "expected a number after >=, as >=1e18" in refusal(path, "where.params=>=many")
