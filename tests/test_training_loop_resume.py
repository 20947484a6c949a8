"""Killed and continued is the same as never killed, wherever the knife falls."""

import json
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import model.checkpoint_io
import training.checkpointer
import training.loop
import training.trial.checkpoint
from common.errors import BadInput, StopRequested
from tests.support.kill_harness import fork
from tests.support.tiny_training import (
    alone,
    claimed,
    prepared_config,
    tiny_config,
    train_once,
    write_text,
)
from training.trial.metrics import read_metrics
from training.trial.record import read_record

STEPS = 3
EARLIER = Path(__file__).parent / "support/earlier_attempt"


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    torch.set_num_threads(1)
    return prepared_config(tmp_path_factory.mktemp("resume"), STEPS)


@pytest.fixture(scope="module")
def reference(config, tmp_path_factory):
    """The record of the run that nothing happened to."""
    return train_once(config, tmp_path_factory.mktemp("reference") / "trial")


def killed(config, trial: Path, wound: Callable[[], Any]) -> int:
    """Train in a child that does `wound` to itself first; its end."""

    def body() -> None:
        wound()
        train_once(config, trial)

    return fork(body, trial.parent / f"{trial.name}.log").wait()


def die_before_saving(nth: int) -> None:
    """Have this process end when it is about to save for the nth time."""
    save, saves = training.trial.checkpoint.save, 0

    def dying(*arguments: Any) -> Path:
        nonlocal saves
        saves += 1
        if saves == nth:
            signal.raise_signal(signal.SIGKILL)
        return save(*arguments)

    training.trial.checkpoint.save = dying


def assert_ends_like(trial: Path, config, reference) -> None:
    ended = read_record(trial)
    record = ended or train_once(config, trial)
    assert record.weights_digest == reference.weights_digest
    assert record.loss == reference.loss
    assert record.bitwise and record.status == "done"
    rows = read_metrics(trial)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    checkpoints = list(trial.glob("attempt-*/checkpoints/*"))
    assert 1 <= len(checkpoints) <= config.runtime.keep_checkpoints + 1
    if ended is None:  # nothing half-written stays behind
        assert not list(trial.rglob(".*"))


def test_loop_resume_two_runs_end_in_the_same_bits(config, reference, tmp_path):
    """Two runs end in the same bits."""
    assert train_once(config, tmp_path / "trial").weights_digest == reference.weights_digest


