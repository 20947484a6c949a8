"""Arms that a plan refuses: what they change, what they are called, and their factors."""

import re
from dataclasses import replace

import pytest

import sweep
from common.errors import BadInput
from configs.cli import run_entry
from scaling.plan.arms import arms_of
from tests.support.plan_examples import QUICKSTART, STAGED

BASE, GRID = QUICKSTART
MUON = {"optimizer.name": "muon"}


@pytest.mark.parametrize(
    ("arms", "complaint"),
    [
        ("{a: {}}", "grid.arms: found ['a'], expected two or more"),
        ("{a: {}, b: {}}", "grid.arms: found a and b equal, expected arms that differ"),
        ("{a: {}, b: {optimizer: adamw}}", "grid.arms: found a and b equal"),
        ("{a: {}, b: {model: null}}", "grid.arms.b: model: "),
        ("{a: {}, b: {model: 3}}", "grid.arms.b: model: "),
        ("{a: {}, b: {model.family: [gpt2]}}", "grid.arms.b: model.family: "),
        ("{a: {}, b: {model.family.x: 1}}", "grid.arms.b: model.family: "),
        ("{a: {}, b: 3}", "grid.arms.b: found 3 (int), expected one entry or more"),
        ("{a: {}, tuning: {optimizer: muon}}", "grid.arms: found an arm called 'tuning'"),
        ("{a: {}, b/c: {optimizer: muon}}", "grid.arms: found an arm called 'b/c'"),
        (
            "{a: {}, nan: {optimizer: muon}}",
            "grid.arms: found an arm called 'nan', expected a name",
        ),
        ("{a: {}, a: {optimizer: muon}}", "grid.arms: found a twice in"),
        ("{a: {}, b: {optimiser: muon}}", "grid.arms.b.optimiser: unknown key; did you mean opti"),
        (
            "{a: {}, b: {optimizer: mum}}",
            "grid.arms.b: optimizer: found 'mum', expected one of adamw, muon",
        ),
        ("{a: {}, b: {model: {n_layr: 3}}}", "grid.arms.b: model.n_layr: unknown key; did you me"),
        ("{a: {}, b: {precision: fp8}}", "grid.arms.b: precision: found 'fp8'"),
        ("{a: {}, b: {rules: {lr: sgd}}}", "grid.arms.b: rules.lr: found 'sgd'"),
        ("{a: {}, b: {seed: 3}}", "grid.arms.b.seed: unknown key"),
        (
            "{a: {}, b: {optimizer: {lr: 0.1}}}",
            "grid.arms.b.optimizer.lr: the grid sets it of each trial; change grid.arms.b.rules.lr",
        ),
        ("{a: {}, b: {schedule: {tokens: 9}}}", "grid.arms.b.schedule.tokens: the grid sets it"),
        (
            "{a: {}, b: {data: {val_fraction: 0.5}}}",
            "grid.arms.b.data.val_fraction: found 0.5, expected",
        ),
        (
            "{a: {}, b: {model: {vocab_size: 512}}}",
            "losses over other tokens or other held-out text give no multiplier, unless in bits",
        ),
        (
            "{a: {}, b: {rules: {lr: step_law}}}",
            "grid.arms.b: grid.rules.lr: step_law at shape",
        ),
    ],
)
def test_bad_arms_are_one_line_and_status_2(capsys, tmp_path, arms, complaint):
    """Whatever is wrong with an arm is told before anything is prepared or measured."""
    words = ("experiment=smoke", f"grid.arms={arms}", "mode=plan", "launcher.device=H200")
    place = f"runtime.data_dir={tmp_path / 'data'}"
    assert run_entry(sweep.main, "sweep", "", (*words, place)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and complaint in error, error


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("a", "nan"), "an arm called 'nan', expected a name that no table reads as an empty cell"),
        (("a", "None"), "an arm called 'None', expected a name that no table"),
        (("a", "grid"), "an arm called 'grid', expected letters, digits, _, + and -, and none of "),
        (("a", "b\u202ec"), "an arm called 'b\\u202ec', expected letters"),
        (("a", "b\u200bc"), "an arm called 'b\\u200bc', expected letters"),
        (("a", "b\x07c"), "an arm called 'b\\x07c', expected letters"),
        (
            ("muon", "Muon"),
            "arms called 'muon' and 'Muon', expected names that differ in more than",
        ),
        (("1", "01"), "arms called '1' and '01', expected names that differ in more than case"),
    ],
)
def test_names_of_arms_that_mean_something_else_are_refused(names, complaint):
    """To a table, to a folder where case is none, to `where`, or to the eye."""
    grid = replace(GRID, arms=dict(zip(names, ({}, MUON), strict=True)))
    with pytest.raises(BadInput, match="^grid.arms: found " + re.escape(complaint)):
        arms_of(BASE, grid)


@pytest.mark.parametrize("name", ["lr_factor", "batch_factor"])
@pytest.mark.parametrize("factor", [1e9, 1e-5])
def test_absurd_factors_of_rules_are_refused(name, factor):
    """Of a grid, of an arm, or among those that a tuning study tries."""
    said = rf"{name}: found {factor:g}, expected 0.001 to 1000, as 0.5 or 2"
    with pytest.raises(BadInput, match="^grid.rules." + re.escape(said)):
        arms_of(BASE, replace(GRID, rules=replace(GRID.rules, **{name: factor})))
    with pytest.raises(BadInput, match="^grid.arms.fast: grid.rules." + re.escape(said)):
        arms_of(BASE, replace(GRID, arms={"a": {}, "fast": {f"rules.{name}": factor}}))
    with pytest.raises(BadInput, match=f"^grid.tuning.{name}s: found {re.escape(f'{factor:g}')}"):
        replace(STAGED.tuning, **{f"{name}s": tuple(sorted((factor, 1.0)))})


def test_arm_without_cell_at_budgets_of_baseline_is_refused(capsys, tmp_path):
    """An arm whose cells are at none of the budgets where the baseline has one."""
    big = "{a: {}, b: {ladder: [2x96, 2x128]}}"
    few = ["grid.budgets=[4e9,1e13]", "grid.ladder=[2x8,2x12]"]
    words = ("experiment=smoke", f"grid.arms={big}", *few, "mode=plan", "launcher.device=H200")
    place = f"runtime.data_dir={tmp_path / 'data'}"
    assert run_entry(sweep.main, "sweep", "", (*words, place)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1, error
    assert "grid.arms.b: found no cell at a budget where the baseline a has one: " in error
