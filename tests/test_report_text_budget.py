"""The size for a budget is that of the first law that stands, as far as it can be asked."""

from typing import Any

import pytest

from scaling.fit.laws import PUBLISHED
from scaling.report.study import Study
from scaling.report.text.budget import FARTHEST, ONE_DAY, budget_answers, reach_of
from tests.support.report_example import study


def test_one_day_of_a_gpu_is_its_peak_at_the_usual_utilisation() -> None:
    assert pytest.approx(989.4e12 * 0.4 * 86400) == ONE_DAY


def test_budget_answers_are_those_of_the_first_law() -> None:
    top, more, day = budget_answers(study())
    assert top.budget == "8e11 FLOP, the most measured" and top.note == ""
    assert top.answer.startswith("62.6k parameters (") and "bytes (" in top.answer
    assert more.budget.startswith("8e12 FLOP") and more.note == "extrapolated"
    n, d = PUBLISHED["besiroglu"].optimal_allocation(ONE_DAY)
    assert f"{n / 1e6:.0f}M parameters on {d / 1e9:.1f}B tokens by Besiroglu" in day.answer
    assert day.note == "4e7 times beyond this study"


def test_budget_answers_of_a_saved_fit_have_an_interval_where_it_states_one() -> None:
    top, more, _ = budget_answers(Study(study().document))
    assert "(" in top.answer and "(" not in more.answer


def test_budget_answers_without_a_law_are_none() -> None:
    refused = {"status": "refused", "flags": [], "reason": "x"}

    def refuse(values: dict[str, Any]) -> None:
        values["laws"] = {"parametric": refused}

    assert budget_answers(study(refuse)) == ()


def test_reach_holds_what_is_asked_for() -> None:
    """The budgets of the first screen are among those with an interval, and none is too far."""
    for low, high in ((1e17, 1e19), (1e10, 1e12)):
        found = reach_of(low, high)
        assert {high, 10 * high, 100 * high} <= set(found) and found == sorted(found)
        assert found[-1] <= FARTHEST * high * 1.001
    assert ONE_DAY in reach_of(1e17, 1e19) and ONE_DAY not in reach_of(1e10, 1e12)
