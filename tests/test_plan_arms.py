"""Arms of one sweep: paired, matched in size, each tuned for itself."""

import json
import math
import re
from collections import Counter
from dataclasses import replace

import pytest

import sweep
from configs.cli import Arguments, run_entry
from configs.load import CONFIG_DIR
from model.flops import flops_per_token_exact, params_effective
from scaling.plan.arms import arms_of
from scaling.plan.cost import CPU_REFERENCE, flops_exact
from scaling.plan.grid import plan_grid
from scaling.plan.plan import by_arm, merge_plans
from scaling.plan.plan_json import plan_from_json, plan_to_json
from scaling.plan.stages import add_outer_sizes, plan_stages, stage_results
from scaling.plan.table import arm_lines
from scaling.run.command import read_request
from tests.support.plan_examples import (
    CORPUS,
    QUICKSTART,
    STAGED,
    detuned,
    first_plan,
    ids,
    ran,
    through,
    valley,
)

BASE, GRID = QUICKSTART
MUON = {"optimizer.name": "muon"}


def armed(grid=GRID, **arms):
    return replace(grid, arms={"gpt2": {}, **(arms or {"muon": MUON})})


def cells(plan):
    return {
        (t.flops_budget, params_effective(t.config.model), t.config.schedule.tokens, t.config.seed)
        for t in plan.trials
    }


def test_plan_grid_with_arms_holds_that_of_baseline():
    """Arms change nothing of the baseline: its trials are those of the grid without arms."""
    alone, plan = plan_grid(BASE, GRID, CORPUS), plan_grid(BASE, armed(), CORPUS)
    gpt2, muon = by_arm(plan)
    assert ids(gpt2) == ids(alone) and len(plan.trials) == 2 * len(alone.trials)
    assert not ids(gpt2) & ids(muon) and plan.setting == alone.setting
    assert [t.id for t in gpt2.trials] == [t.id for t in alone.trials]


def test_plan_grid_pairs_arms():
    """Runs of two arms have budget, size, tokens, seed, data and held-out text in common."""
    gpt2, muon = by_arm(plan_grid(BASE, armed(), CORPUS))
    assert cells(gpt2) == cells(muon)
    for one, other in zip(gpt2.trials, muon.trials, strict=False):
        same = replace(other.config, optimizer=one.config.optimizer)
        assert {t.config.optimizer.name for t in muon.trials} == {"muon"}
        assert (same.data, same.evaluation) == (one.config.data, one.config.evaluation)


def test_plan_grid_matches_sizes_on_own_ladder():
    """An arm with another ladder has its rungs nearest to the baseline's, and exact budgets."""
    own = [f"3x{width}" for width in range(8, 120, 2)]
    gpt2, deep = by_arm(plan_grid(BASE, armed(deep={"ladder": own}), CORPUS))
    assert {t.config.model.n_layer for t in deep.trials} == {3}
    for budget in GRID.budgets:
        theirs, found = (
            sorted(
                {params_effective(t.config.model) for t in arm.trials if t.flops_budget == budget}
            )
            for arm in (gpt2, deep)
        )
        near = [min(theirs, key=lambda n: abs(math.log(n / size))) for size in found]
        assert len(found) == len(set(near)) >= 4
        assert all(0.75 < n / m < 1.35 for n, m in zip(near, found, strict=True))
    for trial in deep.trials:
        flops = flops_per_token_exact(trial.config.model)
        assert abs(flops_exact(trial.config) - trial.flops_budget) <= (
            0.51 * trial.config.schedule.batch_tokens * flops
        )


def test_plan_with_arms_survives_json():
    """A plan with arms survives plan.json; one without is written as before there were any."""
    plan = plan_grid(BASE, armed(), CORPUS)
    written = json.loads(json.dumps(plan_to_json(plan)))
    assert plan_from_json(written) == plan
    assert list(written["grid"]["arms"]) == ["gpt2", "muon"]
    assert "arm" not in written["trials"][0] and len(written["trials"][0]["arms"]) == 1
    plain = plan_to_json(plan_grid(BASE, GRID, CORPUS))
    assert "arms" not in plain["grid"] and "arms" not in plain["learned"] and "arm" not in plain
    assert {trial["arm"] for trial in plain["trials"]} == {"grid"}


def test_merge_plans_shares_trial_of_two_arms():
    """What two arms both ask for is trained once, and is each one's as the part it is there."""
    slow = {"rules.lr_factor": 0.5}
    grid = replace(STAGED, scout=None)
    plan = first_plan(BASE, armed(grid, slow=slow), CORPUS)
    gpt2, other = by_arm(plan)
    assert len(plan.trials) < len(gpt2.trials) + len(other.trials)
    whole = merge_plans(plan_grid(BASE, armed(slow=slow), CORPUS), plan.trials)
    shared = [t for t in whole.trials if dict(t.arms) == {"gpt2": "tuning", "slow": "grid"}]
    assert shared and {t.part for t in shared} == {"grid"}
    gpt2, other = by_arm(whole)
    assert {t.part for t in gpt2.trials if t.id == shared[0].id} == {"tuning"}
    assert plan_from_json(json.loads(json.dumps(plan_to_json(whole)))) == whole


