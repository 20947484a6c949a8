"""What stands beside an IsoFLOP grid: spans, lists of shapes, horizons and controls."""

import math
from dataclasses import replace

import pytest
from test_plan_grid import CORPUS, QUICKSTART, ids

from configs.errors import BadInput
from model.flops import params_effective
from scaling.plan.arms import ControlsConfig, HorizonsConfig
from scaling.plan.grid import plan_grid
from scaling.plan.ladder import rungs, shape_of, spread

BASE, GRID = QUICKSTART


def of_arm(plan, arm):
    return [trial for trial in plan.trials if trial.arm == arm]


def sizes(shapes):
    return [params_effective(shape) for shape in shapes]


def test_a_span_takes_the_rungs_nearest_a_geometric_row():
    ladder = rungs("fixed_depth", BASE.model)
    every = sizes(ladder)
    chosen = sizes(spread(ladder, every[1], every[9], 5))
    assert chosen == sorted(set(chosen)) and len(chosen) == 5
    assert (chosen[0], chosen[-1]) == (every[1], every[9])
    ratio = (every[9] / every[1]) ** 0.25
    steps = [math.log(high / low) for low, high in zip(chosen, chosen[1:], strict=False)]
    assert all(0.5 * math.log(ratio) < step < 1.6 * math.log(ratio) for step in steps)
    assert spread(ladder, 1, 2, 99) == list(ladder)
    assert sizes(spread(ladder, every[3], every[3], 1)) == [every[3]]


def test_a_row_below_the_ladder_takes_its_foot():
    ladder = rungs("fixed_depth", BASE.model)
    assert spread(ladder, 1, 10, 3) == list(ladder[:3])


def test_a_list_of_shapes_is_a_ladder_and_obeyed():
    listed = replace(GRID, ladder=("2x16", "3x24", "2x8"), budgets=(8e10,), sizes=9)
    plan = plan_grid(BASE, listed, CORPUS)
    shapes = {(trial.config.model.n_layer, trial.config.model.n_embd) for trial in plan.trials}
    assert shapes == {(2, 8), (2, 16), (3, 24)}
    assert shape_of("6x256", BASE.model).n_head == 4 and shape_of("2x100", BASE.model).n_head == 2


def test_horizons_train_every_size_to_every_horizon():
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


def test_shared_horizons_and_named_sizes():
    asked = HorizonsConfig(sizes=("2x16", "2x32"), tokens=(1e6, 4e6))
    trials = of_arm(plan_grid(BASE, replace(GRID, horizons=asked), None), "horizons")
    found = {(t.config.model.n_embd, t.config.schedule.tokens) for t in trials}
    assert found == {(d, n) for d in (16, 32) for n in (1_000_000, 4_000_000)}


def test_a_trial_of_two_arms_is_the_grids():
    cell = next(t for t in plan_grid(BASE, GRID, CORPUS).trials if t.flops_budget == 8e11)
    name = f"{cell.config.model.n_layer}x{cell.config.model.n_embd}"
    tokens = 8e11 / (6 * params_effective(cell.config.model))
    grid = replace(GRID, horizons=HorizonsConfig(sizes=(name,), tokens=(tokens,)))
    plan = plan_grid(BASE, grid, CORPUS)
    assert of_arm(plan, "horizons") == []
    assert plan.trials == plan_grid(BASE, GRID, CORPUS).trials


def test_controls_repeat_the_middle_budget_with_one_mistake_each():
    controls = ControlsConfig(budgets=None, long_warmup_steps=700, long_cosine=2.0)
    plan = plan_grid(BASE, replace(GRID, controls=controls), CORPUS)
    grid = {
        t.config.model.n_embd: t.config
        for t in of_arm(plan, "grid")
        if t.config.seed == 0 and t.flops_budget == 1.4e11
    }
    for arm, field in (
        ("control_long_warmup", "warmup_tokens"),
        ("control_long_cosine", "cosine_tokens"),
    ):
        trials = of_arm(plan, arm)
        assert {t.flops_budget for t in trials} == {1.4e11} and len(trials) == 5
        for trial in trials:
            right, wrong = grid[trial.config.model.n_embd], trial.config
            mended = {field: getattr(right.schedule, field)}
            assert replace(wrong, schedule=replace(wrong.schedule, **mended)) == right
    warm = of_arm(plan, "control_long_warmup")[0].config.schedule
    assert warm.warmup_tokens == 700 * warm.batch_tokens
    long = of_arm(plan, "control_long_cosine")[0].config.schedule
    assert long.cosine_tokens == 2 * long.tokens


def test_a_control_that_a_run_is_too_short_for_is_left_out_by_name():
    """Warmed up for longer than its run, it would be no control."""
    grid = replace(GRID, controls=ControlsConfig(None, long_warmup_steps=2000, long_cosine=None))
    plan = plan_grid(BASE, grid, None)
    middle = {
        t.config.model.n_embd: t.config for t in of_arm(plan, "grid") if t.flops_budget == 1.4e11
    }
    made = {trial.config.model.n_embd for trial in of_arm(plan, "control_long_warmup")}
    lost = {cell.n_embd: cell.reason for cell in plan.left_out}
    assert made | set(lost) == set(middle) and made and lost
    for width, reason in lost.items():
        assert f"{middle[width].schedule.steps} steps, expected more than" in reason
        assert "control_long_warmup" in reason and "long_warmup_steps 2000" in reason


@pytest.mark.parametrize("rule", ["porian", "step_law"])
def test_a_cell_where_a_rule_does_not_hold_is_left_out_with_the_nearest_rule(rule):
    grid = replace(GRID, budgets=(8e11, 1e17), sizes=3, ladder=("2x8", "2x64", "12x768"))
    asked = replace(grid, rules=replace(grid.rules, lr=rule, init="gpt2", batch="step_porian"))
    plan = plan_grid(BASE, asked, None)
    assert {trial.config.model.n_embd for trial in plan.trials} == {64, 768} or rule == "porian"
    reasons = [lost.reason for lost in plan.left_out if lost.n_embd == 8]
    assert reasons and all("grid.rules" in reason for reason in reasons)


def test_a_control_of_a_budget_that_the_grid_has_not_is_refused():
    controls = ControlsConfig(budgets=(1e11,), long_warmup_steps=700, long_cosine=2.0)
    expected = r"grid.controls.budgets: found 1e\+11, expected one of grid.budgets, 2.5e\+10, "
    with pytest.raises(BadInput, match=expected):
        replace(GRID, controls=controls)
