"""The names of the columns: which are ours, which are suggested for a user's."""

import pytest

from common.errors import BadInput
from tests.support.fit_examples import write_csv
from tests.support.fit_tables import admitted, refusal


@pytest.mark.parametrize(
    ("header", "hint"),
    [
        ("n,tokens,loss", "map it, as columns.params=n"),
        ("num_params,tokens,loss", "map it, as columns.params=num_params"),
        ("params,n_tokens,loss", "map it, as columns.tokens=n_tokens"),
        ("params,tokens,val_loss", "map it, as columns.loss=val_loss"),
        ("params,tokens,Loss", "map it, as columns.loss=Loss"),
        ("parms,tokens,loss", "map it, as columns.params=parms"),
    ],
)
def test_check_columns_names_the_nearest_of_a_missing_column(tmp_path, header, hint):
    """A missing column is named with the nearest."""
    path = tmp_path / "runs.csv"
    path.write_text(f"{header}\n1e6,1e8,3\n")
    assert hint in refusal(path)


def test_check_columns_maps_other_names(tmp_path):
    """Columns map other names."""
    path = tmp_path / "runs.csv"
    path.write_text("n,d,l\n1e6,1e8,3\n")
    runs = admitted(path, "columns.params=n", "columns.tokens=d", "columns.loss=l")
    assert (runs.params[0], runs.tokens[0], runs.loss[0]) == (1e6, 1e8, 3.0)
    assert "has no column 'm'" in refusal(path, "columns.params=m")
    assert "did you mean columns.params?" in refusal(path, "columns.parms=n")


def test_check_columns_names_ten_thousand_columns_in_part(tmp_path):
    """Ten thousand columns are named in part."""
    names = [f"c{index}" for index in range(10_000)]
    path = write_csv(tmp_path / "t.csv", [dict.fromkeys(["params", "tokens", *names], 1)])
    with pytest.raises(BadInput, match="and 9962 more") as error:
        admitted(path)
    assert len(str(error.value)) < 1000