def test_tuning_of_each_arm_finds_its_own_rate():
    """Each arm has its own tuning study, and its grid the rate that this found."""
    best = {"adamw": 1.0, "muon": 2.0}

    def law(config):
        return detuned(config, best[config.optimizer.name], 1.0)

    plans = through(first_plan(BASE, armed(replace(STAGED, scout=None)), CORPUS), law)
    assert [plan.stage for plan in plans] == ["tuning", "grid"]
    learned = plans[-1].learned
    found = {name: factors.lr_factor for name, factors in learned.arms.items()}
    assert found == {"gpt2": pytest.approx(1.0, rel=0.1), "muon": pytest.approx(2.0, rel=0.1)}
    assert learned.lr_factor == 1.0 and len(learned.notes) == 4
    assert learned.notes[2].startswith("tuning: muon: learning rate x")
    gpt2, muon = by_arm(plans[-1])
    assert muon.corrected_grid.rules.lr_factor == found["muon"]
    assert cells(gpt2) - cells(muon) == set()


def test_scout_of_arms_is_the_baselines():
    """The scout is the baseline's alone: all arms have its sizes about the centre it finds."""
    grid = armed(replace(STAGED, tuning=None))
    plans = through(first_plan(BASE, grid, CORPUS), valley)
    assert {t.arms for t in plans[0].trials} == {(("gpt2", "scout"),)}
    assert plans[-1].stage == "grid" and plans[-1].learned.centre is not None
    gpt2, muon = by_arm(plans[-1])
    assert cells(muon) <= cells(gpt2) and {t.part for t in muon.trials} == {"grid"}


def test_arm_that_is_added_is_tuned_alone():
    """Of a tuned sweep that gains an arm only that arm is tuned, and the baseline's grid stays."""
    grid = replace(STAGED, scout=None)
    done = through(first_plan(BASE, grid, CORPUS), lambda c: detuned(c, 1.5, 1.0))[-1]
    plans = plan_stages(BASE, armed(grid), CORPUS, learned=stage_results(done))
    assert plans[0].stage == "tuning"
    assert {name for t in plans[0].trials for name, _ in t.arms} == {"muon"}
    after = through(plans[0], lambda c: detuned(c, 3.0, 1.0))[-1]
    gpt2, muon = by_arm(after)
    assert {t.id for t in done.trials if t.part == "grid"} == ids(gpt2)
    factors = after.learned.arms
    assert factors["muon"].lr_factor == pytest.approx(2 * factors["gpt2"].lr_factor, rel=0.1)


def test_add_outer_sizes_extends_open_curves_of_each_arm():
    """Sizes are added to the open curves of the arm that has them."""

    def law(config):
        return valley(config, 20.0 if config.optimizer.name == "adamw" else 0.5)

    plan = plan_grid(BASE, armed(), CORPUS)
    more, notes = add_outer_sizes(plan, ran(plan, law))
    added = Counter(name for t in more.trials if t.id not in ids(plan) for name, _ in t.arms)
    assert set(added) == {"muon"} and any(note.startswith("muon: ") for note in notes)


def test_trials_of_arms_share_one_queue():
    """All arms share one queue, the longest trial first, and the plan states the cost of each."""
    plan = plan_grid(BASE, armed(), CORPUS, CPU_REFERENCE)
    seconds = [trial.predicted_s for trial in plan.trials]
    assert seconds == sorted(seconds, reverse=True)
    baseline, muon = arm_lines(plan, 2, CPU_REFERENCE)
    assert baseline.startswith("arm gpt2 (baseline): 43 trials, 9.76e+12 FLOP (50%), ")
    assert muon.startswith("arm muon: 43 trials, 9.76e+12 FLOP (50%), ")
    assert not list(arm_lines(plan_grid(BASE, GRID, CORPUS), 2, None))


def test_read_request_resolves_files_of_arms():
    """A file that an arm names stands in the plan as the fields in which it differs."""
    words = ("experiment=arms_smoke", "mode=plan", "grid.arms.decay={schedule: constant}")
    request = read_request(Arguments("sweep", words, CONFIG_DIR))
    arms = request.grid.arms
    assert arms["gpt2"] == {} and arms["muon"] == MUON
    assert arms["decay"] == {"schedule.name": "constant_sqrt", "schedule.cooldown_fraction": 0.2}
    found = {arm.name: arm.base.schedule.name for arm in arms_of(request.base, request.grid)}
    assert found["decay"] == "constant_sqrt" and found["muon"] == "cosine"


def test_plan_says_the_smallest_multiplier_of_its_arms(capsys):
    """Arms alone have one; the grid and its noise decide it."""
    words = ("mode=plan", "launcher.device=H200")
    found = []
    for more in (("experiment=arms_smoke",), ("experiment=arms_smoke", "grid.seeds=4")):
        assert run_entry(sweep.main, "sweep", "", (*more, *words)) == 0
        text = capsys.readouterr().out
        found.append(float(re.search(r"compute multiplier: ([\d.]+) or more", text)[1]))
    assert 1 < found[1] < found[0]
    assert run_entry(sweep.main, "sweep", "", ("experiment=smoke", *words)) == 0
    assert "compute multiplier" not in capsys.readouterr().out


def test_arms_of_other_architectures_have_sizes_near_the_baselines():
    """Each architecture has sizes of its own ladder, near the baseline's at each budget."""
    request = read_request(Arguments("sweep", ("experiment=arms_smoke", "mode=plan"), CONFIG_DIR))
    gpt2, *others = by_arm(plan_grid(request.base, request.grid, CORPUS))
    assert [arm.arm for arm in others] == ["muon", "llama", "lstm"]
    assert [arm.base.model.family for arm in others] == ["gpt2", "llama", "lstm"]
    for arm in others:
        for trial in arm.trials:
            same = (t for t in gpt2.trials if t.flops_budget == trial.flops_budget)
            sizes = [params_effective(t.config.model) for t in same]
            own = params_effective(trial.config.model)
            assert min(abs(math.log(own / size)) for size in sizes) < math.log(1.5)
        assert len(arm.trials) >= len(gpt2.trials) - 1
