"""What a plan says of itself before it is paid for."""

from dataclasses import replace

import pytest
from test_plan_grid import QUICKSTART
from test_plan_stages import STAGED

from model.flops import params_effective
from scaling.plan.doubts import UNTUNED, doubts
from scaling.plan.grid import Learned, plan_grid
from scaling.plan.ladder import rungs

BASE, GRID = QUICKSTART
SIZES = {f"{s.n_layer}x{s.n_embd}": params_effective(s) for s in rungs(GRID.ladder, BASE.model)}
NOTHING = Learned()
PUBLISHED = replace(GRID, rules=replace(GRID.rules, lr="kaplan"))


def lines(grid, dataset_tokens=None, learned=NOTHING, tune=True):
    return doubts(plan_grid(BASE, grid, dataset_tokens, learned=learned), tune)


def test_wide_valleys_of_measured_rates_are_not_doubted():
    assert lines(GRID) == []


@pytest.mark.parametrize(
    ("grid", "learned", "tune", "said"),
    [
        (GRID, Learned(), False, True),
        (PUBLISHED, Learned(), True, True),
        (replace(PUBLISHED, tuning=STAGED.tuning), Learned(), True, False),
        (PUBLISHED, Learned(notes=("tuning: learning rate x2 of the rule",)), False, False),
    ],
)
def test_rates_that_nothing_tuned_are_said_to_be_so(grid, learned, tune, said):
    assert (UNTUNED in lines(grid, learned=learned, tune=tune)) is said


@pytest.mark.parametrize("side", ["smallest", "largest"])
def test_a_valley_that_the_ladder_cuts_short_is_named_with_how_short(side):
    """The ladder ends at the size nearest 1.5 times, or 1 / 1.5 of, the top budget's optimum."""
    budget = max(GRID.budgets)
    expected = GRID.centre.n_effective(budget) * (1.5 if side == "largest" else 1 / 1.5)
    last = min(SIZES, key=lambda text: abs(SIZES[text] / expected - 1))
    at, names = list(SIZES).index(last), tuple(SIZES)
    found = lines(replace(GRID, ladder=names[: at + 1] if side == "largest" else names[at:]))
    times = SIZES[last] / GRID.centre.n_effective(budget)
    (line,) = [line for line in found if line.startswith(f"{budget:.3g} FLOP")]
    assert f"its {side} size is {times:.2g} times" in line and "the ladder ends there" in line


def test_a_valley_that_cells_left_out_cut_short_is_named_with_their_reason():
    plan = plan_grid(BASE, GRID, None)
    longest = max(trial.config.schedule.tokens_seen for trial in plan.trials)
    found = lines(GRID, dataset_tokens=int(0.3 * longest / BASE.data.max_epochs))
    assert any(
        "smallest size" in line and "expected at most data.max_epochs" in line for line in found
    )


def test_few_sizes_are_said_to_be_few_and_many_budgets_take_few_lines():
    few = lines(replace(GRID, sizes=2, budgets=(2.5e10, 6e10)))
    assert len(few) == 4 and all("more sizes reach it" in line for line in few)
    many = replace(GRID, sizes=2, budgets=tuple(2.5e10 * 1.5**k for k in range(9)))
    found = lines(many)
    assert len(found) == 7 and found[-1].endswith("valleys more")
