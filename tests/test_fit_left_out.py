"""What a sweep leaves out is one line, in the run and in its report."""

import json
from dataclasses import replace

import pytest

from common.errors import BadInput
from common.files import to_json
from scaling.fit.left_out import left_out_line
from scaling.fit.table.sweep_directory import read_sweep
from scaling.plan.grid import plan_grid
from scaling.plan.plan_json import plan_to_json
from scaling.plan.warnings import left_out, plan_warnings
from tests.support.plan_examples import CORPUS, QUICKSTART


def test_left_out_line_names_budgets_and_reasons():
    """A whole budget is told from some of its sizes, and many budgets are cut short."""
    cells = [(1e8, 2, width, "5 steps") for width in (8, 16)] + [(4e9, 2, 8, "2 epochs")]
    line = left_out_line(cells, {4e9})
    assert "the whole budget, 2 cells, of 1e+08 FLOP: 5 steps" in line
    assert "1 cell of 4e+09 FLOP (2x8): 2 epochs" in line and "\n" not in line
    assert left_out_line([], {4e9}) is None
    many = [(10.0**power, 2, 8, "why") for power in range(9)]
    assert left_out_line(many, set()).endswith("5 cells of other budgets")


def test_plan_warns_of_what_it_leaves_out():
    """Cells left out, and sizes that the ladder does not have."""
    base, grid = QUICKSTART
    assert left_out(plan_grid(base, grid, CORPUS)) is None
    plan = plan_grid(base, grid, 1_000_000)
    codes = [flag.code for flag in plan_warnings(plan)]
    assert codes.count("left_out_cells") == 1 and "6e+10 FLOP (2x12" in left_out(plan)
    short = plan_grid(base, replace(grid, sizes=40), CORPUS)
    assert any("grid.sizes asks for 40" in flag.text for flag in plan_warnings(short))


def test_fit_of_a_sweep_tells_what_its_plan_left_out(tmp_path):
    """The line is a warning of the fit; a left_out that is none is refused by name."""
    values = plan_to_json(plan_grid(*QUICKSTART, 1_000_000))
    (tmp_path / "plan.json").write_text(to_json(values))
    said = {flag.code: flag.text for flag in read_sweep(tmp_path).flags}
    assert "6e+10 FLOP (2x12" in said["left_out_cells"]
    for wrong in (3, ["x"], [{"flops_budget": "much"}], {"a": 1}):
        (tmp_path / "plan.json").write_text(json.dumps(values | {"left_out": wrong}))
        with pytest.raises(BadInput, match=r"plan.json: left_out: found"):
            read_sweep(tmp_path)
