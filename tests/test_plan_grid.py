"""A grid's trials spend their budgets, stand each for itself, and survive plan.json."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import BadInput
from model.flops import flops_per_token_exact, params_effective
from scaling.plan.cost import CPU_REFERENCE, flops_exact
from scaling.plan.grid import plan_grid
from scaling.plan.plan_json import plan_from_json, plan_to_json
from tests.support.plan_examples import CORPUS, QUICKSTART, SMOKE, ids, widths
from training.trial.identity import trial_id


def test_plan_grid_of_quickstart_has_five_budgets_of_five_sizes():
    """The quickstart has five budgets of five sizes about the expected optimum."""
    plan = plan_grid(*QUICKSTART, CORPUS, CPU_REFERENCE)
    assert widths(plan) == {
        2.5e10: [8, 12, 16, 24, 32],
        6e10: [12, 16, 24, 32, 48],
        1.4e11: [12, 16, 24, 32, 48],
        3.4e11: [16, 24, 32, 48, 64],
        8e11: [24, 32, 48, 64, 96],
    }
    assert plan.left_out == ()
    repeated = {
        (trial.flops_budget, trial.config.model.n_embd)
        for trial in plan.trials
        if trial.config.seed == 2
    }
    assert repeated == {(2.5e10, d) for d in (8, 12, 16, 24, 32)} | {
        (6e10, 24),
        (1.4e11, 32),
        (3.4e11, 32),
        (8e11, 48),
    }
    assert min(trial.config.schedule.steps for trial in plan.trials) >= 700


def test_plan_grid_of_smoke_has_eight_trials():
    """The smoke grid has eight trials of four widths."""
    assert widths(plan_grid(*SMOKE, CORPUS)) == {4e9: [8, 12, 16, 24], 8e9: [8, 12, 16, 24]}


@pytest.mark.parametrize("setting", [SMOKE, QUICKSTART], ids=["smoke", "quickstart"])
def test_plan_grid_spends_budget_to_half_a_batch(setting):
    """Every trial spends its budget to half a batch."""
    for trial in plan_grid(*setting, CORPUS).trials:
        config = trial.config
        half_batch = 0.5 * config.schedule.batch_tokens + 0.5
        spent = 6 * params_effective(config.model) * config.schedule.tokens_planned
        assert spent == flops_exact(config)
        assert abs(spent - trial.flops_budget) <= half_batch * flops_per_token_exact(config.model)
        assert config.schedule.batch_tokens % config.model.block_size == 0


def test_plan_grid_holds_base_of_quickstart():
    """The base of the quickstart is one of its trials."""
    base, grid = QUICKSTART
    assert trial_id(base) in ids(plan_grid(base, grid, CORPUS))


def test_merge_plans_orders_longest_first():
    """Longest first."""
    predicted = plan_grid(*QUICKSTART, CORPUS, CPU_REFERENCE).trials
    seconds = [trial.predicted_s for trial in predicted]
    assert seconds == sorted(seconds, reverse=True)
    unknown = plan_grid(*QUICKSTART, CORPUS).trials
    assert {trial.predicted_s for trial in unknown} == {None}
    assert [t.flops_budget for t in unknown] == sorted([t.flops_budget for t in unknown])[::-1]


@settings(max_examples=25)
@given(
    budgets=st.permutations([2.5e10, 4e10, 8e10, 2.5e11]),
    kept=st.integers(1, 4),
    sizes=st.integers(1, 6),
    seeds=st.integers(1, 3),
)
def test_plan_grid_keeps_ids_when_edited(budgets, kept, sizes, seeds):
    """Editing a grid leaves the ids of the trials that stay."""
    base, grid = QUICKSTART
    full = replace(grid, budgets=(2.5e10, 4e10, 8e10, 2.5e11), sizes=6, seeds=3)
    edited = replace(full, budgets=tuple(budgets[:kept]), sizes=sizes, seeds=seeds)
    whole, part = plan_grid(base, full, None), plan_grid(base, edited, CORPUS, CPU_REFERENCE)
    assert ids(part) <= ids(whole)
    named = {trial.id: trial.config for trial in whole.trials}
    assert all(named[trial.id] == trial.config for trial in part.trials)
    if kept == 4 and sizes == 6 and seeds == 3:
        assert ids(part) == ids(whole)


def test_plan_grid_ignores_order_of_budgets():
    """The order of budgets and their sizes says nothing."""
    base, grid = QUICKSTART
    rising = replace(grid, budgets=(2.5e10, 8e10), sizes=(3, 5))
    falling = replace(grid, budgets=(8e10, 2.5e10), sizes=(5, 3))
    assert plan_grid(base, rising, CORPUS).trials == plan_grid(base, falling, CORPUS).trials


def test_plan_grid_merges_budgets_closer_than_a_token():
    """Budgets closer than a token are one trial."""
    base, grid = QUICKSTART
    twice = replace(grid, budgets=(8e10, 8e10 + 1), seeds_at_lowest_budget=1)
    assert ids(plan_grid(base, twice, CORPUS)) == ids(
        plan_grid(base, replace(twice, budgets=(8e10,)), CORPUS)
    )


def test_plan_survives_json():
    """A plan survives json."""
    plan = plan_grid(*QUICKSTART, 1_000_000, CPU_REFERENCE)
    document = json.loads(json.dumps(plan_to_json(plan), allow_nan=False))
    fields = {"schema", "setting", "config", "grid", "trials", "left_out", "stage", "learned"}
    assert set(document) == fields | {"dataset_tokens", "step_time", "memory_bytes"}
    assert set(document["trials"][0]) == {"id", "flops_budget", "config", "predicted_s", "arm"}
    assert plan_from_json(document | {"data_digest": "0", "launcher": {}}) == plan


def test_plan_from_json_refuses_damage():
    """A damaged plan is refused."""
    document = plan_to_json(plan_grid(*SMOKE, CORPUS))
    with pytest.raises(BadInput, match="schema: found 2, expected 1"):
        plan_from_json(document | {"schema": 2})
    with pytest.raises(BadInput, match="extra: unknown key"):
        plan_from_json(document | {"extra": 0})
    with pytest.raises(BadInput, match="base: missing"):
        plan_from_json({key: value for key, value in document.items() if key != "config"})
    document["trials"][0]["config"]["optimizer"]["lr"] = 1.0
    with pytest.raises(BadInput, match="not to be edited"):
        plan_from_json(document)
