"""Optional parts of a grid: lists of shapes, horizons, arms of one trial."""

from dataclasses import replace

from model.flops import params_effective
from scaling.plan.config import HorizonsConfig
from scaling.plan.grid import plan_grid
from scaling.plan.ladder import shape_of
from tests.support.plan_examples import CORPUS, QUICKSTART, ids

BASE, GRID = QUICKSTART


def of_arm(plan, arm):
    return [trial for trial in plan.trials if trial.part == arm]


def test_plan_grid_obeys_list_of_shapes():
    """A list of shapes is a ladder and obeyed."""
    listed = replace(GRID, ladder=("2x16", "3x24", "2x8"), budgets=(8e10,), sizes=9)
    plan = plan_grid(BASE, listed, CORPUS)
    shapes = {(trial.config.model.n_layer, trial.config.model.n_embd) for trial in plan.trials}
    assert shapes == {(2, 8), (2, 16), (3, 24)}
    assert shape_of("6x256", BASE.model).n_head == 4 and shape_of("2x100", BASE.model).n_head == 2


def test_plan_grid_trains_every_size_to_every_horizon():
    """Horizons train every size to every horizon."""
    ratios = (20.0, 40.0, 160.0)
    grid = replace(GRID, horizons=HorizonsConfig(sizes=4, tokens_per_param=ratios))
    plan = plan_grid(BASE, grid, None)
    trials = of_arm(plan, "horizons")
    cells = {(t.config.model.n_embd, round(t.config.schedule.tokens)) for t in trials}
    assert len(trials) == len(cells) == 12 and len({width for width, _ in cells}) == 4
    for trial in trials:
        ratio = trial.config.schedule.tokens / params_effective(trial.config.model)
        assert min(abs(ratio / wanted - 1) for wanted in ratios) < 1e-3
    assert ids(plan_grid(BASE, GRID, None)) <= ids(plan)


def test_plan_grid_takes_shared_horizons_and_named_sizes():
    """Shared horizons and named sizes."""
    asked = HorizonsConfig(sizes=("2x16", "2x32"), tokens=(1e6, 4e6))
    trials = of_arm(plan_grid(BASE, replace(GRID, horizons=asked), None), "horizons")
    found = {(t.config.model.n_embd, t.config.schedule.tokens) for t in trials}
    assert found == {(d, n) for d in (16, 32) for n in (1_000_000, 4_000_000)}


def test_merge_plans_gives_trial_of_two_arms_to_grid():
    """A trial of two arms is the grids."""
    cell = next(t for t in plan_grid(BASE, GRID, CORPUS).trials if t.flops_budget == 8e11)
    name = f"{cell.config.model.n_layer}x{cell.config.model.n_embd}"
    tokens = 8e11 / (6 * params_effective(cell.config.model))
    grid = replace(GRID, horizons=HorizonsConfig(sizes=(name,), tokens=(tokens,)))
    plan = plan_grid(BASE, grid, CORPUS)
    assert of_arm(plan, "horizons") == []
    assert plan.trials == plan_grid(BASE, GRID, CORPUS).trials
