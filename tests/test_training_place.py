"""Where a run is continued does not change its science: it goes on, and tells what differs."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from kill_harness import fork
from tiny_training import alone, claimed, joined_ranks, prepared_config, train_once

import training.run
import training.step
from model.gpt import GPT
from training.attempt import Attempt
from training.config import TrainConfig
from training.distributed import Ranks
from training.loop import train, train_and_publish
from training.metrics import read_metrics
from training.record import RunRecord, read_record
from training.run import Run

DIES_AT = 3


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> TrainConfig:
    return prepared_config(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def whole(config, tmp_path_factory) -> RunRecord:
    """The record of one rank that nothing happened to."""
    return train_once(config, tmp_path_factory.mktemp("whole") / "trial")


def killed(config: TrainConfig, trial: Path, n: int = 1) -> None:
    """`n` ranks that are killed together after some steps, each of them saved."""
    attempt = claimed(trial)

    def body(ranks: Ranks) -> None:
        begin_step = training.step.begin_step

        def dying(run: Run, *arguments: object, **options: object) -> object:
            if run.step == DIES_AT:
                os.kill(os.getpid(), signal.SIGKILL)
            return begin_step(run, *arguments, **options)

        training.step.begin_step = dying
        train(config, attempt, ranks, quiet=True)

    children = joined_ranks(config, trial.parent, body, n)
    assert -9 in [child.wait() for child in children]
    attempt.release()


def continued(config: TrainConfig, trial: Path, n: int = 1) -> RunRecord:
    attempt = claimed(trial)

    def body(ranks: Ranks) -> None:
        train_and_publish(config, attempt, ranks, quiet=True)

    assert [child.wait() for child in joined_ranks(config, trial.parent, body, n)] == [0] * n
    record = read_record(trial)
    assert record is not None and record.status == "done"
    assert f"resumed at step {DIES_AT} " in log(attempt)
    return record


def log(attempt: Attempt) -> str:
    return (attempt.folder / "log.txt").read_text()


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (4, 2)])
def test_another_number_of_ranks_goes_on_with_the_same_science(
    config, whole, tmp_path, before, after
):
    killed(config, tmp_path / "trial", before)
    record = continued(config, tmp_path / "trial", after)
    assert record.bitwise is False and record.world_size == after
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)
    assert f"world_size: {before}, now {after}" in log(Attempt(tmp_path / "trial", 2))
    steps = [row["step"] for row in read_metrics(tmp_path / "trial")]
    assert steps == list(range(1, whole.steps + 1))


def other_torch(monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", "9.9.9")


def other_compilation(monkeypatch) -> None:
    monkeypatch.setattr(training.run, "compiled", lambda model, *_: model)


PLACES: dict[str, tuple[dict[str, object], Callable[..., None] | None]] = {
    "threads: 1, now 2": ({"threads": 2}, None),
    "compile: False, now True": ({"compile": True}, other_compilation),
    "micro_batch: 8, now 3": ({"micro_batch": 3}, None),
    "head: 'plain', now 'chunked'": ({"loss_head": "chunked"}, None),
    "now '9.9.9'": ({}, other_torch),
}


@pytest.mark.parametrize("difference", PLACES)
def test_another_place_goes_on_and_is_told(config, whole, tmp_path, monkeypatch, difference):
    runtime, change = PLACES[difference]
    killed(config, tmp_path / "trial")
    if change:
        change(monkeypatch)
    elsewhere = replace(config, runtime=replace(config.runtime, **runtime))
    record = continued(elsewhere, tmp_path / "trial")
    assert record.bitwise is False
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)
    told = log(Attempt(tmp_path / "trial", 2))
    assert "the last bits may differ" in told and difference in told


def test_ranks_on_machines_of_two_kinds_go_on(config, whole, tmp_path, monkeypatch):
    """What rank 0 finds decided by an earlier attempt was decided for another device than 1's."""
    monkeypatch.setattr("training.hardware.device_name", lambda _: f"CPU {os.environ['RANK']}")
    monkeypatch.setattr("training.room.TRIED_ON", ("cpu",))
    quickly = replace(config, runtime=replace(config.runtime, timeout_s=10))
    killed(quickly, tmp_path / "trial", 2)
    record = continued(quickly, tmp_path / "trial", 2)
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)


def test_what_draws_numbers_goes_on_where_it_was(config, whole, tmp_path, monkeypatch):
    """A loss with noise, as dropout would give: a resume and evaluations shift no draw."""
    forward = GPT.forward

    def noisy(self, *arguments):
        loss = forward(self, *arguments)
        return loss * (1 + torch.rand(())) if self.training else loss

    monkeypatch.setattr(GPT, "forward", noisy)
    calm = train_once(config, tmp_path / "calm")
    often = replace(config, runtime=replace(config.runtime, evaluate_every_steps=1))
    killed(config, tmp_path / "trial")
    for record in (train_once(often, tmp_path / "often"), continued(config, tmp_path / "trial")):
        assert record.weights_digest == calm.weights_digest != whole.weights_digest


def test_a_limit_on_memory_ends_in_a_record_with_the_passes(config, tmp_path):
    """A pass of 16,384 sequences of 16 bytes, in 300 MB more than the process has."""
    sequences = 16_384
    schedule = replace(
        config.schedule, tokens=4 * 16 * sequences, batch_tokens=16 * sequences, warmup_tokens=0
    )
    runtime = replace(config.runtime, micro_batch=sequences)
    large = replace(config, schedule=schedule, runtime=runtime)

    def cramped() -> None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + 300_000_000
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        train_and_publish(large, claimed(tmp_path / "trial"), alone(), quiet=True)

    child = fork(cramped, tmp_path / "log")
    assert child.wait() == 0, child.log.read_text()
    record = read_record(tmp_path / "trial")
    assert record is not None and record.status == "oom" and record.peak_memory
    assert str(record.reason).startswith(f"step 1, {sequences} sequences a pass: ")
