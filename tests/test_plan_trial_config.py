"""A cell's config, or the reason why it has none; controls with one mistake each."""

import math
from dataclasses import replace

import pytest

from configs.load import compose_config
from configs.schema import build
from scaling.plan.config import ControlsConfig, GridConfig
from scaling.plan.grid import plan_grid
from tests.support.plan_examples import CORPUS, QUICKSTART, widths
from training.config import TrainConfig, as_mapping

BASE, GRID = QUICKSTART


def of_arm(plan, arm):
    return [trial for trial in plan.trials if trial.part == arm]


def test_control_configs_repeat_middle_budget_with_one_mistake_each():
    """Controls repeat the middle budget with one mistake each."""
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


def test_control_configs_name_runs_that_are_too_short():
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
def test_cell_config_names_nearest_rule_outside_range(rule):
    """A cell where a rule does not hold is left out with the nearest rule."""
    grid = replace(GRID, budgets=(8e11, 1e17), sizes=3, ladder=("2x8", "2x64", "12x768"))
    asked = replace(grid, rules=replace(grid.rules, lr=rule, init="gpt2", batch="step_porian"))
    plan = plan_grid(BASE, asked, None)
    assert {trial.config.model.n_embd for trial in plan.trials} == {64, 768} or rule == "porian"
    reasons = [lost.reason for lost in plan.left_out if lost.n_embd == 8]
    assert reasons and all("grid.rules" in reason for reason in reasons)


def test_cell_config_follows_published_rules():
    """A gpu grid follows the published rules."""
    values = as_mapping(QUICKSTART[1]) | {
        "budgets": [1e17, 1e18],
        "sizes": 3,
        "ladder": "grow",
        "centre": {"flops": 1e17, "tokens_per_param": 20, "exponent": 0.5},
        "min_steps": 500,
        "rules": {
            **{"lr": "step_law", "lr_factor": 1, "batch": "step_porian", "batch_factor": 1},
            **{"beta2": "token_memory", "warmup": "parameters", "init": "gpt2"},
        },
    }
    base = build(TrainConfig, compose_config("trial"))
    plan = plan_grid(base, build(GridConfig, values, "grid"), None)
    assert len(plan.trials) + len(plan.left_out) == 6 + 2 * 2 + 2 * 2
    for trial in plan.trials:
        config = trial.config
        assert math.log2(config.schedule.batch_tokens).is_integer()
        assert config.optimizer.lr <= 6e-3
        assert 0.95 <= config.optimizer.betas[1] <= 0.999
        assert config.schedule.warmup_tokens <= 0.1 * config.schedule.tokens
        assert config.model.init_std == 0.02


@pytest.mark.parametrize(
    ("edit", "width", "reason"),
    [
        ({"min_steps": 900}, 32, "883 steps of 128 tokens, expected 900 or more"),
        ({"min_steps": 2000}, 32, "1766 steps of a single sequence, expected 2000 or more"),
    ],
)
def test_cell_config_refuses_too_few_steps(edit, width, reason):
    """A cell of too few steps is left out."""
    base, grid = QUICKSTART
    plan = plan_grid(base, replace(grid, budgets=(2.5e10, 8e12), **edit), None)
    assert reason in {cell.reason for cell in plan.left_out if cell.n_embd == width}
    assert all(trial.config.schedule.steps >= edit["min_steps"] for trial in plan.trials)


def test_cell_config_refuses_too_many_epochs():
    """A cell of too many epochs is left out."""
    plan = plan_grid(*QUICKSTART, 1_000_000)
    assert [(cell.flops_budget, cell.n_embd) for cell in plan.left_out] == [
        (6e10, 12),
        (1.4e11, 12),
        (1.4e11, 16),
        (1.4e11, 24),
        (3.4e11, 16),
        (3.4e11, 24),
        (3.4e11, 32),
        (8e11, 24),
        (8e11, 32),
        (8e11, 48),
        (8e11, 64),
    ]
    assert plan.left_out[0].reason == "1.24 epochs, expected at most data.max_epochs 1"
    assert len(widths(plan)[2.5e10]) == 5


def test_reason_off_ladder_skips_budget():
    """A budget whose optimum is beyond the ladder is left out."""
    base, grid = QUICKSTART
    low = replace(grid, budgets=(1e9, 8e10), min_steps=100)
    plan = plan_grid(base, low, CORPUS)
    assert {cell.flops_budget for cell in plan.left_out} == {1e9}
    assert "N_effective 3.73e+03, lies beyond the ladder" in plan.left_out[0].reason
