"""The measurement before a plan: no more trials at once than processes, and no leftovers."""

import math
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from scaling.plan.cost import LEAST_TO_FIT, Measured, recipe_of
from scaling.plan.grid import plan_grid
from scaling.run.step_timing import MAX_CELLS, cells_to_measure, measure, tell_unmeasured
from scaling.run.workers.processes import ForkedProcess
from tests.support.plan_examples import CORPUS, QUICKSTART
from tests.support.tiny_sweep import (
    LAUNCHER,
    alive,
    child_pids,
    eventually,
    note,
    overrides,
    pretend,
    pretended_plan,
)

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("slots", [1, 3])
def test_measure_runs_no_more_trials_than_processes(tmp_path, monkeypatch, slots):
    """No more trials at once than processes."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pids = tmp_path / "pids"
    pids.mkdir()

    def act(config, attempt):
        (pids / str(os.getpid())).touch()
        for _ in filter(alive, [int(path.name) for path in pids.iterdir()]):
            note(attempt.trial / "at_once")
        note(tmp_path / f"{len((attempt.trial / 'at_once').read_text().split())}")

    plan = pretended_plan(tmp_path, range(2))
    places = [ForkedProcess(pretend(act)) for _ in range(slots)]
    # Trials that only pretend leave no time to learn from.
    assert measure(plan, places, plan.base.runtime, LAUNCHER) is None
    assert max(int(path.name) for path in tmp_path.glob("[0-9]*")) <= slots
    assert len(list(pids.iterdir())) == slots  # both trials are one cell: a copy for each slot
    assert not list(tmp_path.glob("measure-*"))


def test_cells_to_measure_are_of_every_arm():
    """Steps of another family or optimizer take another time, so two shapes of each are timed."""
    base, grid = QUICKSTART
    families = {name: {"model.family": name} for name in ("llama", "lstm")}
    arms = {"gpt2": {}, "muon": {"optimizer.name": "muon"}, "bf16": {"precision": "bf16"}}
    plan = plan_grid(base, replace(grid, arms=arms | families), CORPUS)
    found = Counter(recipe_of(config) for config in cells_to_measure(plan, math.inf))
    first, *others = sorted(found.values(), reverse=True)
    assert len(found) == 5 and first == MAX_CELLS and others == [2, 2, 2, 2]
    (alone,) = Counter(map(recipe_of, cells_to_measure(plan_grid(*QUICKSTART, CORPUS), 1))).values()
    assert alone == MAX_CELLS


def test_a_recipe_of_which_no_step_was_measured_is_told(capsys):
    """Its time is a guess, and whose steps it is taken for is no chance."""
    base, grid = QUICKSTART
    arms = {"gpt2": {}, "lstm": {"model.family": "lstm"}}
    plan = plan_grid(base, replace(grid, arms=arms), CORPUS)
    configs = {recipe_of(trial.config): trial.config for trial in plan.trials}
    first, lost = sorted(configs)
    measured = [Measured(configs[first].model, 128, 0.01, first)]
    tell_unmeasured(plan, measured)
    assert capsys.readouterr().out == (
        f"not measured: no step of {lost}; its time is predicted as that of {first}\n"
    )
    tell_unmeasured(plan, [*measured, replace(measured[0], recipe=lost)])
    assert capsys.readouterr().out == ""


def test_measure_interrupted_leaves_nothing(tmp_path):
    """An interrupted measurement leaves no folder and no process."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    line = [sys.executable, "sweep.py", *overrides(tmp_path, tmp_path / "out"), "mode=plan"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        logs = "measure-*/trials/*/attempt-001/log.txt"  # which a child begins
        eventually(lambda: list(temporary.glob(logs)))
        children = child_pids(process.pid)
        assert 1 <= len(children) <= 2
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(300) == 75, (tmp_path / "log").read_text()
    assert "stopped: while this machine was measured" in (tmp_path / "log").read_text()
    assert not any(map(alive, children))
    assert not [*temporary.glob("measure-*"), *temporary.glob("compile-*")]


def test_measure_skips_models_too_slow_for_cpu(tmp_path):
    """Models made for a gpu are not measured on a cpu."""
    plan = pretended_plan(tmp_path, range(1))
    (trial,) = plan.trials
    model = replace(trial.config.model, n_layer=12, n_head=12, n_embd=768, vocab_size=50257)
    schedule = replace(trial.config.schedule, tokens=2**30, batch_tokens=2**19)
    large = replace(trial, config=replace(trial.config, model=model, schedule=schedule))
    # No slot is touched: the answer is there at once.
    assert measure(replace(plan, trials=(large,)), [], plan.base.runtime, LAUNCHER) is None


def test_measure_runs_nothing_on_a_gpu_that_it_would_throw_away(tmp_path, capsys):
    """A plan with too few shapes to fit a machine's model to: no step is taken."""
    plan = pretended_plan(tmp_path, range(3))  # one shape
    runtime = replace(plan.base.runtime, device="cuda")

    class Untouched:
        compiles = True

        def start(self, task):
            raise AssertionError("started")

    assert measure(plan, [Untouched()], runtime, LAUNCHER) is None
    said = capsys.readouterr().out
    assert said == f"not measured: found 1 shape, expected {LEAST_TO_FIT} or more\n"
