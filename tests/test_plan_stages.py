"""Scout, tuning and grid on runs made up from known laws: what each stage finds and plans next."""

import json
import math
from dataclasses import replace

import pytest
from test_plan_grid import CORPUS, QUICKSTART

from configs.errors import BadInput
from model.config import GPTConfig
from model.flops import params_effective
from scaling.plan.arms import CellConfig, ScoutConfig, TuningConfig
from scaling.plan.grid import Plan, plan_from_json, plan_grid, plan_to_json, united
from scaling.plan.stages import foreseen, is_request_of, learned_by, next_plan, widened
from scaling.plan.tuning import Study
from training.config import TrainConfig
from training.record import RunRecord, blank_record

BASE, GRID = QUICKSTART
SCOUT = ScoutConfig(budgets=None, sizes=6, span=8.0)
TUNING = TuningConfig(
    lr_factors=(0.25, 0.5, 1.0, 2.0, 4.0), batch_factors=(0.5, 1.0, 2.0), cells=3, cost=0.25
)
BLANK = blank_record(BASE, 1, "done", None)
STAGED = replace(GRID, scout=SCOUT, tuning=TUNING)


def valley(config: TrainConfig, tokens_per_param: float = 20.0, exponent: float = 0.45) -> float:
    """A parabola in log N about N* = k C^exponent, with that many tokens a parameter at 1e11."""
    size, tokens = params_effective(config.model), config.schedule.tokens_seen
    flops = 6 * size * tokens
    best = math.sqrt(1e11 / (6 * tokens_per_param)) * (flops / 1e11) ** exponent
    return 2.0 - 0.05 * math.log(flops / 1e11) + 0.1 * math.log(size / best) ** 2


def detuned(config: TrainConfig, lr: float, batch: float) -> float:
    """`valley` for a trainer whose best rate and batch are so many times those of the toy rules."""
    off_lr = math.log(config.optimizer.lr / (lr * min(0.02, 0.28 / config.model.n_embd)))
    off_batch = math.log(
        config.schedule.batch_tokens / (batch * 0.2 * config.schedule.tokens**0.571)
    )
    # A larger batch wants a larger rate: the optimum is joint.
    return valley(config) + 0.05 * (off_lr - 0.5 * off_batch) ** 2 + 0.05 * off_batch**2


def first_plan(base, grid, dataset_tokens) -> Plan:
    return foreseen(base, grid, dataset_tokens)[0]


def ran(plan: Plan, law=valley, known: dict[str, RunRecord] | None = None) -> dict[str, RunRecord]:
    """The records of the plan's trials, had they followed a law; inf is a run that diverged."""
    records = dict(known or {})
    for trial in plan.trials:
        loss = law(trial.config)
        status = "done" if math.isfinite(loss) else "diverged"
        ended = {"status": status, "loss": loss if status == "done" else None}
        records.setdefault(trial.id, replace(BLANK, id=trial.id, **ended))
    return records


def through(plan: Plan, law=valley) -> list[Plan]:
    """The plans of all stages, one after the other."""
    plans, records = [plan], {}
    while plan is not None:
        records = ran(plan, law, records)
        plan = next_plan(plan, records)
        plans += [plan] if plan else []
    return plans


def arms(plan: Plan) -> dict[str, int]:
    return {
        arm: sum(t.arm == arm for t in plan.trials) for arm in sorted({t.arm for t in plan.trials})
    }


def test_a_grid_without_early_stages_is_planned_at_once():
    plan = first_plan(BASE, GRID, CORPUS)
    assert plan == plan_grid(BASE, GRID, CORPUS) and plan.stage == "grid"
    assert next_plan(plan, ran(plan)) is None and learned_by(plan) is None
    assert foreseen(BASE, GRID, CORPUS) == [plan]


