"""What is held out is a whole budget, and what is predicted of it is compared with itself."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.checks.holdout import held_out, hold_out
from scaling.fit.laws import PUBLISHED
from scaling.fit.summary import summary
from tests.support.fit_examples import config, isoflop_rows, observations
from tests.support.fit_runs import QUICK, fitted, table

SURFACE = PUBLISHED["hoffmann_printed"]
BUDGETS = np.geomspace(1e17, 1e19, 5)
SIZES = np.geomspace(1 / 3, 3, 7)


@pytest.mark.parametrize("asked", ["1e19", "top"])
@pytest.mark.parametrize("labelled", [7, 5])
def test_held_out_keeps_budgets_whole(asked, labelled):
    """No budget is cut in two."""
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
    assert entry.status == "ok"
    assert entry.flops == pytest.approx(1e19)
    assert entry.loss_observed == runs.loss[top].min()


def test_held_out_by_own_flop():
    """Runs without a budget are held out by their own flop."""
    runs = observations(isoflop_rows(SURFACE, BUDGETS, SIZES))
    runs.flops_budget[:] = np.nan
    held, _ = held_out(
        replace(runs, flops=np.linspace(1e17, 1e19, 35)), config("runs=x", "holdout=5e18")
    )
    assert (held == (np.linspace(1e17, 1e19, 35) >= 5e18)).all()


def test_n_opt_error_is_at_the_curve_seen():
    """The predicted size is compared at the minimum of the held-out IsoFLOP curve."""
    rows = isoflop_rows(SURFACE, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[-1]:
            row["loss"] += 0.5  # so that the best run held out is of the budget below
    entry = hold_out(observations(rows), config("runs=x", "holdout=3e18", QUICK))
    assert entry.flops == pytest.approx(BUDGETS[-2])
    assert abs(entry.n_opt_error) < 0.02


def test_n_opt_error_of_an_open_curve_is_unknown():
    """No other IsoFLOP curve stands in for one that is open."""
    small = [factor for factor in SIZES if factor < 1.01]
    rows = isoflop_rows(SURFACE, BUDGETS[:-1], SIZES)
    rows += isoflop_rows(SURFACE, BUDGETS[-1:], small)
    entry = hold_out(observations(rows), config("runs=x", "holdout=3e18", QUICK))
    assert entry.flops == pytest.approx(BUDGETS[-1])
    assert entry.n_opt_error is None


def test_roll_predicts_an_exact_surface():
    """Every budget of an exact surface is predicted by those below."""
    entry = hold_out(observations(isoflop_rows(SURFACE, BUDGETS, SIZES)), config("runs=x", QUICK))
    rolling = entry.rolling
    assert [row.flops for row in rolling] == pytest.approx(BUDGETS[3:])
    assert [row.runs_below for row in rolling] == [21, 28]
    for row in rolling:
        assert row.law == "parametric"
        assert abs(row.loss_error) < 1e-6
        assert abs(row.n_opt_error) < 0.02  # the parabola's own bias
    assert entry.rolling_reason is None
    assert rolling[-1].loss_error == pytest.approx(entry.loss_error, abs=1e-9)


def test_roll_shows_a_broken_law():
    """A top budget that breaks the law stands out."""
    rows = isoflop_rows(SURFACE, BUDGETS, SIZES, 0.002, 1)
    for row in rows[-7:]:
        row["loss"] += 0.15
    *before, top = hold_out(observations(rows), config("runs=x", QUICK)).rolling
    assert top.inside90 is False and top.loss_error < -0.03
    assert before and all(abs(row.loss_error) < 0.01 for row in before)


def test_roll_needs_budgets():
    """Too few budgets leave nothing to roll over."""
    few = hold_out(observations(isoflop_rows(SURFACE, BUDGETS[:3], SIZES)), config("runs=x", QUICK))
    assert few.rolling == ()
    assert few.rolling_reason == "3 budgets with a minimum, expected 3 below the one predicted"
    rows = observations(isoflop_rows(SURFACE, BUDGETS, SIZES))
    unasked = hold_out(rows, config("runs=x", "holdout=none"))
    assert unasked.rolling == () and "holdout=none" in unasked.rolling_reason


def test_hold_out_at_a_flop_or_not_at_all(tmp_path):
    """Holdout at a flop or not at all."""
    path = table(tmp_path)

    def held(holdout):
        return fitted(f"runs={path}", QUICK, f"holdout={holdout}").document

    found = held("3e18").holdout
    assert found.status == "ok" and found.flops >= 3e18
    assert held("none").holdout.status == "none"
    assert held("1e30").holdout.status == "refused"
    assert held("1e30").holdout.reason == "no run has 1e+30 FLOP, the highest 1e+19"
    whole = held("1e3")
    assert whole.holdout.reason == "all runs are held out, so that none is left to fit"
    assert summary(whole).endswith(f"held out: refused, {whole.holdout.reason}")
