"""When a rank dies or hangs: the others end soon, and the record names rank, step and cause."""

import ctypes
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from common.errors import BadInput
from tests.support.kill_harness import Child, fork
from tests.support.tiny_training import claimed, joined_ranks, prepared_config, together, train_once
from training import checkpointer
from training.config import TrainConfig, as_mapping
from training.ranks import failures
from training.ranks.distributed import Ranks, RanksLost
from training.ranks.failures import GONE, RankFile, failure_report
from training.state import TrainState
from training.step import PendingStep, begin_step
from training.trial import checkpoint
from training.trial.attempt import Attempt
from training.trial.record import RunRecord, read_record
from training.whole_trial import train_in

STEP = 2  # finished steps when it happens
HANG_TIMEOUT_S = 5  # a healthy step of a busy machine takes less

FAULTS: dict[str, Callable[[], object]] = {
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits 0": lambda: os._exit(0),
    "leaves": lambda: sys.exit(0),
    "raises": lambda: [][0],
    "bad input": lambda: refuse("shard 7: found nothing"),
    "stopped": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "sleeps": lambda: time.sleep(100),
}
REASONS = {
    "killed": GONE,
    "exits 0": GONE,
    "leaves": "SystemExit: 0",
    "raises": "IndexError: list index out of range",
    "bad input": "shard 7: found nothing",
    "stopped": f"no answer (runtime.timeout_s={HANG_TIMEOUT_S}), last at ",
    "sleeps": f"no answer (runtime.timeout_s={HANG_TIMEOUT_S}), last at {Path(__file__).name}",
}


