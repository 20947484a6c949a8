"""Checkpoints in the background: what was true when they were due, and no refusal is lost."""

import errno
import threading
import time
from contextlib import nullcontext

import pytest
import torch
from tiny_training import alone, claimed, prepared_config, train_once

from configs.errors import BadInput, StopRequested
from model import sealed
from training import checkpoint, saving
from training.loop import train
from training.metrics import read_metrics


def states(trial) -> dict[str, dict]:
    paths = (trial / "attempt-001/checkpoints").iterdir()
    return {path.name: checkpoint.read(path).state for path in paths}


@pytest.fixture
def slow(monkeypatch):
    """Every checkpoint but the last by a thread that first sleeps; how many it wrote."""
    monkeypatch.setattr(saving, "BACKGROUND_BYTES", 0)
    save, threads = checkpoint.save, []

    def slowly(*arguments):
        threads.append(threading.current_thread().name)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.05)
        return save(*arguments)

    monkeypatch.setattr(checkpoint, "save", slowly)
    return threads


def test_steps_taken_while_it_is_written_do_not_show_in_it(tmp_path, slow):
    config = prepared_config(tmp_path, 60, runtime__keep_checkpoints=99)
    train_once(config, tmp_path / "behind")
    behind = states(tmp_path / "behind")
    written = len(slow)
    assert slow[-1] == "MainThread" and set(slow[:-1]) == {"checkpoint_0"}
    assert 2 < written == len(behind) < 60  # it is not due while one is being written
    saving.BACKGROUND_BYTES = 2**60
    train_once(config, tmp_path / "calm")
    calm = states(tmp_path / "calm")
    assert len(calm) == 60
    for name, state in behind.items():
        for part in ("model", "optimizer"):
            torch.testing.assert_close(state[part], calm[name][part], rtol=0, atol=0)
        assert state["step"] == calm[name]["step"] == int(name[5:])
        assert torch.equal(state["rng"], calm[name]["rng"])


def test_three_refusals_of_the_disk_end_the_run(tmp_path, slow, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sealed, "_write", refuse)
    with pytest.raises(BadInput, match="3 times in a row"):
        train_once(prepared_config(tmp_path, 400), tmp_path / "trial")
    log = (tmp_path / "trial/attempt-001/log.txt").read_text()
    assert "no checkpoint (2 of 3)" in log
    assert len(read_metrics(tmp_path / "trial")) < 400


def test_an_attempt_that_was_taken_over_ends_soon_after(tmp_path, slow, monkeypatch):
    attempt = claimed(tmp_path / "trial")
    monkeypatch.setattr("training.attempt.Attempt.fenced", lambda attempt: True)
    with pytest.raises(StopRequested, match="was taken over"):
        train(prepared_config(tmp_path, 400), attempt, alone(), quiet=True)
    assert len(read_metrics(tmp_path / "trial")) < 400


@pytest.mark.parametrize("in_background", [False, True])
def test_a_stop_after_a_step_that_was_saved_does_not_save_it_again(
    tmp_path, monkeypatch, in_background
):
    monkeypatch.setattr(saving, "BACKGROUND_BYTES", 0 if in_background else 2**60)
    monkeypatch.setattr("training.loop.stop_flag", lambda: nullcontext(lambda: True))
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(StopRequested, match="after step 1 of 6"):
        train(prepared_config(tmp_path), attempt, alone(), quiet=True)
    assert list(states(tmp_path / "trial")) == ["step-00000001"]
    assert "no checkpoint" not in (attempt.folder / "log.txt").read_text()


@pytest.mark.parametrize("keep", [1, 3])
def test_as_many_are_kept_as_asked(tmp_path, keep):
    config = prepared_config(tmp_path, 6, runtime__keep_checkpoints=keep)
    train_once(config, tmp_path / "trial")
    expected = [f"step-{step:08d}" for step in range(7 - keep, 7)]
    assert sorted(states(tmp_path / "trial")) == expected