def test_the_stages_follow_one_another_and_keep_what_was_run():
    plans = through(first_plan(BASE, STAGED, CORPUS), lambda config: detuned(config, 1.2, 0.9))
    assert [plan.stage for plan in plans] == ["scout", "tuning", "grid"]
    assert {plan.grid for plan in plans} == {STAGED}
    for before, after in zip(plans, plans[1:], strict=False):
        assert {trial.id for trial in before.trials} <= {trial.id for trial in after.trials}
    assert arms(plans[0]) == {"scout": 10}  # two of the twelve would be of too few steps
    assert arms(plans[2])["grid"] >= 43 - 3  # a trial or two of the tuning may be one of the grid
    learned = learned_by(plans[2])
    assert learned == plans[2].learned and learned_by(plans[1]) is None
    (again,) = foreseen(BASE, STAGED, CORPUS, learned=learned)
    assert {t.id for t in again.trials} <= {t.id for t in plans[2].trials}
    assert all(is_request_of(plan, BASE, STAGED) for plan in plans)
    assert [plan.stage for plan in foreseen(BASE, STAGED, CORPUS)] == ["scout", "tuning", "grid"]


def test_nothing_follows_before_the_last_run_of_a_stage_has_ended():
    plan = first_plan(BASE, STAGED, CORPUS)
    records = ran(plan)
    del records[plan.trials[-1].id]
    assert next_plan(plan, records) is None


def test_the_next_plan_depends_on_neither_the_order_of_records_nor_on_a_stop_between():
    plan = first_plan(BASE, STAGED, CORPUS)
    records = ran(plan)
    after = next_plan(plan, records)
    assert next_plan(plan, dict(reversed(records.items()))) == after
    read = plan_from_json(json.loads(json.dumps(plan_to_json(plan))))
    assert next_plan(read, records) == after
    assert plan_from_json(json.loads(json.dumps(plan_to_json(after)))) == after


@pytest.mark.parametrize("tokens_per_param", [8, 20, 60])
def test_the_scout_finds_the_centre_of_a_known_law(tokens_per_param):
    def law(config):
        return valley(config, tokens_per_param, 0.45)

    plans = through(first_plan(BASE, replace(STAGED, tuning=None), None), law)
    centre = plans[-1].learned.centre
    for budget in GRID.budgets:
        best = math.sqrt(1e11 / (6 * tokens_per_param)) * (budget / 1e11) ** 0.45
        assert centre.n_effective(budget) == pytest.approx(best, rel=0.1)
    assert "scout: " in plans[-1].learned.notes[0]


def test_a_scout_that_misses_the_optimum_looks_further_on_its_side():
    grid = replace(STAGED, scout=replace(SCOUT, sizes=4, span=2.0), tuning=None)
    plans = through(first_plan(BASE, grid, None), lambda config: valley(config, 4.0, 0.45))
    assert [plan.stage for plan in plans][:2] == ["scout", "scout"]
    best = math.sqrt(1e11 / 24)
    assert plans[-1].learned.centre.n_effective(1e11) == pytest.approx(best, rel=0.1)


def test_a_scout_without_an_optimum_leaves_the_centre_and_says_so():
    plans = through(first_plan(BASE, replace(STAGED, tuning=None), None), lambda _: 3.0)
    assert plans[-1].learned.centre is None
    assert "the centre stays as supposed" in plans[-1].learned.notes[0]


def test_the_exponent_of_two_coarse_valleys_stays_within_what_is_published():
    grid = replace(STAGED, tuning=None)
    plans = through(first_plan(BASE, grid, None), lambda config: valley(config, 20, 0.8))
    assert plans[-1].learned.centre.exponent == 0.6


