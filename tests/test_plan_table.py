"""A plan as it is shown: a row a cell, its cost, and the cells left out."""

import io
from dataclasses import replace

from data.prepare import Estimate
from scaling.plan import table
from scaling.plan.cost import (
    CPU_REFERENCE,
    flops_exact,
)
from scaling.plan.grid import plan_grid
from scaling.plan.memory import Device, disk
from scaling.plan.table import print_plan, totals
from tests.support.plan_examples import CORPUS, QUICKSTART, experiment
from training.device.data_sheets import gpu_memory
from training.device.stated import stated_throughput


def test_cost_lines_fit_terminal():
    """What a plan costs is said in lines that fit a terminal."""
    base, grid = experiment("quickstart", "model.n_layer=12")
    rate = stated_throughput("H200", None, "bf16", 1, 1)
    plan = plan_grid(base, replace(grid, budgets=(1e13,)), None, rate)
    cost = totals(plan, 8, rate)
    device = Device("cuda", gpu_memory("H200"))
    lines = [
        *table.data_lines(plan, None, "/data/fineweb", Estimate(None, None, None, None)),
        *table.data_lines(plan, 20_000_000, "", None),
        table.time_line(rate),
        table.time_line(CPU_REFERENCE),
        table.memory_line(plan, device, 1),
        table.disk_line(disk(plan, 8, False, 10**10), 10**6),
        *table.data_lines(plan, 10**10, "hub", Estimate(302 * 10**9, 200 * 10**9, 10**6, 8.0)),
        *table.price_line(cost, 8, 2.5),
    ]
    assert "data: /data/fineweb is not prepared, epochs are not checked" in lines[0]
    assert (
        lines[1] == "  not prepared (mode=prepare): unknown bytes to fetch, unknown bytes of shards"
    )
    assert lines[3].startswith("time: H200 at 40% of its bf16 peak from width 768 on")
    assert "1 MB are free" in lines[6]
    assert "data not counted" in table.disk_line(disk(plan, 8, False, None), 10**12)
    price = 8 * 2.5 * cost.wall_s / 3600
    assert lines[9].startswith(
        "  not prepared (mode=prepare): 302 GB to fetch, 200 GB of shards, 8 h"
    )
    assert lines[10].startswith("  the data set has about 1.00M")
    assert lines[11].startswith(f"price: {price:.2f} +-50%: {price / 2.5:.3g} device-hours at 2.5")
    assert "8 devices held for" in lines[11] and "price" not in table.price_line(cost, 8, 0)[0]
    assert max(map(len, lines)) <= 100
    page = io.StringIO()
    print_plan(plan, cost, None, device, page)
    assert max(map(len, page.getvalue().splitlines())) <= 100
    assert "memory" in page.getvalue()


def test_print_plan_of_many_cells_has_line_per_budget():
    """A plan of very many cells has a line a budget."""
    base, grid = experiment("quickstart")
    budgets = tuple(2.5e10 * 1.02**k for k in range(60))
    plan = plan_grid(base, replace(grid, budgets=budgets, min_steps=900), 30_000_000)
    page = io.StringIO()
    print_plan(plan, totals(plan, parallel=2, step_time=None), file=page)
    lines = page.getvalue().splitlines()
    assert len(lines) == 60 + 1 + 40 + 1 and max(map(len, lines)) <= 100
    assert lines[0] == "2.5e+10 FLOP, grid: 4 cells, 2x8 to 2x24, 12 trials"
    assert lines[-1] == f"left out: {len(plan.left_out) - 40} cells more"


def test_print_plan_has_row_per_cell_and_totals():
    """The table has a row a cell and the totals."""
    plan = plan_grid(*QUICKSTART, CORPUS, CPU_REFERENCE)
    cost = totals(plan, parallel=2, step_time=CPU_REFERENCE)
    assert (cost.trials, cost.cells) == (43, 25)
    assert cost.flops == sum(flops_exact(trial.config) for trial in plan.trials)
    assert cost.work_s / 2 <= cost.wall_s <= cost.work_s / 2 + plan.trials[0].predicted_s
    page = io.StringIO()
    print_plan(plan, cost, CORPUS, file=page)
    lines = page.getvalue().splitlines()
    assert len(lines) == 1 + 25 + 1
    assert lines[1].split()[:6] == ["2.5e+10", "2x8", "4.61k", "904k", "196", "512"]
    assert lines[-1].startswith("43 trials in 25 cells, 9.76e+12 FLOP; predicted 7.4 min")


def test_print_plan_states_unknown_time_and_skipped_cells():
    """The table says what is not known and what is left out."""
    plan = plan_grid(*QUICKSTART, 1_000_000)
    page = io.StringIO()
    print_plan(plan, totals(plan, parallel=2, step_time=None), file=page)
    assert "time not predicted" in page.getvalue()
    assert "left out: 6e+10 FLOP at (2, 12): 1.24 epochs" in page.getvalue()
