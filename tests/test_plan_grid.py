"""A grid's trials spend their budgets, stand each for itself, and survive plan.json."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import BadInput
from configs.load import build, compose_config
from model.flops import flops_per_token_exact, params_effective
from scaling.plan.config import GridConfig
from scaling.plan.cost import CPU_REFERENCE, flops_exact
from scaling.plan.grid import Plan, plan_from_json, plan_grid, plan_to_json
from training.config import TrainConfig, as_mapping, trial_id

CORPUS = 29_600_000


def experiment(name: str, *overrides: str) -> tuple[TrainConfig, GridConfig]:
    values = compose_config("sweep", (f"experiment={name}", *overrides))
    del values["launcher"], values["foresight"]
    values.pop("fit", None)
    grid = build(GridConfig, values.pop("grid"), "grid")
    return build(TrainConfig, values), grid


SMOKE = experiment("smoke")
QUICKSTART = experiment("quickstart")


def ids(plan: Plan) -> set[str]:
    return {trial.id for trial in plan.trials}


def widths(plan: Plan) -> dict[float, list[int]]:
    found: dict[float, set[int]] = {}
    for trial in plan.trials:
        found.setdefault(trial.flops_budget, set()).add(trial.config.model.n_embd)
    return {budget: sorted(found[budget]) for budget in sorted(found)}


def test_the_quickstart_has_five_budgets_of_five_sizes_about_the_expected_optimum():
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


def test_the_smoke_grid_has_eight_trials_of_four_widths():
    assert widths(plan_grid(*SMOKE, CORPUS)) == {4e9: [8, 12, 16, 24], 8e9: [8, 12, 16, 24]}


@pytest.mark.parametrize("setting", [SMOKE, QUICKSTART], ids=["smoke", "quickstart"])
def test_every_trial_spends_its_budget_to_half_a_batch(setting):
    for trial in plan_grid(*setting, CORPUS).trials:
        config = trial.config
        half_batch = 0.5 * config.schedule.batch_tokens + 0.5
        spent = 6 * params_effective(config.model) * config.schedule.tokens_seen
        assert spent == flops_exact(config)
        assert abs(spent - trial.flops_budget) <= half_batch * flops_per_token_exact(config.model)
        assert config.schedule.batch_tokens % config.model.block_size == 0


def test_the_base_of_the_quickstart_is_one_of_its_trials():
    base, grid = QUICKSTART
    assert trial_id(base) in ids(plan_grid(base, grid, CORPUS))


def test_longest_first():
    predicted = plan_grid(*QUICKSTART, CORPUS, CPU_REFERENCE).trials
    seconds = [trial.predicted_s for trial in predicted]
    assert seconds == sorted(seconds, reverse=True)
    unknown = plan_grid(*QUICKSTART, CORPUS).trials
    assert {trial.predicted_s for trial in unknown} == {None}
    assert [t.flops_budget for t in unknown] == sorted([t.flops_budget for t in unknown])[::-1]


@settings(max_examples=25, deadline=None)
@given(
    budgets=st.permutations([2.5e10, 4e10, 8e10, 2.5e11]),
    kept=st.integers(1, 4),
    sizes=st.integers(1, 6),
    seeds=st.integers(1, 3),
)
def test_editing_a_grid_leaves_the_ids_of_the_trials_that_stay(budgets, kept, sizes, seeds):
    base, grid = QUICKSTART
    full = replace(grid, budgets=(2.5e10, 4e10, 8e10, 2.5e11), sizes=6, seeds=3)
    edited = replace(full, budgets=tuple(budgets[:kept]), sizes=sizes, seeds=seeds)
    whole, part = plan_grid(base, full, None), plan_grid(base, edited, CORPUS, CPU_REFERENCE)
    assert ids(part) <= ids(whole)
    named = {trial.id: trial.config for trial in whole.trials}
    assert all(named[trial.id] == trial.config for trial in part.trials)
    if kept == 4 and sizes == 6 and seeds == 3:
        assert ids(part) == ids(whole)


def test_the_order_of_budgets_and_their_sizes_says_nothing():
    base, grid = QUICKSTART
    rising = replace(grid, budgets=(2.5e10, 8e10), sizes=(3, 5))
    falling = replace(grid, budgets=(8e10, 2.5e10), sizes=(5, 3))
    assert plan_grid(base, rising, CORPUS).trials == plan_grid(base, falling, CORPUS).trials


def test_budgets_closer_than_a_token_are_one_trial():
    base, grid = QUICKSTART
    twice = replace(grid, budgets=(8e10, 8e10 + 1), seeds_at_lowest_budget=1)
    assert ids(plan_grid(base, twice, CORPUS)) == ids(
        plan_grid(base, replace(twice, budgets=(8e10,)), CORPUS)
    )


def test_an_exponent_of_one_half_keeps_tokens_per_parameter():
    centre = replace(QUICKSTART[1].centre, exponent=0.5)
    for budget in (1e10, 1e15, 1e20):
        n_effective = centre.n_effective(budget)
        assert budget / (6 * n_effective**2) == pytest.approx(20)


def test_a_gpu_grid_follows_the_published_rules():
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
def test_a_cell_of_too_few_steps_is_left_out(edit, width, reason):
    base, grid = QUICKSTART
    plan = plan_grid(base, replace(grid, budgets=(2.5e10, 8e12), **edit), None)
    assert reason in {cell.reason for cell in plan.left_out if cell.n_embd == width}
    assert all(trial.config.schedule.steps >= edit["min_steps"] for trial in plan.trials)


def test_a_cell_of_too_many_epochs_is_left_out():
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


def test_a_budget_whose_optimum_is_beyond_the_ladder_is_left_out():
    base, grid = QUICKSTART
    low = replace(grid, budgets=(1e9, 8e10), min_steps=100)
    plan = plan_grid(base, low, CORPUS)
    assert {cell.flops_budget for cell in plan.left_out} == {1e9}
    assert "N_effective 3.73e+03, lies beyond the ladder" in plan.left_out[0].reason


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("grid.budgets=[1e6]", r"no size fits; at 1e\+06 FLOP the smallest, \(2, 8\): 0 steps"),
        ("grid.budgets=['1e10 FLOP']", r"grid.budgets\[0\]: found '1e10 FLOP' \(str\), expected a"),
        ("grid.budgets=[1PF]", r"grid.budgets\[0\]: found '1PF' \(str\), expected a number"),
        ("grid.budgets=1e10", "grid.budgets: found .*expected a list"),
        ("grid.budgets=[]", "grid.budgets: found an empty list"),
        ("grid.budgets=[1e10,0]", "grid.budgets: found 0, expected FLOP, more than 0"),
        ("grid.budgets=[-1e10]", r"grid.budgets: found -1e\+10, expected"),
        ("grid.budgets=[1e10,1e10]", r"grid.budgets: found 1e\+10 twice"),
        ("grid.sizes=[5,5]", "grid.sizes: found 2 numbers for 5 budgets"),
        ("grid.sizes=0", "grid.sizes: found 0, expected 1 or more"),
        (
            "grid.seeds=100000",
            "grid.seeds: found 100,000, which makes 2,500,000 trials",
        ),
        ("grid.seeds_at_centre=1e6", "grid.seeds_at_centre: found 1,000,000, which makes"),
        ("grid.ladder=[2x16,big]", "grid: shape: found 'big', expected layers"),
        ("grid.ladder=[1x16]", "grid: shape: found '1x16', expected layers"),
        ("grid.ladder=[]", "grid.ladder: found an empty list, expected shapes"),
        ("+grid.span=0.5", "grid.span: found 0.5, expected more than 1"),
        ("+grid.horizons={sizes: 3}", "grid.horizons: found tokens_per_param and tokens both or"),
        ("+grid.horizons={sizes: 3, tokens: [2e6, 1e6]}", "grid.horizons.tokens: found .*rising"),
        (
            "+grid.controls={budgets: null, long_warmup_steps: 1, long_cosine: 1}",
            "cosine: fou",
        ),
        ("grid.seeds=0", "grid.seeds: found 0, expected more than 0"),
        ("grid.ladder=deep", "grid.ladder: found 'deep' .*one of grow, fixed_depth"),
        ("grid.rules.lr=muon", "grid.rules.lr: found 'muon' .*one of toy, step_law"),
        ("grid.rules.lr_factor=0", "grid.rules.lr_factor: found 0"),
        ("grid.centre.exponent=-0.5", "grid.centre.exponent: found -0.5"),
        ("grid.min_stps=3", "grid.min_stps: unknown key"),
        ("model.n_layer=1", "model.n_layer: found 1, expected 2 or more"),
        ("grid.rules.lr=gpt3", "grid.rules.lr: gpt3 at shape"),
    ],
)
def test_bad_grids_are_refused_in_one_line(override, message):
    with pytest.raises(BadInput, match=message) as refusal:
        plan_grid(*experiment("quickstart", override), CORPUS)
    assert "\n" not in str(refusal.value)


def test_a_warmup_of_a_hundred_steps_needs_two_hundred():
    with pytest.raises(BadInput, match="grid.min_steps: found 50, expected 200 or more"):
        experiment("quickstart", "grid.rules.warmup=parameters", "grid.min_steps=50")


def test_a_plan_survives_json():
    plan = plan_grid(*QUICKSTART, 1_000_000, CPU_REFERENCE)
    document = json.loads(json.dumps(plan_to_json(plan), allow_nan=False))
    fields = {"schema", "setting", "config", "grid", "trials", "left_out", "stage", "learned"}
    assert set(document) == fields | {"dataset_tokens", "step_time", "memory_bytes"}
    assert set(document["trials"][0]) == {"id", "flops_budget", "config", "predicted_s", "arm"}
    assert plan_from_json(document | {"data_digest": "0", "launcher": {}}) == plan


def test_a_damaged_plan_is_refused():
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