@pytest.mark.parametrize(("lr", "batch"), [(1.0, 1.0), (0.5, 1.4), (1.7, 0.7)])
def test_tuning_finds_the_coefficients_of_a_known_trainer(lr, batch):
    grid = replace(STAGED, scout=None)
    plans = through(first_plan(BASE, grid, CORPUS), lambda config: detuned(config, lr, batch))
    assert [plan.stage for plan in plans] == ["tuning", "grid"]
    learned = plans[-1].learned
    assert learned.batch_factor == pytest.approx(batch, rel=0.1)
    assert learned.lr_factor == pytest.approx(lr, rel=0.1)
    corrected = plan_grid(BASE, learned.applied(replace(grid, tuning=None)), CORPUS)
    grid_trials = {trial.id for trial in plans[-1].trials if trial.arm == "grid"}
    assert grid_trials == {trial.id for trial in corrected.trials}


def test_an_optimum_at_the_edge_is_looked_for_once_and_then_does_not_count():
    grid = replace(STAGED, scout=None)
    far = through(first_plan(BASE, grid, CORPUS), lambda config: detuned(config, 9.0, 1.0))
    assert [plan.stage for plan in far] == ["tuning", "tuning", "grid"]
    assert far[-1].learned.lr_factor == pytest.approx(9.0, rel=0.2)
    lost = through(first_plan(BASE, grid, CORPUS), lambda config: detuned(config, 500.0, 1.0))
    assert [plan.stage for plan in lost] == ["tuning", "tuning", "grid"]
    assert lost[-1].learned.lr_factor == 1.0
    assert "does not count, the least loss is at the largest" in lost[-1].learned.notes[0]


def test_a_rate_that_diverges_brackets_the_optimum_from_above():
    def law(config):
        fast = config.optimizer.lr > 1.5 * min(0.02, 0.28 / config.model.n_embd)
        return math.inf if fast else 2.0 - 0.01 * math.log(config.optimizer.lr)

    plans = through(first_plan(BASE, replace(STAGED, scout=None), CORPUS), law)
    assert plans[-1].learned.lr_factor == 1.0
    assert "learning rate x1 of the rule" in plans[-1].learned.notes[0]


def test_the_best_rate_where_the_rule_is_capped_tells_nothing_of_its_coefficient():
    runs = tuple((f, 1.0, 3 + math.log(f / 2) ** 2) for f in (0.5, 1.0, 2.0, 4.0))
    shape = GPTConfig(2, 2, 64, 128, 256, 0.02)
    factor, reason = Study(1e15, shape, runs).optimum("lr")
    assert (factor, reason) == (pytest.approx(2), None)
    factor, reason = Study(1e15, shape, runs, capped=True).optimum("lr")
    assert math.isnan(factor) and reason == "the rule's rate is capped at 0.006 there"


def test_cells_that_disagree_are_told():
    def law(config):
        return detuned(config, 0.5 if config.model.n_embd < 20 else 2.0, 1.0)

    plans = through(first_plan(BASE, replace(STAGED, scout=None), CORPUS), law)
    assert "its exponents are off" in plans[-1].learned.notes[0]


@pytest.mark.parametrize("cost", [0.05, 0.25, 3.0])
def test_tuning_keeps_to_its_share_of_the_cost(cost):
    grid = replace(STAGED, scout=None, tuning=replace(TUNING, cost=cost))
    plan = first_plan(BASE, grid, CORPUS)
    whole = sum(trial.flops_budget for trial in plan_grid(BASE, GRID, CORPUS).trials)
    spent = sum(trial.flops_budget for trial in plan.trials)
    assert spent <= cost * whole or {trial.flops_budget for trial in plan.trials} == {2.5e10}
    cells = {(trial.flops_budget, trial.config.model.n_embd) for trial in plan.trials}
    assert len(cells) == 3
    if cost == 3.0:
        assert {budget for budget, _ in cells} == {2.5e10, 1.4e11, 8e11}


def test_tuning_at_chosen_cells():
    cells = (CellConfig(6e10, "2x24"), CellConfig(1.4e11))
    plan = first_plan(
        BASE, replace(STAGED, scout=None, tuning=replace(TUNING, cells=cells)), CORPUS
    )
    found = {(trial.flops_budget, trial.config.model.n_embd) for trial in plan.trials}
    assert found == {(6e10, 24), (1.4e11, 32)}


