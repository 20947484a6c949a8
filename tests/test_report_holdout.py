"""The tables of budgets that the law did not see."""

from report_example import example

from scaling.report.holdout import holdout, rolling


def test_each_budget_foretold_has_a_row_with_its_errors():
    document = example().document
    (top,) = holdout(document).rows
    (row,) = rolling(document).rows
    assert row == (*top, "21")
    assert "+0.44%" in row and "inside" in row


def test_a_budget_whose_law_is_refused_says_why():
    document = example().document
    held = document["holdout"]
    held["rolling"][0] |= {"law": None, "status": "refused", "reason": "too few runs"}
    assert rolling(document).rows[0][1] == "too few runs"


def test_nothing_to_roll_over_has_its_reason():
    document = example().document
    document["holdout"] |= {"rolling": [], "rolling_reason": "3 budgets, expected more"}
    assert rolling(document).empty == "None: 3 budgets, expected more."
    assert rolling({"holdout": None}).rows == ()