@pytest.mark.parametrize("nth", range(1, 2 * STEPS + 1))
def test_loop_resume_after_a_kill_half_way_through_a_file(config, reference, tmp_path, nth):
    """A kill half way through a file changes nothing.

    Every second file is state.pt, the others meta.json.
    """

    def wound() -> None:
        write, files = model.checkpoint_io._write, 0

        def half(path: Path, fill: Callable[[Any], Any]) -> tuple[int, str]:
            nonlocal files
            files += 1
            if files == nth:
                size, _ = write(path, fill)
                with path.open("r+b") as file:
                    file.truncate(size // 2)
                signal.raise_signal(signal.SIGKILL)
            return write(path, fill)

        model.checkpoint_io._write = half

    assert killed(config, tmp_path / "trial", wound) == -9
    assert_ends_like(tmp_path / "trial", config, reference)


def test_loop_resume_after_an_attempt_that_died_before_its_first_save(config, reference, tmp_path):
    """A second attempt that dies too early to save costs nothing."""
    trial = tmp_path / "trial"

    assert killed(config, trial, lambda: die_before_saving(2)) == -9
    for _ in range(3):
        assert killed(config, trial, lambda: die_before_saving(1)) == -9
    assert [path.name for path in trial.glob("attempt-*/checkpoints/*")] == ["step-00000001"]
    assert_ends_like(trial, config, reference)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_loop_resume_after_a_stop_loses_no_step(tmp_path, number):
    """A stop is saved and loses no step."""
    config = prepared_config(tmp_path, 400, runtime__checkpoint_every_s=1e6)
    trial = tmp_path / "trial"
    child = fork(lambda: train_once(config, trial), tmp_path / "log")
    child.until(lambda: read_metrics(trial))
    child.kill(number)
    assert child.wait() == 1
    assert "StopRequested: after step" in child.log.read_text()
    rows = read_metrics(trial)
    [saved] = (trial / "attempt-001/checkpoints").iterdir()
    assert saved.name == f"step-{rows[-1]['step']:08d}"
    assert claimed(trial).number == 2  # an owner that stopped is known to be gone


def test_loop_resume_owner_taken_over_saves_and_publishes_nothing(config, tmp_path, monkeypatch):
    """An owner that was taken over saves and publishes nothing."""
    trial = tmp_path / "trial"
    attempt = claimed(trial)
    attempt.release()
    claimed(trial)
    with pytest.raises(StopRequested, match="taken over"):
        training.loop.train(config, attempt, alone(), quiet=True)
    assert not list(trial.glob("attempt-001/checkpoints/*"))


def test_loop_resume_refuses_another_schedule_with_its_fields(config, tmp_path):
    """Another schedule is refused with its fields."""
    trial = tmp_path / "trial"
    killed(config, trial, lambda: die_before_saving(2))
    other = replace(config, schedule=replace(config.schedule, tokens=128 * (STEPS + 1)))
    with pytest.raises(BadInput, match=r"schedule\.tokens: 384, now 512"):
        train_once(other, trial)
    changed = replace(config, optimizer=replace(config.optimizer, lr=0.5, eps=1e-6))
    with pytest.raises(BadInput, match=r"optimizer\.eps: .*optimizer\.lr: 0\.01, now 0\.5"):
        train_once(changed, trial)


def test_loop_resume_refuses_other_data(tmp_path):
    """Other data is refused."""
    config = prepared_config(tmp_path, STEPS)
    killed(config, tmp_path / "trial", lambda: die_before_saving(2))
    write_text(tmp_path / "text", seed=1)
    with pytest.raises(BadInput, match="data: train shard 0"):
        train_once(config, tmp_path / "trial")


def test_loop_resume_keeps_the_first_decisions(config, tmp_path):
    """The first decisions are kept."""
    trial = tmp_path / "trial"
    elsewhere = replace(config, runtime=replace(config.runtime, micro_batch=3))
    killed(elsewhere, trial, lambda: die_before_saving(2))
    record = train_once(config, trial)  # asks for nothing, so gets what was decided
    assert json.loads((trial / "attempt-002/runtime.json").read_text())["micro_batch"] == 3
    assert record.bitwise


def test_loop_resume_evaluation_on_the_way_changes_no_weight(config, reference, tmp_path):
    """Evaluation on the way changes no weight."""
    often = replace(config, runtime=replace(config.runtime, evaluate_every_steps=1))
    record = train_once(often, tmp_path / "trial")
    assert record.weights_digest == reference.weights_digest
    assert all("val_loss" in row for row in read_metrics(tmp_path / "trial"))


def test_loop_resume_with_another_seed_is_another_run(config, reference, tmp_path):
    """Another seed is another run."""
    record = train_once(replace(config, seed=1), tmp_path / "trial")
    assert record.weights_digest != reference.weights_digest
    assert tiny_config(tmp_path).seed == 0


def test_loop_resume_attempt_of_earlier_code_goes_on(tmp_path, monkeypatch):
    """What code of November 2026 left after step 3 of 6, its names still others, is resumed."""
    monkeypatch.chdir(tmp_path)  # the stored config names its text by a relative path
    config = prepared_config(Path(), 6)
    shape = replace(config.model, n_layer=1, n_head=1, n_embd=4)
    runtime = replace(config.runtime, checkpoint_every_s=1e6)
    config = replace(config, model=shape, runtime=runtime)
    whole = train_once(config, tmp_path / "whole")
    shutil.copytree(EARLIER, tmp_path / "trial/attempt-001")
    record = train_once(config, tmp_path / "trial")
    assert (record.status, record.attempts, record.steps) == ("done", 2, 6)
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)
    assert [row["step"] for row in read_metrics(tmp_path / "trial")] == list(range(1, 7))
    assert "resumed at step 3 " in (tmp_path / "trial/attempt-002/log.txt").read_text()
