"""The measurement before a plan: no more trials at once than slots, and nothing left of it."""

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweep import (
    LAUNCHER,
    alive,
    child_pids,
    eventually,
    note,
    overrides,
    pretend,
    pretended_plan,
)

from scaling.run.measure import measure
from scaling.run.slots import ForkedSlot

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("slots", [1, 3])
def test_no_more_trials_at_once_than_slots(tmp_path, monkeypatch, slots):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pids = tmp_path / "pids"
    pids.mkdir()

    def act(config, attempt):
        (pids / str(os.getpid())).touch()
        for _ in filter(alive, [int(path.name) for path in pids.iterdir()]):
            note(attempt.trial / "at_once")
        note(tmp_path / f"{len((attempt.trial / 'at_once').read_text().split())}")

    plan = pretended_plan(tmp_path, range(2))
    places = [ForkedSlot(pretend(act)) for _ in range(slots)]
    # Trials that only pretend leave no time to learn from.
    assert measure(plan, places, plan.base.runtime, LAUNCHER) is None
    assert max(int(path.name) for path in tmp_path.glob("[0-9]*")) <= slots
    assert len(list(pids.iterdir())) == slots  # both trials are one cell: a copy for each slot
    assert not list(tmp_path.glob("measure-*"))


def test_an_interrupted_measurement_leaves_no_folder_and_no_process(tmp_path):
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
        eventually(lambda: list(temporary.glob(logs)), 60)
        children = child_pids(process.pid)
        assert 1 <= len(children) <= 2
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(30) == 75, (tmp_path / "log").read_text()
    assert "stopped: while this machine was measured" in (tmp_path / "log").read_text()
    assert not any(map(alive, children))
    assert not [*temporary.glob("measure-*"), *temporary.glob("compile-*")]


def test_models_made_for_a_gpu_are_not_measured_on_a_cpu(tmp_path):
    plan = pretended_plan(tmp_path, range(1))
    (trial,) = plan.trials
    model = replace(trial.config.model, n_layer=12, n_head=12, n_embd=768, vocab_size=50257)
    schedule = replace(trial.config.schedule, tokens=2**30, batch_tokens=2**19)
    large = replace(trial, config=replace(trial.config, model=model, schedule=schedule))
    # No slot is touched: the answer is there at once.
    assert measure(replace(plan, trials=(large,)), [], plan.base.runtime, LAUNCHER) is None
