"""Where a run is continued does not change its science: it goes on, and tells what differs."""

import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import training.environment
import training.state
from model.gpt import GPT
from tests.support.kill_harness import fork
from tests.support.tiny_training import (
    alone,
    built_state,
    claimed,
    joined_ranks,
    prepared_config,
    train_once,
)
from training.config import TrainConfig
from training.environment import Environment
from training.loop import train, train_and_publish
from training.ranks.distributed import Ranks
from training.state import TrainState
from training.step import PendingStep, begin_step
from training.trial.attempt import Attempt
from training.trial.checkpoint import Checkpoint
from training.trial.metrics import read_metrics
from training.trial.record import RunRecord, read_record

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

    def dying(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if state.step == DIES_AT:
            os.kill(os.getpid(), signal.SIGKILL)
        return begin_step(state, stop, save)

    def body(ranks: Ranks) -> None:
        train(config, attempt, ranks, quiet=True, step_function=dying)

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


def in_child(body: Callable[[], object], folder: Path) -> None:
    """Run in a forked process: one that had two threads here would hang the next that is forked."""
    child = fork(body, folder / "child.log")
    assert child.wait() == 0, child.log.read_text()


def log(attempt: Attempt) -> str:
    return (attempt.folder / "log.txt").read_text()


@pytest.mark.parametrize(
    ("before", "after"), [(1, 2), (2, 1), pytest.param(4, 2, marks=pytest.mark.slow)]
)
def test_environment_of_another_number_of_ranks_keeps_the_science(
    config, whole, tmp_path, before, after
):
    """Another number of ranks goes on with the same science."""
    killed(config, tmp_path / "trial", before)
    record = continued(config, tmp_path / "trial", after)
    assert record.bitwise is False and record.world_size == after
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)
    assert f"world_size changed {before} -> {after}" in log(Attempt(tmp_path / "trial", 2))
    steps = [row["step"] for row in read_metrics(tmp_path / "trial")]
    assert steps == list(range(1, whole.steps + 1))


def other_torch(monkeypatch) -> None:
    monkeypatch.setattr(torch, "__version__", "9.9.9")


def other_compilation(monkeypatch) -> None:
    monkeypatch.setattr(training.state, "compiled", lambda model, *_: model)
    monkeypatch.setattr(training.environment, "compiler_trouble", lambda _: None)


PLACES: dict[str, tuple[dict[str, object], Callable[..., None] | None]] = {
    "threads changed 1 -> 2": ({"threads": 2}, None),
    "compile changed False -> True": ({"compile": True}, other_compilation),
    "micro_batch changed 8 -> 3": ({"micro_batch": 3}, None),
    "head changed plain -> chunked": ({"loss_head": "chunked"}, None),
    "-> 9.9.9": ({}, other_torch),
}


@pytest.mark.parametrize("difference", PLACES)
def test_environment_of_another_place_goes_on_and_is_told(
    config, whole, tmp_path, monkeypatch, difference
):
    """Another place goes on and is told."""
    runtime, change = PLACES[difference]
    killed(config, tmp_path / "trial")
    if change:
        change(monkeypatch)
    elsewhere = replace(config, runtime=replace(config.runtime, **runtime))
    record = continued(elsewhere, tmp_path / "trial")
    assert record.bitwise is False
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)
    told = log(Attempt(tmp_path / "trial", 2))
    assert "not bitwise reproducible: " in told and difference in told


def test_environment_of_ranks_on_two_kinds_of_machine_goes_on(config, whole, tmp_path, monkeypatch):
    """Ranks on machines of two kinds go on.

    What rank 0 finds decided by an earlier attempt was decided for another device than 1's.
    """
    monkeypatch.setattr("training.environment.device_name", lambda _: f"CPU {os.environ['RANK']}")
    monkeypatch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
    quickly = replace(config, runtime=replace(config.runtime, timeout_s=10))
    killed(quickly, tmp_path / "trial", 2)
    record = continued(quickly, tmp_path / "trial", 2)
    assert record.loss == pytest.approx(whole.loss, rel=0, abs=1e-5)


def test_environment_of_random_numbers_goes_on_where_it_was(config, whole, tmp_path, monkeypatch):
    """What draws numbers goes on where it was.

    A loss with noise, as dropout would give: a resume and evaluations shift no draw.
    """
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


def test_environment_with_a_memory_limit_ends_in_a_record(config, tmp_path):
    """A limit on memory ends in a record with the passes.

    A pass of 65,536 sequences of 16 bytes, in 300 MB more than the process has: more than these
    and what earlier tests of the process have freed in its heap.
    """
    sequences = 65_536
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
    assert str(record.reason).startswith(f"step 1, micro-batch size {sequences}: ")


@pytest.mark.parametrize(
    ("compile", "threads", "bitwise"),
    [(False, 1, True), (False, 2, True), (True, 1, True), (True, 2, False)],
)
def test_environment_claims_bits_only_where_they_repeat(
    tmp_path, monkeypatch, compile, threads, bitwise
):
    """Compiled for several threads a CPU adds to the embedding's gradient in no fixed order.

    And what an earlier version claimed of such a run in its checkpoint is not believed.
    """
    monkeypatch.setattr(training.environment, "compiler_trouble", lambda _: None)

    def claims() -> None:
        state = built_state(prepared_config(tmp_path, runtime__compile=compile))
        assert replace(state.environment, threads=threads).is_deterministic == bitwise
        threaded = prepared_config(tmp_path, runtime__compile=compile, runtime__threads=threads)
        state = built_state(threaded)
        assert state.bitwise == bitwise
        meta, values = replace(state.meta(), bitwise=True), state.snapshot()
        state.restore(Checkpoint(tmp_path, meta, values))
        assert state.bitwise == bitwise

    in_child(claims, tmp_path)


def test_environment_of_a_gpu_claims_no_bits():
    """The gradients of attention and embeddings are summed there in no fixed order."""
    names = {"torch": "2", "world_size": 1, "threads": 1, "compile": False, "micro_batch": 1}
    assert not Environment(device="NVIDIA H200", sdpa="flash", **names).is_deterministic


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, in the compiler itself
def test_environment_repeats_bits_compiled_for_one_thread_and_with_two_threads(tmp_path):
    """What is claimed: three equal runs end in one digest."""
    for place in ({"compile": True, "threads": 1}, {"threads": 2}):
        config = prepared_config(tmp_path, 20, **{f"runtime__{k}": v for k, v in place.items()})
        trials = [tmp_path / f"{len(place)}-{n}" for n in range(3)]
        for trial in trials:
            in_child(lambda trial=trial, config=config: train_once(config, trial), tmp_path)
        records = [read_record(trial) for trial in trials]
        assert all(record.bitwise for record in records)
        assert len({record.weights_digest for record in records}) == 1
