"""Runs that share a trunk: which they are, what is one in them, and what a plan saves by it."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sweep
from common.errors import BadInput
from common.numbers import byte_size
from configs.cli import run_entry
from model.flops import params_allocated
from scaling.plan.cost import CPU_REFERENCE, flops_exact
from scaling.plan.grid import plan_grid
from scaling.plan.memory import disk
from scaling.plan.plan import by_arm
from scaling.plan.plan_json import plan_from_json, plan_to_json
from scaling.plan.table import arm_lines, disk_line, trunk_line
from scaling.plan.trunks import branches_of, flops_spent, kept_steps
from tests.support.plan_examples import CORPUS, QUICKSTART, experiment, ids
from training.config import ScheduleConfig
from training.schedule import learning_rate

TRUNK = ("schedule=constant", "+grid.trunk=true", "grid.rules.batch=toy_size")
BASE, GRID = experiment("quickstart", *TRUNK, "grid.rules.warmup=size")


def branches(plan):
    return branches_of((trial.id, trial.config) for trial in plan.trials)


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(2, 400), min_size=2, max_size=5, unique=True),
    warmup=st.integers(0, 40),
    share=st.floats(0.05, 1.0),
    name=st.sampled_from(["constant_sqrt", "constant_linear"]),
)
def test_branches_of_share_every_rate_before_their_step(steps, warmup, share, name):
    """Up to its step a branch has the very rates of its trunk, the longest run."""
    configs = {}
    for count in steps:
        schedule = ScheduleConfig(name, 128 * count, 128, min(128 * warmup, 127), 0.1, None, share)
        schedule = replace(schedule, warmup_tokens=min(128 * warmup, 128 * count - 1))
        configs[str(count)] = replace(QUICKSTART[0], schedule=schedule)
    found = branches_of(configs.items())
    for own, branch in found.items():
        mine, trunk = configs[own].schedule, configs[branch.trunk].schedule
        assert trunk.steps > mine.steps and 0 < branch.step <= mine.steps
        rates = [
            [learning_rate(step, 3e-3, one) for step in range(branch.step)] for one in (mine, trunk)
        ]
        assert rates[0] == rates[1]


def test_branches_of_are_of_one_arm_size_and_seed():
    """Runs of one trunk differ in their horizon alone, and cosines share nothing."""
    grid = replace(GRID, arms={"adamw": {}, "muon": {"optimizer.name": "muon"}})
    plan = plan_grid(BASE, grid, CORPUS)
    found, configs = branches(plan), {trial.id: trial.config for trial in plan.trials}
    assert len(found) > 20
    for own, branch in found.items():
        mine, trunk = configs[own], configs[branch.trunk]
        longer = replace(mine, schedule=replace(mine.schedule, tokens=trunk.schedule.tokens))
        assert longer == trunk and branch.trunk not in found
    assert not branches(plan_grid(*QUICKSTART, CORPUS))
    assert {t.arms[0][0] for t in plan.trials if t.id in found} == {"adamw", "muon"}


def test_trunk_changes_no_trial_of_a_grid():
    """Sharing changes cost: the trials are those of the grid without, and so are their FLOP."""
    plain = plan_grid(BASE, replace(GRID, trunk=False), CORPUS, CPU_REFERENCE)
    plan = plan_grid(BASE, GRID, CORPUS, CPU_REFERENCE)
    assert ids(plan) == ids(plain)
    found = branches(plan)
    spent = sum(flops_spent(trial.config, found.get(trial.id)) for trial in plan.trials)
    whole = sum(flops_exact(trial.config) for trial in plan.trials)
    seconds = [sum(t.predicted_s or 0 for t in one.trials) for one in (plan, plain)]
    assert spent < 0.9 * whole and seconds[0] < 0.9 * seconds[1]
    line = trunk_line(plan)
    assert line == (
        f"trunks: {len(found)} runs begin with the state of a longer one: {spent:.3g} FLOP are "
        f"spent instead of {whole:.3g} (-{1 - spent / whole:.0%})"
    )
    assert trunk_line(plain) is None
    read = plan_from_json(json.loads(json.dumps(plan_to_json(plan))))
    assert read == plan and "trunk" not in plan_to_json(plain)["grid"]
    own = sorted(t.predicted_s for t in by_arm(plan)[0].trials)[::-1]
    assert [trial.predicted_s for trial in plan.trials] == own


def test_disk_holds_the_checkpoints_of_trunks():
    """One for each step at which branches begin, until they are done; a grid without has none."""
    plan = plan_grid(BASE, GRID, CORPUS)
    models = {trial.id: trial.config.model for trial in plan.trials}
    points = {(branch.trunk, branch.step) for branch in branches(plan).values()}
    assert len({trunk for trunk, _ in points}) > 1
    needed = disk(plan, 1, False, None)
    assert needed.trunks == sum(12 * params_allocated(models[trunk]) for trunk, _ in points)
    assert needed.total == needed.checkpoints + needed.records + needed.trunks
    line = disk_line(needed, 2**60)
    assert f", those of trunks for their branches {byte_size(needed.trunks)}, records" in line
    plain = disk(replace(plan, grid=replace(GRID, trunk=False)), 1, False, None)
    assert plain.trunks == 0 and "trunks" not in disk_line(plain, 2**60)


def test_arm_lines_are_of_what_each_arm_spends():
    """In a grid of trunks a branch costs what it trains itself, and the shares are whole."""
    arms = {"adamw": {}, "short": {"schedule.cooldown_fraction": 0.1}}
    plan = plan_grid(BASE, replace(GRID, arms=arms), CORPUS)
    found = branches(plan)
    lines = list(arm_lines(plan, 2, None))
    spent = [
        sum(flops_spent(t.config, found.get(t.id)) for t in arm.trials) for arm in by_arm(plan)
    ]
    assert spent[1] < spent[0]  # a shorter cool-down shares more
    for line, own in zip(lines, spent, strict=True):
        assert f" trials, {own:.3g} FLOP ({own / sum(spent):.0%})" in line


def test_kept_steps_are_where_branches_begin():
    found = branches(plan_grid(BASE, GRID, CORPUS))
    trunk = next(iter(found.values())).trunk
    steps = kept_steps(found, trunk)
    assert steps == tuple(sorted({one.step for one in found.values() if one.trunk == trunk}))


def test_trunk_leaves_a_cosine_beside_it_alone():
    """The arms of a comparison of schedules: a cosine shares nothing, and needs no rule for it."""
    plan = plan_grid(*experiment("cosine_constant"), CORPUS)
    schedules = {trial.id: trial.config.schedule.name for trial in plan.trials}
    shared = branches(plan)
    assert len(shared) >= 8 and {schedules[own] for own in shared} == {"constant_sqrt"}
    assert {branch.trunk for branch in shared.values()}.isdisjoint(
        own for own, name in schedules.items() if name == "cosine"
    )
    base, grid = experiment("cosine_constant", "grid.rules.warmup=tenth")
    with pytest.raises(BadInput, match=r"^grid.arms.constant: grid.trunk: .*rules.warmup tenth"):
        plan_grid(base, grid, CORPUS)
    own = grid.arms["constant"] | {"rules.warmup": "size"}
    plan_grid(base, replace(grid, arms={"cosine": {}, "constant": own}), CORPUS)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("+grid.trunk=true",), "grid.trunk: found true with schedule.name cosine, whose rate dep"),
        (
            ("+grid.trunk=true", "schedule=constant"),
            "grid.trunk: found true with rules.batch toy, which depends on the horizon; expected "
            "toy_size or porian or gpt3",
        ),
        (TRUNK, "grid.trunk: found true with rules.warmup tenth, which depends on the horizon"),
        (
            (*TRUNK, "grid.rules.warmup=size", "grid.arms={a: {}, b: {rules: {lr: step_law}}}"),
            "grid.arms.b: grid.trunk: found true with rules.lr step_law, which depends on the hor",
        ),
        (
            ("+grid.trunk=true", "grid.arms={a: {}, b: {optimizer: muon}}"),
            "grid.arms.a: grid.trunk: found true with schedule.name cosine",
        ),
    ],
)
def test_trunk_of_what_depends_on_the_horizon_is_refused(capsys, words, complaint):
    """One line and status 2, with the rule to use."""
    assert run_entry(sweep.main, "sweep", "", ("experiment=quickstart", "mode=plan", *words)) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and complaint in error, error
