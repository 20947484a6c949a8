"""Scout, tuning and grid on runs made up from known laws: what each stage finds and plans next."""

import json
from dataclasses import replace

import pytest

from model.flops import params_effective
from scaling.plan.grid import plan_grid
from scaling.plan.plan import merge_plans
from scaling.plan.plan_json import plan_from_json, plan_to_json
from scaling.plan.stages import (
    add_outer_sizes,
    is_request_of,
    next_plan,
    plan_stages,
    stage_results,
)
from tests.support.plan_examples import (
    CORPUS,
    QUICKSTART,
    STAGED,
    detuned,
    first_plan,
    parts,
    ran,
    through,
    valley,
)

BASE, GRID = QUICKSTART


def test_plan_stages_of_plain_grid_is_one_plan():
    """A grid without early stages is planned at once."""
    plan = first_plan(BASE, GRID, CORPUS)
    assert plan == plan_grid(BASE, GRID, CORPUS) and plan.stage == "grid"
    assert next_plan(plan, ran(plan)) is None and stage_results(plan) is None
    assert plan_stages(BASE, GRID, CORPUS) == [plan]


def test_next_plan_keeps_trials_of_earlier_stages():
    """The stages follow one another and keep what was run."""
    plans = through(first_plan(BASE, STAGED, CORPUS), lambda config: detuned(config, 1.2, 0.9))
    assert [plan.stage for plan in plans] == ["scout", "tuning", "grid"]
    assert {plan.grid for plan in plans} == {STAGED}
    for before, after in zip(plans, plans[1:], strict=False):
        assert {trial.id for trial in before.trials} <= {trial.id for trial in after.trials}
    assert parts(plans[0]) == {"scout": 10}  # two of the twelve would be of too few steps
    assert parts(plans[2])["grid"] >= 43 - 3  # a trial or two of the tuning may be one of the grid
    learned = stage_results(plans[2])
    assert learned == plans[2].learned and stage_results(plans[1]) is None
    (again,) = plan_stages(BASE, STAGED, CORPUS, learned=learned)
    assert {t.id for t in again.trials} <= {t.id for t in plans[2].trials}
    assert all(is_request_of(plan, BASE, STAGED) for plan in plans)
    assert [plan.stage for plan in plan_stages(BASE, STAGED, CORPUS)] == ["scout", "tuning", "grid"]


def test_next_plan_waits_for_last_trial():
    """Nothing follows before the last run of a stage has ended."""
    plan = first_plan(BASE, STAGED, CORPUS)
    records = ran(plan)
    del records[plan.trials[-1].id]
    assert next_plan(plan, records) is None


def test_next_plan_ignores_order_of_records():
    """The next plan depends on neither the order of records nor on a stop between."""
    plan = first_plan(BASE, STAGED, CORPUS)
    records = ran(plan)
    after = next_plan(plan, records)
    assert next_plan(plan, dict(reversed(records.items()))) == after
    read = plan_from_json(json.loads(json.dumps(plan_to_json(plan))))
    assert next_plan(read, records) == after
    assert plan_from_json(json.loads(json.dumps(plan_to_json(after)))) == after


@pytest.mark.parametrize(("off", "smaller"), [(400.0, True), (1.0, False)])
def test_add_outer_sizes_to_open_side_of_curve(off, smaller):
    """An open IsoFLOP curve gets sizes on its open side and a bracketed one none."""
    plan = plan_grid(BASE, GRID, None)

    def law(config):
        flops = 6 * params_effective(config.model) * config.schedule.tokens_planned
        return valley(config, off if flops > 5e11 else 20.0, 0.45)

    wider, notes = add_outer_sizes(plan, ran(plan, law))
    added = [trial for trial in wider.trials if trial not in plan.trials]
    assert {trial.flops_budget for trial in added} == {8e11} and len(added) == 2
    widths = sorted(trial.config.model.n_embd for trial in added)
    assert widths == ([12, 16] if smaller else [128, 192])
    assert len(notes) == 1 and "adding" in notes[0]
    again, notes = add_outer_sizes(wider, ran(wider, lambda config: valley(config, 20, 0.45)))
    assert again == wider and notes == []


def test_add_outer_sizes_waits_for_all_runs_of_curve():
    """An IsoFLOP curve is not judged before all its runs have ended."""
    plan = plan_grid(BASE, GRID, None)
    records = ran(plan, lambda config: valley(config, 1.0, 0.45))
    unfinished = next(trial.id for trial in plan.trials if trial.flops_budget == 8e11)
    del records[unfinished]
    wider, notes = add_outer_sizes(plan, records)
    assert 8e11 not in {trial.flops_budget for trial in wider.trials if trial not in plan.trials}
    assert notes


def test_add_outer_sizes_says_that_ladder_ends():
    """At the end of the ladder nothing can be added and that is said."""
    grid = replace(GRID, ladder=("2x8", "2x12", "2x16", "2x24"), budgets=(1.4e11,), sizes=4)
    plan = plan_grid(BASE, grid, None)
    wider, notes = add_outer_sizes(plan, ran(plan, lambda config: valley(config, 0.1, 0.5)))
    assert wider == plan and "no larger size can be added: the ladder ends there" in notes[0]


def test_next_plan_ignores_trials_that_a_grid_has_run():
    """Early stages find the same where a grid has run some of their trials."""

    def law(config):
        return detuned(config, 1.2, 0.9)

    first = first_plan(BASE, STAGED, CORPUS)
    there = plan_grid(BASE, GRID, CORPUS)
    last = through(merge_plans(first, there.trials), law)[-1]
    assert last.learned == through(first, law)[-1].learned


def test_plan_stages_skips_stages_that_have_results():
    """A sweep goes once through a stage and what it found stays."""
    scouted = through(first_plan(BASE, replace(STAGED, tuning=None), CORPUS))[-1]
    plans = plan_stages(BASE, STAGED, CORPUS, learned=stage_results(scouted))
    assert [plan.stage for plan in plans] == ["tuning", "grid"]
    both = through(plans[0])[-1]
    assert both.learned.centre == scouted.learned.centre and len(both.learned.notes) == 3
    (plain,) = plan_stages(BASE, GRID, CORPUS, learned=stage_results(both))
    assert stage_results(plain) == both.learned
