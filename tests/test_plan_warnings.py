"""What to know about a plan before paying for it."""

from dataclasses import replace

import pytest

from model.flops import params_effective
from scaling.plan.grid import plan_grid
from scaling.plan.ladder import rungs
from scaling.plan.plan import StageResults
from scaling.plan.warnings import UNTUNED, plan_warnings
from tests.support.plan_examples import QUICKSTART, STAGED, experiment

BASE, GRID = QUICKSTART

SIZES = {f"{s.n_layer}x{s.n_embd}": params_effective(s) for s in rungs(GRID.ladder, BASE.model)}

NOTHING = StageResults()

PUBLISHED = replace(GRID, rules=replace(GRID.rules, lr="kaplan"))


def lines(grid, dataset_tokens=None, learned=NOTHING, tune=True):
    plan = plan_grid(BASE, grid, dataset_tokens, learned=learned)
    return [warning.text for warning in plan_warnings(plan, tune)]


def test_plan_warnings_spare_wide_curves_of_measured_rules():
    """Wide minima of measured rates are not flagged."""
    assert lines(GRID) == []


@pytest.mark.parametrize(
    ("grid", "learned", "tune", "said"),
    [
        (GRID, StageResults(), False, True),
        (PUBLISHED, StageResults(), True, True),
        (replace(PUBLISHED, tuning=STAGED.tuning), StageResults(), True, False),
        (PUBLISHED, StageResults(notes=("tuning: learning rate x2 of the rule",)), False, False),
    ],
)
def test_plan_warnings_name_untuned_rules(grid, learned, tune, said):
    """Rates that nothing tuned are said to be so."""
    assert (UNTUNED.text in lines(grid, learned=learned, tune=tune)) is said


@pytest.mark.parametrize("side", ["smallest", "largest"])
def test_plan_warnings_name_curve_cut_by_ladder(side):
    """The ladder ends at the size nearest 1.5 times, or 1 / 1.5 of, the top budget's optimum."""
    budget = max(GRID.budgets)
    expected = GRID.centre.n_effective(budget) * (1.5 if side == "largest" else 1 / 1.5)
    last = min(SIZES, key=lambda text: abs(SIZES[text] / expected - 1))
    at, names = list(SIZES).index(last), tuple(SIZES)
    found = lines(replace(GRID, ladder=names[: at + 1] if side == "largest" else names[at:]))
    times = SIZES[last] / GRID.centre.n_effective(budget)
    (line,) = [line for line in found if line.startswith(f"{budget:.3g} FLOP")]
    assert f"its {side} size is {times:.2g} times" in line and "the ladder ends there" in line


@pytest.mark.parametrize("name", ["shape", "critical_batch"])
def test_plan_warnings_ask_no_curve_of_one_size(name):
    """Where the shapes of a budget are of one size nobody looks for a minimum; with three it is."""
    base, grid = experiment(name)
    codes = [flag.code for flag in plan_warnings(plan_grid(base, grid, None))]
    assert "narrow_curve" not in codes
    sized = replace(GRID, sizes=3, ladder="toy")
    codes = [flag.code for flag in plan_warnings(plan_grid(BASE, sized, None))]
    assert "narrow_curve" in codes


def test_plan_warnings_give_reason_of_skipped_cells():
    """An IsoFLOP curve that cells left out cut short is named with their reason."""
    plan = plan_grid(BASE, GRID, None)
    longest = max(trial.config.schedule.tokens_planned for trial in plan.trials)
    found = lines(GRID, dataset_tokens=int(0.3 * longest / BASE.data.max_epochs))
    assert any(
        "smallest size" in line and "expected at most data.max_epochs" in line for line in found
    )


def test_plan_warnings_of_many_budgets_take_few_lines():
    """Few sizes are said to be few and many budgets take few lines."""
    few = lines(replace(GRID, sizes=2, budgets=(2.5e10, 6e10)))
    assert len(few) == 4 and all("more sizes reach it" in line for line in few)
    many = replace(GRID, sizes=2, budgets=tuple(2.5e10 * 1.5**k for k in range(9)))
    found = lines(many)
    assert len(found) == 7 and found[-1].endswith("curves more")