def refuse(text: str) -> None:
    raise BadInput(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[TrainConfig, RunRecord]:
    """A trial and the record of its one rank; its data are prepared by then."""
    folder = tmp_path_factory.mktemp("whole")
    config = prepared_config(folder, runtime__timeout_s=60)
    return config, train_once(config, folder / "trial")


@pytest.fixture
def config(whole) -> TrainConfig:
    return whole[0]


def ended(children: list[Child]) -> list[int]:
    return [child.wait() for child in children]


def note_time(folder: Path) -> None:
    """When the fault happened: a busy machine may take long to get there."""
    (folder / "fault").write_text(str(time.time()))


def seconds_since(folder: Path) -> float:
    return time.time() - float((folder / "fault").read_text())


def fail(config, folder: Path, monkeypatch, guilty: int, fault: str, n: int = 2) -> RunRecord:
    """The record of `n` ranks one of which meets its fault at the step."""

    def faulty(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if state.ranks.rank == guilty and state.step == STEP:
            note_time(folder)
            FAULTS[fault]()
        return begin_step(state, stop, save)

    monkeypatch.setattr(failures, "PATIENCE_S", 2.0)  # a busy machine is slow
    out = folder / "out"
    if "no answer" in REASONS.get(fault, ""):
        config = replace(config, runtime=replace(config.runtime, timeout_s=HANG_TIMEOUT_S))
    children = joined_ranks(config, folder, lambda ranks: train_in(config, out, ranks, faulty), n)
    statuses = ended(children)
    assert seconds_since(folder) < 50  # the group alone would wait for a minute
    assert statuses[1 - guilty] == 1 and all(statuses[rank] for rank in range(n) if rank != guilty)
    monkeypatch.undo()
    record = read_record(out)
    assert record is not None
    return record


# Every fault on one rank at each commit, the two ranks in turn; on the other in the full run.
ON_A_RANK = [
    pytest.param(fault, guilty, marks=[pytest.mark.slow] * (guilty != number % 2))
    for number, fault in enumerate(FAULTS)
    for guilty in (0, 1)
]


@pytest.mark.parametrize(("fault", "guilty"), ON_A_RANK)
def test_rank_failures_record_names_rank_step_and_cause(
    config, tmp_path, monkeypatch, fault, guilty
):
    """The record names rank step and cause."""
    record = fail(config, tmp_path, monkeypatch, guilty, fault)
    assert record.status == "failed" and record.reason is not None
    assert record.reason.startswith(f"rank {guilty}")
    assert f", after step {STEP}: {REASONS[fault]}" in record.reason.replace("tests/", "")
    said = (tmp_path / f"rank{1 - guilty}.log").read_text().splitlines()
    assert any(record.reason in line for line in said)


@pytest.mark.parametrize("fault", ["killed", "stopped", "raises"])
def test_rank_failures_name_the_guilty_one_of_three_ranks(config, tmp_path, monkeypatch, fault):
    """Of three ranks the guilty one is named."""
    config = replace(config, schedule=replace(config.schedule, batch_tokens=16 * 9))
    record = fail(config, tmp_path, monkeypatch, 1, fault, n=3)
    assert record.reason is not None and record.reason.startswith("rank 1")
    assert REASONS[fault] in record.reason


@pytest.mark.parametrize("fault", ["sleeps", "killed"])
def test_rank_failures_spare_a_rank_that_still_writes_a_checkpoint(
    config, tmp_path, monkeypatch, fault
):
    """A rank that still writes a checkpoint is not taken for one that hangs."""
    save = checkpoint.save

    def slowly(*arguments):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(8)  # longer than the others wait for its words
        return save(*arguments)

    monkeypatch.setattr(checkpointer, "BACKGROUND_BYTES", 0)
    monkeypatch.setattr(checkpoint, "save", slowly)
    config = replace(config, schedule=replace(config.schedule, batch_tokens=16 * 9))
    record = fail(config, tmp_path, monkeypatch, 1, fault, n=3)
    assert record.reason is not None and record.reason.startswith("rank 1 ")
    assert list((tmp_path / "out/attempt-001/checkpoints").glob("step-*"))


@pytest.mark.parametrize("guilty", [0, 1])
def test_rank_failures_tell_of_out_of_memory_on_one_rank(config, tmp_path, monkeypatch, guilty):
    """Memory that ends on one rank is told by it."""

    def run_out() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(FAULTS, "no memory", run_out)
    record = fail(config, tmp_path, monkeypatch, guilty, "no memory")
    assert record.status == "oom"
    assert record.reason == f"rank {guilty}, step 3, micro-batch size 4: CUDA out of memory"


@pytest.mark.parametrize("guilty", [0, 1])
def test_rank_failures_end_a_rank_that_waits_deaf_for_a_dead_one(config, tmp_path, guilty):
    """A rank that waits deaf for a dead one ends too.

    As one waits for a GPU: no signal is heard, and the reduction gives no error.
    """

    def deaf(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if state.step == STEP:
            note_time(tmp_path)
            FAULTS["killed"]() if state.ranks.rank == guilty else ctypes.CDLL(None).sleep(60)
        return begin_step(state, stop, save)

    out = tmp_path / "out"
    children = joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks, deaf))
    assert ended(children)[1 - guilty] == 1
    assert seconds_since(tmp_path) < 50
    record = read_record(out)
    assert record is not None and record.status == "failed" and record.reason is not None
    assert record.reason.startswith(f"rank {guilty}")
    assert record.reason.endswith(f", after step {STEP}: {GONE}")


def lost(trial: Path, others: list[Callable[[], object]], patience_s: float) -> str:
    """What rank 0 says whom each other rank's steps, as they are here, made lose the others."""
    attempt = claimed(trial)
    n = 1 + len(others)

    def rank(number: int, steps: Callable[[], object]) -> Callable[[], None]:
        def body() -> None:
            failures.PATIENCE_S = patience_s
            with failure_report(attempt, Ranks(number, n, n, torch.device("cpu"), 9), lambda: STEP):
                steps()

        return body

    children = [fork(rank(i, steps), trial / f"rank{i}.log") for i, steps in enumerate(others, 1)]
    for number, child in enumerate(children, 1):
        child.until((attempt.folder / f"ranks/{number}.json").exists)

    def lose() -> None:
        raise RanksLost("timed out")

    fork(rank(0, lose), trial / "rank0.log").wait()
    ended(children)
    return (trial / "rank0.log").read_text().splitlines()[-1]


def test_rank_failures_name_ranks_that_began_to_wait_later_too(tmp_path):
    """Ranks that may only have begun to wait later are named beside the one that hangs."""
    said = lost(tmp_path / "trial", [lambda: time.sleep(100)] * 2, patience_s=0.2)
    assert re.search(r"rank 1 \(.*\) or rank 2 \(.*\), after step 2: no answer", said)


def test_rank_failures_hear_a_rank_that_ends_while_it_is_looked_up(tmp_path, monkeypatch):
    """A rank that speaks and ends while it is looked up is not gone without a word."""
    go, read = tmp_path / "go", failures.read_rank

    def speaks_when_told() -> None:
        while not go.exists():
            time.sleep(0.01)
        raise IndexError("list index out of range")

    def read_just_before(attempt: Attempt, rank: int) -> RankFile:
        there = read(attempt, rank)
        if rank == 1 and not go.exists():
            go.touch()
            while there.is_alive:
                time.sleep(0.01)
        return there

    monkeypatch.setattr(failures, "read_rank", read_just_before)
    said = lost(tmp_path / "trial", [speaks_when_told], patience_s=3.0)
    assert said.endswith("rank 1, after step 2: IndexError: list index out of range")


def test_rank_failures_watchdog_reads_no_files_of_other_machines(tmp_path, monkeypatch):
    """The watch reads no files of other machines.

    Of 16 machines of 8 ranks; on a network file system all would ask for all each second.
    """
    asked, read = set(), failures.read_rank
    monkeypatch.setattr(failures, "read_rank", lambda a, rank: (asked.add(rank), read(a, rank))[1])
    ranks = Ranks(21, 128, 8, torch.device("cpu"), timeout_s=9)
    with failures.watchdog(claimed(tmp_path / "trial"), ranks, print):
        time.sleep(1.5)
    assert asked == set(range(16, 24))


def test_rank_failures_folder_that_vanishes_is_made_again_by_no_rank(config, tmp_path):
    """A folder that vanishes is made again by no rank."""
    out = tmp_path / "out"

    def vanishing(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if state.ranks.is_main and state.step == STEP:
            out.rename(tmp_path / "elsewhere")
        return begin_step(state, stop, save)

    children = joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks, vanishing))
    assert ended(children) == [1, 1]
    assert "3 times in a row" in (tmp_path / "rank0.log").read_text()
    assert not out.exists()


def test_rank_failures_same_command_goes_on_after_a_rank_was_killed(whole, tmp_path, monkeypatch):
    """The same command goes on after a rank was killed."""
    config, undisturbed = whole
    assert fail(config, tmp_path, monkeypatch, 1, "killed").attempts == 1
    out = tmp_path / "out"
    assert ended(joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks))) == [
        0,
        0,
    ]
    record = read_record(out)
    assert record is not None
    assert (record.status, record.attempts, record.steps) == ("done", 2, undisturbed.steps)
    assert record.loss == pytest.approx(undisturbed.loss, abs=1e-5)
    assert "resumed at step 2" in (out / "attempt-002/log.txt").read_text()
    assert read_record(out / "attempt-001").status == "failed"


def test_rank_failures_refuse_different_configs_with_the_fields(config, tmp_path):
    """Ranks of different configs are refused with the fields."""

    def body(ranks: Ranks) -> None:
        own = replace(config, seed=ranks.rank)
        ranks.require_same("the config of the ranks", as_mapping(own))

    [first, second] = together(config, tmp_path, body)
    assert first == second == "BadInput: rank 1: the config of the ranks: on rank 0 seed: 0, now 1"
