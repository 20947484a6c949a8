"""train.py asked to stop, in whatever phase: status 75, nothing lost, the same command goes on."""

import os
import signal
import sys
import time
from dataclasses import replace
from typing import Any

import pytest

from data.loader import Loader
from tests.support.kill_harness import fork
from tests.support.tiny_training import alone, claimed, prepared_config
from tests.support.train_command import run_in, train_command
from training import loop, step, whole_trial
from training.trial import checkpoint
from training.trial.metrics import read_metrics
from training.trial.record import read_record


@pytest.fixture
def command(tmp_path):
    return train_command(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_ends_in_75_and_the_same_command_goes_on(command, tmp_path, number):
    config = prepared_config(tmp_path, 2000, runtime__checkpoint_every_s=1e6)
    out = tmp_path / "out"
    child = fork(lambda: command(f"out={out}", config=config), tmp_path / "log")
    child.until(lambda: read_metrics(out))
    child.kill(number)
    assert child.wait() == 75
    stopped = read_metrics(out)[-1]["step"]
    assert f"stopped: after step {stopped} of 2000" in child.log.read_text()
    assert read_record(out) is None

    child = fork(lambda: command(f"out={out}", config=config), tmp_path / "log")
    child.until(lambda: (out / "attempt-002/metrics.jsonl").exists() and read_metrics(out))
    child.until(lambda: read_metrics(out)[-1]["step"] > stopped + 1)
    child.kill(number)
    assert child.wait() == 75
    assert f"resumed at step {stopped}" in (out / "attempt-002/log.txt").read_text()


def test_under_nohup_a_closed_terminal_stops_nothing(command, tmp_path):
    config = prepared_config(tmp_path, 300)

    def body() -> int:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return command(f"out={tmp_path / 'out'}", config=config)

    child = fork(body, tmp_path / "log")
    child.until(lambda: read_metrics(tmp_path / "out"))
    child.kill(signal.SIGHUP)
    assert child.wait() == 0


def test_a_run_whose_reader_left_goes_on_to_its_end(tmp_path):
    """As behind `| head -1`: what it has to say is lost, what it has to do is not."""
    config = prepared_config(tmp_path, 20)

    def body() -> None:
        reader, writer = os.pipe()
        os.close(reader)
        sys.stdout = os.fdopen(writer, "w")
        loop.train(config, claimed(tmp_path / "trial"), alone())

    assert fork(body, tmp_path / "log").wait() == 0, (tmp_path / "log").read_text()
    assert read_metrics(tmp_path / "trial")[-1]["step"] == 20


def test_a_stop_before_the_first_step_ends_in_75(command, tmp_path):
    def slow() -> int:
        def sleep(*_: object) -> None:
            (tmp_path / "asleep").touch()
            while True:  # a signal just before signal.pause() would be waited for again
                time.sleep(0.01)

        whole_trial.open_data = sleep
        return command(f"out={tmp_path / 'out'}")

    child = fork(slow, tmp_path / "log")
    child.until((tmp_path / "asleep").exists)
    child.kill(signal.SIGTERM)
    assert child.wait() == 75
    assert "by SIGTERM, outside of any step" in child.log.read_text()


@pytest.mark.parametrize(
    "phase", ["held_out_loss", "begin_step", "batch_windows", "logger.row", "save"]
)
def test_a_stop_in_any_phase_of_a_step_loses_no_step(command, tmp_path, phase):
    config = prepared_config(tmp_path, 2000, runtime__evaluate_every_steps=1)
    out = tmp_path / "out"

    def body() -> int:
        owners = {
            "batch_windows": Loader,
            "logger.row": loop.MetricsLogger,
            "save": checkpoint,
        }
        owner: Any = owners.get(phase, step if phase == "begin_step" else loop)
        name = phase.rpartition(".")[2]
        original = getattr(owner, name)
        calls = 0

        def signalled(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 3:
                signal.raise_signal(signal.SIGTERM)
            return original(*arguments, **options)

        if phase == "begin_step":
            return command(f"out={out}", config=config, step_function=signalled)
        setattr(owner, name, signalled)
        return command(f"out={out}", config=config)

    child = fork(body, tmp_path / "log")
    assert child.wait() == 75
    last = read_metrics(out)[-1]["step"]
    assert last in (3, 4)  # the step in progress, or the one that the signal found begun
    assert checkpoint.newest(out, print).meta.step == last


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_twice_it_exits_at_once(tmp_path, number, status):
    def save(self: object) -> None:
        (tmp_path / "saving").touch()
        time.sleep(60)

    def stubborn() -> int:
        loop.Checkpointer.save_now = save
        return run_in(tmp_path / "out", prepared_config(tmp_path, 4000))

    child = fork(stubborn, tmp_path / "log")
    child.until(lambda: read_metrics(tmp_path / "out"))
    child.kill(number)
    child.until((tmp_path / "saving").exists)
    child.kill(number)
    assert child.wait(300) == status


def test_a_stop_while_data_are_prepared_leaves_nothing(tmp_path):
    """In the process of its own that learns a tokenizer, which ends with its caller."""
    config = prepared_config(tmp_path, model__vocab_size=300)
    config = replace(config, data=replace(config.data, tokenizer="bpe", vocab_size=300))
    child = fork(lambda: run_in(tmp_path / "out", config), tmp_path / "log")
    child.until(lambda: list(tmp_path.glob("shards/.*")))
    child.kill(signal.SIGINT)
    assert child.wait(300) == 75
    assert "stopped: by SIGINT, outside of any step" in child.log.read_text()
    assert not (tmp_path / "out").exists()
