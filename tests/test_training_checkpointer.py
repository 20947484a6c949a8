"""Checkpoints in the background: what was true when they were due, and no refusal is lost."""

import errno
import shutil
import threading
import time

import pytest
import torch

from common.errors import BadInput, StopRequested
from configs.schema import build
from model import checkpoint_io
from tests.support.tiny_training import alone, claimed, prepared_config, stopping, train_once
from training import checkpointer
from training.config import RuntimeConfig, as_mapping
from training.loop import train
from training.state import TrainState
from training.step import PendingStep, begin_step
from training.trial import checkpoint
from training.trial.attempt import remove_checkpoints
from training.trial.metrics import read_metrics


def states(trial) -> dict[str, dict]:
    paths = (trial / "attempt-001/checkpoints").iterdir()
    return {path.name: checkpoint.read(path).state for path in paths}


class Slow:
    """A thread that writes only when four more steps have begun; the threads that wrote."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.begun = self.last = 0

    def step(self, state: TrainState, stop: bool, save: bool) -> PendingStep:
        self.begun, self.last = self.begun + 1, state.config.schedule.steps
        return begin_step(state, stop, save)

    def wait(self) -> None:
        self.threads.append(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            four_more = min(self.begun + 4, self.last)
            while self.begun < four_more:
                time.sleep(0.001)


@pytest.fixture
def slow(monkeypatch):
    """Every checkpoint but the last is written behind the steps, however fast these are."""
    monkeypatch.setattr(checkpointer, "BACKGROUND_BYTES", 0)
    save, found = checkpoint.save, Slow()

    def slowly(*arguments):
        found.wait()
        return save(*arguments)

    monkeypatch.setattr(checkpoint, "save", slowly)
    return found


def test_checkpointer_shows_no_step_taken_while_it_writes(tmp_path, slow):
    """Steps taken while it is written do not show in it."""
    config = prepared_config(tmp_path, 60, runtime__keep_checkpoints=99)
    train_once(config, tmp_path / "behind", slow.step)
    behind = states(tmp_path / "behind")
    *others, last = slow.threads
    assert last == "MainThread" and set(others) == {"checkpoint_0"}
    # It is not due while one is being written.
    assert 2 < len(slow.threads) == len(behind) <= 60 / 4 + 1
    checkpointer.BACKGROUND_BYTES = 2**60
    train_once(config, tmp_path / "calm")
    calm = states(tmp_path / "calm")
    assert len(calm) == 60
    for name, state in behind.items():
        for part in ("model", "optimizer"):
            torch.testing.assert_close(state[part], calm[name][part], rtol=0, atol=0)
        assert state["step"] == calm[name]["step"] == int(name[5:])
        assert torch.equal(state["rng"], calm[name]["rng"])


def test_checkpointer_ends_the_run_after_three_refusals_of_the_disk(tmp_path, slow, monkeypatch):
    """Three refusals of the disk end the run."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_io, "_write", refuse)
    with pytest.raises(BadInput, match="3 times in a row"):
        train_once(prepared_config(tmp_path, 400), tmp_path / "trial", slow.step)
    log = (tmp_path / "trial/attempt-001/log.txt").read_text()
    assert "no checkpoint (2 of 3)" in log
    assert len(read_metrics(tmp_path / "trial")) < 400


def test_checkpointer_ends_an_attempt_soon_after_it_was_taken_over(tmp_path, slow, monkeypatch):
    """An attempt that was taken over ends soon after."""
    attempt = claimed(tmp_path / "trial")
    monkeypatch.setattr("training.trial.attempt.Attempt.is_superseded", lambda attempt: True)
    with pytest.raises(StopRequested, match="was taken over"):
        train(prepared_config(tmp_path, 400), attempt, alone(), None, True, slow.step)
    assert len(read_metrics(tmp_path / "trial")) < 400


