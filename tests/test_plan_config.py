"""A grid's config refuses what cannot be planned, in one line."""

from dataclasses import replace

import pytest

from common.errors import BadInput
from scaling.plan.config import ControlsConfig
from scaling.plan.grid import plan_grid
from tests.support.plan_examples import CORPUS, QUICKSTART, SCOUT, TUNING, experiment

BASE, GRID = QUICKSTART


def test_controls_refuse_budget_not_in_grid():
    """A control of a budget that the grid has not is refused."""
    controls = ControlsConfig(budgets=(1e11,), long_warmup_steps=700, long_cosine=2.0)
    expected = r"grid.controls.budgets: found 1e\+11, expected one of grid.budgets, 2.5e\+10, "
    with pytest.raises(BadInput, match=expected):
        replace(GRID, controls=controls)


def test_centre_exponent_half_keeps_tokens_per_parameter():
    """An exponent of one half keeps tokens per parameter."""
    centre = replace(QUICKSTART[1].centre, exponent=0.5)
    for budget in (1e10, 1e15, 1e20):
        n_effective = centre.n_effective(budget)
        assert budget / (6 * n_effective**2) == pytest.approx(20)


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
def test_grid_config_refuses_in_one_line(override, message):
    """Bad grids are refused in one line."""
    with pytest.raises(BadInput, match=message) as refusal:
        plan_grid(*experiment("quickstart", override), CORPUS)
    assert "\n" not in str(refusal.value)


def test_grid_config_needs_steps_for_parameter_warmup():
    """A warmup of a hundred steps needs two hundred."""
    with pytest.raises(BadInput, match="grid.min_steps: found 50, expected 200 or more"):
        experiment("quickstart", "grid.rules.warmup=parameters", "grid.min_steps=50")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr_factors": (0.5, 2.0)}, "grid.tuning.lr_factors: found .*expected 1 among them"),
        ({"lr_factors": (2.0, 1.0)}, "grid.tuning.lr_factors: found .*expected rising values"),
        ({"cells": 4}, "grid.tuning.cells: found 4, expected 1 to 3, or a list"),
        ({"cost": 0.0}, "grid.tuning.cost: found 0.0"),
    ],
)
def test_tuning_config_refuses_bad_study(change, message):
    """A bad study is refused."""
    with pytest.raises(BadInput, match=message):
        replace(TUNING, **change)


def test_scout_config_refuses_bad_scout():
    """A bad scout is refused."""
    with pytest.raises(BadInput, match="grid.scout.sizes: found 2"):
        replace(SCOUT, sizes=2)
    with pytest.raises(BadInput, match="grid.scout.budgets: found .*rising"):
        replace(SCOUT, budgets=(2e10, 1e10))
