"""Runs without N, D or a loss are named all at once, and left out and listed by one word."""

import pytest

from tests.support.fit_examples import write_csv
from tests.support.fit_tables import admitted, refusal, row


@pytest.fixture
def path(tmp_path):
    rows = [row(run_id=f"r{k}", params=(k + 1) * 1e6, status="done") for k in range(6)]
    rows[1]["loss"], rows[2]["params"], rows[4]["tokens"] = "N/A", "", "-"
    rows[5] |= {"loss": "nan", "status": "crashed"}
    return write_csv(tmp_path / "t.csv", rows)


def test_refuse_incomplete_names_all_of_them(path):
    """A run that is excluded for its status needs no loss."""
    assert refusal(path) == (
        f"{path}: 3 of 6 runs lack a value: r1 (loss: 'N/A'), r2 (params: nothing), r4 (tokens: "
        "'-'); expected params, tokens and loss; incomplete=exclude leaves them out"
    )


def test_incomplete_exclude_leaves_them_out_and_lists_them(path):
    """planned = used + excluded."""
    found = admitted(path, "incomplete=exclude")
    assert found.run_id == ("r0", "r3") and found.planned == 6
    assert [(lost.run_id, lost.reason) for lost in found.excluded] == [
        ("r1", "incomplete: loss: 'N/A'"),
        ("r2", "incomplete: params: nothing"),
        ("r4", "incomplete: tokens: '-'"),
        ("r5", "status crashed"),
    ]


def test_refuse_incomplete_gives_the_place_of_one(path):
    said = refusal(path, "exclude=[r1,r2]")
    assert said.startswith(f"{path}:6 (run r4): tokens: found '-', expected a number; incomplete=")


def test_incomplete_exclude_still_refuses_what_is_wrong(tmp_path):
    """A loss below zero, or a word, is an error and no gap."""
    for wrong in (-3, "three"):
        path = write_csv(tmp_path / "t.csv", [row(), row(run_id="b", loss=wrong)])
        assert "loss: found " in refusal(path, "incomplete=exclude")


def test_words_for_nothing_are_empty_cells_in_other_columns(tmp_path):
    path = write_csv(tmp_path / "t.csv", [row(lr="N/A", flops="nan"), row(run_id="b", lr=1e-3)])
    assert sorted(admitted(path).flops) == [6e14, 6e14]
    assert "lr: found 'fast'" in refusal(write_csv(tmp_path / "t.csv", [row(lr="fast")]))


def test_refuse_incomplete_offers_no_exclusion_that_leaves_nothing(tmp_path):
    """Sizes that stand in rows of their own, say: of runs told apart by nothing."""
    rows = [row(run_id="", params="", tokens=k * 1e8, status="done") for k in (1, 2, 3)]
    said = refusal(write_csv(tmp_path / "t.csv", rows))
    assert said.endswith("expected params, tokens and loss in one row of each run")
