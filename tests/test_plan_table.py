"""A plan as it is shown: a row a cell, the totals, and what is left out."""

import io

from test_plan_grid import CORPUS, QUICKSTART

from scaling.plan.cost import CPU_REFERENCE, flops_exact
from scaling.plan.grid import plan_grid
from scaling.plan.table import duration, print_plan, totals


def test_the_table_has_a_row_a_cell_and_the_totals():
    plan = plan_grid(*QUICKSTART, CORPUS, CPU_REFERENCE)
    cost = totals(plan, slots=2, step_time=CPU_REFERENCE)
    assert (cost.trials, cost.cells) == (43, 25)
    assert cost.flops == sum(flops_exact(trial.config) for trial in plan.trials)
    assert cost.slot_s / 2 <= cost.wall_s <= cost.slot_s / 2 + plan.trials[0].predicted_s
    page = io.StringIO()
    print_plan(plan, cost, CORPUS, file=page)
    lines = page.getvalue().splitlines()
    assert len(lines) == 1 + 25 + 1
    assert lines[1].split()[:6] == ["2.5e+10", "2x8", "4.61k", "904k", "196", "512"]
    assert lines[-1].startswith("43 trials in 25 cells, 9.76e+12 FLOP; predicted 7.4 min")


def test_the_table_says_what_is_not_known_and_what_is_left_out():
    plan = plan_grid(*QUICKSTART, 1_000_000)
    page = io.StringIO()
    print_plan(plan, totals(plan, slots=2, step_time=None), file=page)
    assert "time not predicted" in page.getvalue()
    assert "left out: 6e+10 FLOP at (2, 12): 1.24 epochs" in page.getvalue()


def test_durations_for_people():
    assert [duration(s) for s in (4.15, 75.9, 360, 7e4)] == ["4.2 s", "76 s", "6.0 min", "19.4 h"]
    assert duration(3.924e6) == "1,090 h"