@pytest.mark.parametrize(("off", "smaller"), [(400.0, True), (1.0, False)])
def test_an_open_valley_gets_sizes_on_its_open_side_and_a_bracketed_one_none(off, smaller):
    plan = plan_grid(BASE, GRID, None)

    def law(config):
        flops = 6 * params_effective(config.model) * config.schedule.tokens_seen
        return valley(config, off if flops > 5e11 else 20.0, 0.45)

    wider, notes = widened(plan, ran(plan, law))
    added = [trial for trial in wider.trials if trial not in plan.trials]
    assert {trial.flops_budget for trial in added} == {8e11} and len(added) == 2
    widths = sorted(trial.config.model.n_embd for trial in added)
    assert widths == ([12, 16] if smaller else [128, 192])
    assert len(notes) == 1 and "adding" in notes[0]
    again, notes = widened(wider, ran(wider, lambda config: valley(config, 20, 0.45)))
    assert again == wider and notes == []


def test_a_valley_is_not_judged_before_all_its_runs_have_ended():
    plan = plan_grid(BASE, GRID, None)
    records = ran(plan, lambda config: valley(config, 1.0, 0.45))
    unfinished = next(trial.id for trial in plan.trials if trial.flops_budget == 8e11)
    del records[unfinished]
    wider, notes = widened(plan, records)
    assert 8e11 not in {trial.flops_budget for trial in wider.trials if trial not in plan.trials}
    assert notes


def test_at_the_end_of_the_ladder_nothing_can_be_added_and_that_is_said():
    grid = replace(GRID, ladder=("2x8", "2x12", "2x16", "2x24"), budgets=(1.4e11,), sizes=4)
    plan = plan_grid(BASE, grid, None)
    wider, notes = widened(plan, ran(plan, lambda config: valley(config, 0.1, 0.5)))
    assert wider == plan and "no larger size can be added: the ladder ends there" in notes[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lr_factors": (0.5, 2.0)}, "grid.tuning.lr_factors: found .*expected 1 among them"),
        ({"lr_factors": (2.0, 1.0)}, "grid.tuning.lr_factors: found .*expected rising values"),
        ({"cells": 4}, "grid.tuning.cells: found 4, expected 1 to 3, or a list"),
        ({"cost": 0.0}, "grid.tuning.cost: found 0.0"),
    ],
)
def test_a_bad_study_is_refused(change, message):
    with pytest.raises(BadInput, match=message):
        replace(TUNING, **change)


def test_a_bad_scout_is_refused():
    with pytest.raises(BadInput, match="grid.scout.sizes: found 2"):
        replace(SCOUT, sizes=2)
    with pytest.raises(BadInput, match="grid.scout.budgets: found .*rising"):
        replace(SCOUT, budgets=(2e10, 1e10))


def test_early_stages_find_the_same_where_a_grid_has_run_some_of_their_trials():
    def law(config):
        return detuned(config, 1.2, 0.9)

    first = first_plan(BASE, STAGED, CORPUS)
    there = plan_grid(BASE, GRID, CORPUS)
    last = through(united(first, there.trials), law)[-1]
    assert last.learned == through(first, law)[-1].learned


def test_a_sweep_goes_once_through_a_stage_and_what_it_found_stays():
    scouted = through(first_plan(BASE, replace(STAGED, tuning=None), CORPUS))[-1]
    plans = foreseen(BASE, STAGED, CORPUS, learned=learned_by(scouted))
    assert [plan.stage for plan in plans] == ["tuning", "grid"]
    both = through(plans[0])[-1]
    assert both.learned.centre == scouted.learned.centre and len(both.learned.notes) == 3
    (plain,) = foreseen(BASE, GRID, CORPUS, learned=learned_by(both))
    assert learned_by(plain) == both.learned
