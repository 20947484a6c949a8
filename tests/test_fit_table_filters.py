"""Comparisons in `where`: which rows they keep, in what units, and what is text all the same."""

import pytest

from scaling.fit.table.inputs import read_sources, values_of
from tests.support.fit_examples import config, write_csv
from tests.support.fit_tables import admitted, refusal, row


def test_values_of_by_are_of_rows_compared_in_units(tmp_path):
    """As the fit of each value compares them."""
    rows = [row(run_id=f"r{k}", params=k + 1.0, kind="xxyy"[k]) for k in range(4)]
    path = write_csv(tmp_path / "t.csv", rows)
    asked = config(f"runs={path}", "by=kind", "units.params=1e6", "where.params=>=3e6")
    assert values_of(read_sources(asked), asked, "kind") == ["y"]


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
