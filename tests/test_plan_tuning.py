"""The tuning study on runs of known trainers."""

import math
from dataclasses import replace

import pytest

from model.config import GPTConfig
from scaling.plan.config import CellConfig
from scaling.plan.grid import plan_grid
from scaling.plan.tuning import Study
from tests.support.plan_examples import (
    CORPUS,
    QUICKSTART,
    STAGED,
    TUNING,
    detuned,
    experiment,
    first_plan,
    through,
)

BASE, GRID = QUICKSTART


@pytest.mark.parametrize(("lr", "batch"), [(1.0, 1.0), (0.5, 1.4), (1.7, 0.7)])
def test_tuning_results_recover_known_trainer(lr, batch):
    """Tuning finds the coefficients of a known trainer."""
    grid = replace(STAGED, scout=None)
    plans = through(first_plan(BASE, grid, CORPUS), lambda config: detuned(config, lr, batch))
    assert [plan.stage for plan in plans] == ["tuning", "grid"]
    learned = plans[-1].learned
    assert learned.batch_factor == pytest.approx(batch, rel=0.1)
    assert learned.lr_factor == pytest.approx(lr, rel=0.1)
    corrected = plan_grid(BASE, learned.applied(replace(grid, tuning=None)), CORPUS)
    grid_trials = {trial.id for trial in plans[-1].trials if trial.part == "grid"}
    assert grid_trials == {trial.id for trial in corrected.trials}


def test_extend_sweep_looks_once_beyond_edge():
    """An optimum at the edge is looked for once and then does not count."""
    grid = replace(STAGED, scout=None)
    far = through(first_plan(BASE, grid, CORPUS), lambda config: detuned(config, 9.0, 1.0))
    assert [plan.stage for plan in far] == ["tuning", "tuning", "grid"]
    assert far[-1].learned.lr_factor == pytest.approx(9.0, rel=0.2)
    lost = through(first_plan(BASE, grid, CORPUS), lambda config: detuned(config, 500.0, 1.0))
    assert [plan.stage for plan in lost] == ["tuning", "tuning", "grid"]
    assert lost[-1].learned.lr_factor == 1.0
    assert "does not count, the least loss is at the largest" in lost[-1].learned.notes[0]


def test_study_takes_divergence_as_bracket():
    """A rate that diverges brackets the optimum from above."""

    def law(config):
        fast = config.optimizer.lr > 1.5 * min(0.02, 0.28 / config.model.n_embd)
        return math.inf if fast else 2.0 - 0.01 * math.log(config.optimizer.lr)

    plans = through(first_plan(BASE, replace(STAGED, scout=None), CORPUS), law)
    assert plans[-1].learned.lr_factor == 1.0
    assert "learning rate x1 of the rule" in plans[-1].learned.notes[0]


def test_study_ignores_capped_learning_rate():
    """The best rate where the rule is capped tells nothing of its coefficient."""
    runs = tuple((f, 1.0, 3 + math.log(f / 2) ** 2) for f in (0.5, 1.0, 2.0, 4.0))
    shape = GPTConfig(2, 2, 64, 128, 256, 0.02)
    factor, reason = Study(1e15, shape, runs).optimum("lr")
    assert (factor, reason) == (pytest.approx(2), None)
    factor, reason = Study(1e15, shape, runs, capped=True).optimum("lr")
    assert math.isnan(factor) and reason == "the rule's learning rate is capped at 0.006 there"


def test_tuning_results_name_disagreeing_cells():
    """Cells that disagree are told."""

    def law(config):
        return detuned(config, 0.5 if config.model.n_embd < 20 else 2.0, 1.0)

    plans = through(first_plan(BASE, replace(STAGED, scout=None), CORPUS), law)
    assert "the rule's exponents are off" in plans[-1].learned.notes[0]


@pytest.mark.parametrize("cost", [0.05, 0.25, 3.0])
def test_tuning_trials_keep_to_share_of_cost(cost):
    """Tuning keeps to its share of the cost."""
    grid = replace(STAGED, scout=None, tuning=replace(TUNING, cost=cost))
    plan = first_plan(BASE, grid, CORPUS)
    whole = sum(trial.flops_budget for trial in plan_grid(BASE, GRID, CORPUS).trials)
    spent = sum(trial.flops_budget for trial in plan.trials)
    assert spent <= cost * whole or {trial.flops_budget for trial in plan.trials} == {2.5e10}
    cells = {(trial.flops_budget, trial.config.model.n_embd) for trial in plan.trials}
    assert len(cells) == 3
    if cost == 3.0:
        assert {budget for budget, _ in cells} == {2.5e10, 1.4e11, 8e11}


def test_tuning_trials_at_chosen_cells():
    """Tuning at chosen cells."""
    cells = (CellConfig(6e10, "2x24"), CellConfig(1.4e11))
    plan = first_plan(
        BASE, replace(STAGED, scout=None, tuning=replace(TUNING, cells=cells)), CORPUS
    )
    found = {(trial.flops_budget, trial.config.model.n_embd) for trial in plan.trials}
    assert found == {(6e10, 24), (1.4e11, 32)}


def best_rate_by(width: float = 0.0, tokens: float = 0.0):
    """Losses of a trainer whose best rate goes as these powers, whatever the rule."""

    def law(config):
        best = 0.01 * (config.model.n_embd / 32) ** width
        best *= (config.schedule.tokens / 131_072) ** tokens
        return 2.0 + 0.05 * math.log2(config.optimizer.lr / best) ** 2

    return law


def transfer_notes(base, grid, law) -> list[str]:
    plans = through(first_plan(base, grid, CORPUS), law)
    return [note for note in plans[-1].learned.notes if "transfer" in note]


@pytest.mark.parametrize(
    ("power", "verdict", "moves"),
    [(0.0, "the rate transfers", "x1 "), (-1.0, "the rate does not transfer", "x0.5 ")],
)
def test_tuning_results_say_of_each_arm_whether_the_rate_transfers(power, verdict, moves):
    """The power of width by which the best rate moves, from cells of one D and batch."""
    base, grid = experiment("transfer")
    trials = first_plan(base, grid, CORPUS).trials
    for values in (
        {trial.config.schedule.tokens for trial in trials},
        {trial.config.schedule.batch_tokens for trial in trials},
    ):
        assert max(values) < 1.1 * min(values)
    notes = transfer_notes(base, grid, best_rate_by(width=power))
    expected = [f"tuning: {arm}: {verdict}: its optimum moves {moves}" for arm in grid.arms]
    assert [note[: len(start)] for note, start in zip(notes, expected, strict=True)] == expected


def test_tuning_results_give_no_verdict_on_cells_of_one_budget():
    """They differ in tokens and batch, and the best rate moves with both."""
    base, grid = experiment("transfer")
    one_budget = tuple(replace(cell, flops=3e10) for cell in grid.tuning.cells)
    other = replace(grid, tuning=replace(grid.tuning, cells=one_budget))
    (note,) = transfer_notes(base, other, best_rate_by(tokens=0.5))  # of muP; standard asks none
    assert note.startswith("tuning: mup: no verdict on whether the rate transfers: the cells diff")
