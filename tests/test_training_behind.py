"""Where the device works behind the host: the same bits and rows, and nothing waits in a step."""

import math
from dataclasses import replace

import pytest
import torch
from tiny_training import alone, claimed, prepared_config, train_once

from configs.errors import StopRequested
from model.gpt import GPT
from training import loop
from training.checkpoint import newest
from training.dataset import open_data
from training.hardware import decide
from training.loop import train
from training.metrics import read_metrics
from training.run import Run, build_run
from training.step import Begun, begin_step, train_steps

WAITS = ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__", "nonzero")


@pytest.fixture
def behind(monkeypatch):
    monkeypatch.setattr(Run, "is_behind", True)


def rows(trial) -> list[dict]:
    return [
        {k: v for k, v in row.items() if k not in ("time", "tokens_per_s", "peak_memory")}
        for row in read_metrics(trial)
    ]


@pytest.mark.parametrize("instruments", [False, True])
@pytest.mark.parametrize("every", [0, 1, 3])
def test_bits_rows_and_checkpoints_are_the_same(tmp_path, monkeypatch, every, instruments):
    config = prepared_config(tmp_path, 7, runtime__evaluate_every_steps=every)
    runtime = replace(config.runtime, instruments=instruments, micro_batch=3, keep_checkpoints=9)
    config = replace(config, runtime=runtime)
    calm = train_once(config, tmp_path / "calm")
    monkeypatch.setattr(Run, "is_behind", True)
    record = train_once(config, tmp_path / "behind")
    assert record.weights_digest == calm.weights_digest and record.loss == calm.loss
    assert rows(tmp_path / "behind") == rows(tmp_path / "calm")
    found = newest(tmp_path / "behind", print)
    assert (
        found.meta.step == 7
        and found.state["noise"] == newest(tmp_path / "calm", print).state["noise"]
    )


def test_a_step_is_told_of_when_the_next_was_handed_over(tmp_path, behind, monkeypatch):
    config = prepared_config(tmp_path, 6, runtime__checkpoint_every_s=1e6)
    run = build_run(config, alone(), decide(config, alone(), None), open_data(config, alone()))
    begun = [
        (step.number, run.step)
        for step in train_steps(run, lambda: False, lambda: False, lambda number: number == 3)
    ]
    assert begun == [(1, 2), (2, 3), (3, 3), (4, 5), (5, 6), (6, 6)]


@pytest.mark.parametrize("instruments", [False, True])
def test_nothing_in_a_step_waits_for_the_device(tmp_path, behind, monkeypatch, instruments):
    """And to read it is one wait: a second one would be for the step after it."""
    config = prepared_config(tmp_path, 6, runtime__micro_batch=3)
    config = replace(config, runtime=replace(config.runtime, instruments=instruments))
    run = build_run(config, alone(), decide(config, alone(), None), open_data(config, alone()))
    begin_step(run).result()
    waited = []
    for name in WAITS:
        method = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda *a, n=name, m=method, **k: (waited.append(n), m(*a, **k))[1]
        )
    begun = begin_step(run)
    assert waited == []
    begun.result()
    assert waited == ["tolist"]


@pytest.mark.parametrize("guilty", [3, 6])
def test_divergence_is_found_one_step_later_and_nothing_of_it_is_saved(
    tmp_path, behind, monkeypatch, guilty
):
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


def test_a_stop_saves_after_the_step_under_way_and_has_a_row_for_each(
    tmp_path, behind, monkeypatch
):
    config = prepared_config(tmp_path, 50, runtime__checkpoint_every_s=1e6)
    calm = train_once(config, tmp_path / "calm")
    result = Begun.result

    def asked(begun: Begun):
        step = result(begun)
        return replace(step, stop=step.number == 7)

    monkeypatch.setattr(Begun, "result", asked)
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(StopRequested, match="after step 8 of 50"):
        train(config, attempt, alone(), quiet=True)
    attempt.release()
    assert [row["step"] for row in read_metrics(tmp_path / "trial")] == list(range(1, 9))
    monkeypatch.setattr(Begun, "result", result)
    record = train_once(config, tmp_path / "trial")
    assert record.weights_digest == calm.weights_digest
    assert rows(tmp_path / "trial") == rows(tmp_path / "calm")


def test_the_collector_passes_over_what_set_up_made_and_is_set_free_again(tmp_path, monkeypatch):
    import gc

    frozen = []
    evaluate = loop.held_out_loss
    monkeypatch.setattr(
        loop, "held_out_loss", lambda run: (frozen.append(gc.get_freeze_count()), evaluate(run))[1]
    )
    train_once(prepared_config(tmp_path), tmp_path / "trial")
    assert frozen[0] > 10_000 and gc.get_freeze_count() == 0
