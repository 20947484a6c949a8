"""Where the device works behind the host: the same bits and rows, and nothing waits in a step."""

import math
from dataclasses import replace

import pytest
import torch

from common.errors import StopRequested
from model.gpt import GPT
from tests.support.tiny_training import alone, built_state, claimed, prepared_config, train_once
from training import loop
from training.loop import train
from training.state import TrainState
from training.step import PendingStep, begin_step
from training.trial.checkpoint import newest
from training.trial.logger import MetricsLogger
from training.trial.metrics import Row, read_metrics

WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "nonzero")


@pytest.fixture
def behind(monkeypatch):
    monkeypatch.setattr(TrainState, "is_async", True)


def rows(trial) -> list[dict]:
    return [
        {k: v for k, v in row.items() if k not in ("time", "tokens_per_s", "peak_memory", "digest")}
        for row in read_metrics(trial)
    ]


@pytest.mark.parametrize("instruments", [False, True])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_loop_async_has_the_same_bits_rows_and_checkpoints(
    tmp_path, monkeypatch, every, instruments
):
    """Bits rows and checkpoints are the same."""
    config = prepared_config(tmp_path, 7, runtime__evaluate_every_steps=every)
    runtime = replace(config.runtime, instruments=instruments, micro_batch=3, keep_checkpoints=9)
    config = replace(config, runtime=runtime)
    calm = train_once(config, tmp_path / "calm")
    monkeypatch.setattr(TrainState, "is_async", True)
    record = train_once(config, tmp_path / "behind")
    assert record.weights_digest == calm.weights_digest and record.loss == calm.loss
    assert rows(tmp_path / "behind") == rows(tmp_path / "calm")
    found = newest(tmp_path / "behind", print)
    assert (
        found.meta.step == 7
        and found.state["noise"] == newest(tmp_path / "calm", print).state["noise"]
    )


def test_loop_async_tells_of_a_step_when_the_next_is_handed_over(tmp_path, behind, monkeypatch):
    """A step is told of when the next was handed over.

    Step 3 is evaluated, so the host looks at it first.
    """
    config = prepared_config(tmp_path, 6, runtime__checkpoint_every_s=1e6)
    config = replace(config, runtime=replace(config.runtime, evaluate_every_steps=3))
    read, row = [], MetricsLogger.row
    states: list[TrainState] = []

    def noted(logger: MetricsLogger, values: Row) -> None:
        read.append((values["step"], states[-1].step))
        row(logger, values)

    def watched(state: TrainState, stop: bool, save: bool) -> PendingStep:
        states.append(state)
        return begin_step(state, stop, save)

    monkeypatch.setattr(MetricsLogger, "row", noted)
    train_once(config, tmp_path / "trial", watched)
    assert read == [(1, 2), (2, 3), (3, 3), (4, 5), (5, 6), (6, 6)]


def test_loop_async_keeps_the_very_steps_that_are_chosen(tmp_path, behind):
    """The host looks at a step to keep before it hands over the next, and its row is written."""
    config = prepared_config(tmp_path, 7, runtime__checkpoint_every_s=1e6)
    kept = replace(config, runtime=replace(config.runtime, keep_steps=(2, 3, 6)))
    record = train_once(kept, tmp_path / "kept")
    folder = tmp_path / "kept/attempt-001/checkpoints"
    names = sorted(path.name for path in folder.glob("step-*"))
    assert names == [f"step-{step:08d}" for step in (2, 3, 6, 7)]
    assert all((folder / name / "for-good").exists() for name in names[:-1])
    assert [row["step"] for row in rows(tmp_path / "kept")] == list(range(1, 8))
    assert record.weights_digest == train_once(config, tmp_path / "plain").weights_digest


@pytest.mark.parametrize("instruments", [False, True])
def test_loop_async_does_not_wait_for_the_device_within_a_step(
    tmp_path, behind, monkeypatch, instruments
):
    """Nothing in a step waits for the device.

    And to read it is one wait: a second one would be for the step after it.
    """
    config = prepared_config(tmp_path, 6, runtime__micro_batch=3)
    config = replace(config, runtime=replace(config.runtime, instruments=instruments))
    state = built_state(config)
    begin_step(state).result()
    waited = []
    for name in WAITS:
        method = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda *a, n=name, m=method, **k: (waited.append(n), m(*a, **k))[1]
        )
    begun = begin_step(state)
    assert waited == []
    begun.result()
    assert waited == ["tolist"]


@pytest.mark.parametrize("guilty", [3, 6])
def test_loop_async_finds_divergence_a_step_later_and_saves_nothing(
    tmp_path, behind, monkeypatch, guilty
):
    """Divergence is found one step later and nothing of it is saved."""
    forward, calls = GPT.forward, 0

    def poisoned(self, tokens_BT, targets_BT=None):
        nonlocal calls
        calls += self.training
        return forward(self, tokens_BT, targets_BT) * (math.nan if calls == guilty else 1.0)

    monkeypatch.setattr(GPT, "forward", poisoned)
    config = prepared_config(tmp_path, 6, runtime__checkpoint_every_s=1e6)
    record = train_once(config, tmp_path / "trial")
    assert record.status == "diverged" and f"at step {guilty}" in record.reason
    assert record.steps == guilty - 1
    assert calls == min(guilty + 1, 6)
    assert newest(tmp_path / "trial", print) is None


def test_loop_async_stop_saves_after_the_step_under_way(tmp_path, behind):
    """A stop saves after the step under way and has a row for each."""
    config = prepared_config(tmp_path, 50, runtime__checkpoint_every_s=1e6)
    calm = train_once(config, tmp_path / "calm")

    def asked(state: TrainState, stop: bool, save: bool) -> PendingStep:
        return begin_step(state, state.step == 6, save)

    attempt = claimed(tmp_path / "trial")
    with pytest.raises(StopRequested, match="after step 8 of 50"):
        train(config, attempt, alone(), None, True, asked)
    attempt.release()
    assert [row["step"] for row in read_metrics(tmp_path / "trial")] == list(range(1, 9))
    record = train_once(config, tmp_path / "trial")
    assert record.weights_digest == calm.weights_digest
    assert rows(tmp_path / "trial") == rows(tmp_path / "calm")


def test_loop_async_hides_from_the_collector_what_set_up_made(tmp_path, monkeypatch):
    """The collector passes over what set up made and is set free again."""
    import gc

    gc.unfreeze()  # what the session froze would stay so
    frozen = []
    evaluate = loop.held_out_loss
    monkeypatch.setattr(
        loop,
        "held_out_loss",
        lambda state: (frozen.append(gc.get_freeze_count()), evaluate(state))[1],
    )
    train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert frozen[0] > 10_000 and gc.get_freeze_count() == 0
    gc.freeze()