@pytest.mark.parametrize("in_background", [False, True])
def test_checkpointer_does_not_save_a_step_again_at_a_stop(tmp_path, monkeypatch, in_background):
    """A stop after a step that was saved does not save it again."""
    monkeypatch.setattr(checkpointer, "BACKGROUND_BYTES", 0 if in_background else 2**60)
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(StopRequested, match="after step 1 of 6"):
        train(prepared_config(tmp_path), attempt, alone(), None, True, stopping)
    assert list(states(tmp_path / "trial")) == ["step-00000001"]
    assert "no checkpoint" not in (attempt.folder / "log.txt").read_text()


@pytest.mark.parametrize("keep", [1, 3])
def test_checkpointer_keeps_as_many_as_asked(tmp_path, keep):
    """As many are kept as asked."""
    config = prepared_config(tmp_path, 6, runtime__keep_checkpoints=keep)
    train_once(config, tmp_path / "trial")
    expected = [f"step-{step:08d}" for step in range(7 - keep, 7)]
    assert sorted(states(tmp_path / "trial")) == expected


@pytest.mark.parametrize("asked, for_good", [((2, 5, 99), [2, 5]), ("log2", [1, 2, 4, 8])])
@pytest.mark.parametrize("in_background", [False, True])
def test_checkpointer_keeps_chosen_steps_for_good(
    tmp_path, monkeypatch, asked, for_good, in_background
):
    """Chosen steps are saved whatever the interval, and stay when the rest are removed."""
    monkeypatch.setattr(checkpointer, "BACKGROUND_BYTES", 0 if in_background else 2**60)
    changes = {"runtime__keep_steps": asked, "runtime__keep_checkpoints": 1}
    config = prepared_config(tmp_path, 9, runtime__checkpoint_every_s=1e9, **changes)
    train_once(config, tmp_path / "trial")
    found = states(tmp_path / "trial")
    assert sorted(found) == [f"step-{step:08d}" for step in (*for_good, 9)]
    checkpointer.BACKGROUND_BYTES = 2**60
    every = prepared_config(tmp_path, 9, runtime__keep_checkpoints=99)
    train_once(every, tmp_path / "every")
    expected = states(tmp_path / "every")
    for name, state in found.items():
        torch.testing.assert_close(state["model"], expected[name]["model"], rtol=0, atol=0)
    remove_checkpoints(tmp_path / "trial")  # as a sweep does when the trial is done
    assert sorted(states(tmp_path / "trial")) == [f"step-{step:08d}" for step in for_good]
    remove_checkpoints(tmp_path / "every")
    assert not (tmp_path / "every/attempt-001/checkpoints").exists()


def test_checkpointer_steps_kept_for_good_are_resumed_and_begun_from(tmp_path):
    """A run goes on from a step that was kept, to the same bits; and another begins with it."""
    config = prepared_config(tmp_path, runtime__checkpoint_every_s=1e9, runtime__keep_steps=(3,))
    whole = train_once(config, tmp_path / "trial")
    kept = tmp_path / "trial/attempt-001/checkpoints/step-00000003"
    shutil.rmtree(kept.with_name("step-00000006"))
    (tmp_path / "trial/record.json").unlink()
    again = train_once(config, tmp_path / "trial")
    assert (again.attempts, again.weights_digest) == (2, whole.weights_digest)
    assert f"resumed at step 3 from {kept}" in (tmp_path / "trial/attempt-002/log.txt").read_text()
    assert kept.is_dir()
    other = prepared_config(tmp_path, init_from=str(kept))
    assert train_once(other, tmp_path / "other").status == "done"


@pytest.mark.parametrize("asked", [[0], [-3], [1.5], "log10", 100])
def test_checkpointer_refuses_steps_that_are_none(tmp_path, asked):
    """What is no list of steps is refused by name."""
    values = as_mapping(prepared_config(tmp_path))["runtime"] | {"keep_steps": asked}
    with pytest.raises(BadInput, match="^runtime.keep_steps"):
        build(RuntimeConfig, values, "runtime")
