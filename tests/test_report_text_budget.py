"""The size for a budget is that of the first law that stands, as far as it can be asked."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scaling.fit.flags import Flag
from scaling.fit.laws import PUBLISHED
from scaling.fit.pipeline import fit
from scaling.report.document import study_of
from scaling.report.study import Study
from scaling.report.text.budget import FARTHEST, ONE_DAY, budget_answers, loss_at_best, reach_of
from tests.support.fit_examples import config, isoflop_rows, write_csv
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


def test_budget_answers_say_where_the_minima_reject_the_one_exponent() -> None:
    """Beyond the budgets of a bent frontier alone."""

    def bend(values: dict[str, Any]) -> None:
        values["laws"]["isoflop"]["flags"] = [{"code": "bent_frontier", "text": "it bends"}]

    top, more, day = budget_answers(study(bend))
    assert top.note == ""
    assert more.note == "extrapolated, though log N* bends"
    assert "Besiroglu" in day.answer and "bends" not in day.note


def test_budget_answers_have_a_loss_that_no_run_denies(tmp_path: Path) -> None:
    """The surface's, or that of L(C) where the surface misses its runs."""
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.003
    )
    found = study_of(fit(config(f"runs={write_csv(tmp_path / 't.csv', rows)}", "n_bootstrap=60")))
    model = PUBLISHED["besiroglu"].optimal_allocation(1e20)
    best = PUBLISHED["besiroglu"].predict_loss(*model)
    loss, by = loss_at_best(found, 1e20, *model)
    assert by == "the surface" and loss == pytest.approx(best, rel=0.01)
    _, day, more = budget_answers(found)
    assert re.search(rf", loss {loss:.2f}\d by the surface", more.answer)
    assert day.budget == "3.42e19 FLOP, one H200 for one day at 40% MFU"
    surface = found.document.laws["parametric"]
    missing = replace(surface, flags=(Flag("misfit", "it misses"),))
    laws = {**found.document.laws, "parametric": missing}
    other = replace(found, document=replace(found.document, laws=laws))
    loss, by = loss_at_best(other, 1e20, *model)
    assert by == "L(C)" and loss == pytest.approx(best, rel=0.02)
    lower = replace(other.runs, loss=0.7 * other.runs.loss)
    assert loss_at_best(replace(other, runs=lower), 1e20, *model) is None
    assert loss_at_best(Study(found.document), 1e20, *model) is None


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
