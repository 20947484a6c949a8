"""What is held out is a whole budget, and what is foretold of it is compared with itself."""

from dataclasses import replace

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, observations

from scaling.fit.laws import PUBLISHED
from scaling.fit.validation import held_out, hold_out

SURFACE = PUBLISHED["hoffmann_printed"]
BUDGETS = np.geomspace(1e17, 1e19, 5)
SIZES = np.geomspace(1 / 3, 3, 7)
QUICK = "n_bootstrap=60"


@pytest.mark.parametrize("asked", ["1e19", "top"])
@pytest.mark.parametrize("labelled", [7, 5])
def test_no_budget_is_cut_in_two(asked, labelled):
    runs = observations(isoflop_rows(SURFACE, BUDGETS, SIZES, 0.002))
    # The runs' own FLOP lie on both sides of the budget they were planned for.
    runs = replace(runs, flops=runs.flops * np.tile(np.linspace(0.97, 1.02, 7), 5))
    runs.flops_budget[-1] *= 1 - 1e-9  # as a table of fewer digits has it
    runs.flops_budget[28 + labelled :] = np.nan  # of an earlier plan: they join the budget
    top = np.arange(35) >= 28
    held, budget = held_out(runs, config("runs=x", f"holdout={asked}"))
    assert (held == top).all()
    if labelled == 5 or asked == "1e19":
        assert sorted(budget) == list(range(28, 35))
    entry = hold_out(runs, config("runs=x", f"holdout={asked}", QUICK))
    assert entry["status"] == "ok"
    assert entry["flops"] == pytest.approx(1e19)
    assert entry["loss_observed"] == runs.loss[top].min()


def test_runs_without_a_budget_are_held_out_by_their_own_flop():
    runs = observations(isoflop_rows(SURFACE, BUDGETS, SIZES))
    runs.flops_budget[:] = np.nan
    held, _ = held_out(
        replace(runs, flops=np.linspace(1e17, 1e19, 35)), config("runs=x", "holdout=5e18")
    )
    assert (held == (np.linspace(1e17, 1e19, 35) >= 5e18)).all()


def test_the_predicted_size_is_compared_at_the_valley_that_was_seen():
    rows = isoflop_rows(SURFACE, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[-1]:
            row["loss"] += 0.5  # so that the best run held out is of the budget below
    entry = hold_out(observations(rows), config("runs=x", "holdout=3e18", QUICK))
    assert entry["flops"] == pytest.approx(BUDGETS[-2])
    assert abs(entry["n_opt_error"]) < 0.02


def test_no_other_valley_stands_in_for_one_that_is_open():
    small = [factor for factor in SIZES if factor < 1.01]
    rows = isoflop_rows(SURFACE, BUDGETS[:-1], SIZES)
    rows += isoflop_rows(SURFACE, BUDGETS[-1:], small)
    entry = hold_out(observations(rows), config("runs=x", "holdout=3e18", QUICK))
    assert entry["flops"] == pytest.approx(BUDGETS[-1])
    assert entry["n_opt_error"] is None


def test_every_budget_of_an_exact_surface_is_foretold_by_those_below():
    entry = hold_out(observations(isoflop_rows(SURFACE, BUDGETS, SIZES)), config("runs=x", QUICK))
    rolling = entry["rolling"]
    assert [row["flops"] for row in rolling] == pytest.approx(BUDGETS[3:])
    assert [row["runs_below"] for row in rolling] == [21, 28]
    for row in rolling:
        assert row["law"] == "parametric"
        assert abs(row["loss_error"]) < 1e-6
        assert abs(row["n_opt_error"]) < 0.02  # the parabola's own bias
    assert entry["rolling_reason"] is None
    assert rolling[-1]["loss_error"] == pytest.approx(entry["loss_error"], abs=1e-9)


def test_a_top_budget_that_breaks_the_law_stands_out():
    rows = isoflop_rows(SURFACE, BUDGETS, SIZES, 0.002, 1)
    for row in rows[-7:]:
        row["loss"] += 0.15
    *before, top = hold_out(observations(rows), config("runs=x", QUICK))["rolling"]
    assert top["inside90"] is False and top["loss_error"] < -0.03
    assert before and all(abs(row["loss_error"]) < 0.01 for row in before)


def test_too_few_budgets_leave_nothing_to_roll_over():
    few = hold_out(observations(isoflop_rows(SURFACE, BUDGETS[:3], SIZES)), config("runs=x", QUICK))
    assert few["rolling"] == []
    assert few["rolling_reason"] == "3 budgets with a vertex, expected 3 below the one foretold"
    rows = observations(isoflop_rows(SURFACE, BUDGETS, SIZES))
    unasked = hold_out(rows, config("runs=x", "holdout=none"))
    assert unasked["rolling"] == [] and "holdout=none" in unasked["rolling_reason"]
