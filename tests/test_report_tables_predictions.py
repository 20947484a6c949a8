"""The tables of budgets that the law did not see."""

from typing import Any

from scaling.report.tables.predictions import holdout, predictions, rolling
from tests.support.report_example import study


def test_predictions_say_their_reach_and_their_flags() -> None:
    def bend(values: dict[str, Any]) -> None:
        flags = [
            {"code": "extrapolation", "text": "far"},
            {"code": "bent_frontier", "text": "it bends"},
        ]
        values["predictions"][-1] |= {"beyond": 3.75, "flags": flags}

    *inside, beyond = (row[-1] for row in predictions(study(bend).document, "byte").rows)
    assert beyond == "3.75 times outside; it bends"
    assert "inside" in inside and not any("bends" in reach for reach in inside)


def test_rolling_has_a_row_with_its_errors_for_each_budget_predicted() -> None:
    document = study().document
    (top,) = holdout(document).rows
    (row,) = rolling(document).rows
    assert row == (*top, "21")
    assert "+0.44%" in row and "inside" in row


def test_rolling_says_why_a_law_is_refused() -> None:
    refused = {"law": None, "status": "refused", "reason": "too few runs"}
    document = study(lambda values: values["holdout"]["rolling"][0].update(refused)).document
    assert rolling(document).rows[0][1] == "too few runs"


def test_rolling_without_budgets_has_its_reason() -> None:
    nothing = {"rolling": [], "rolling_reason": "3 budgets, expected more"}
    document = study(lambda values: values["holdout"].update(nothing)).document
    assert rolling(document).empty == "None: 3 budgets, expected more."
