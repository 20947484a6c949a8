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
from kill_harness import Child, fork
from tiny_training import claimed, joined_ranks, prepared_config, together, train_once

import training.step
from configs.errors import BadInput
from train import train_in
from training import checkpoint, peers, saving
from training.attempt import Attempt, lives
from training.config import TrainConfig, as_mapping
from training.distributed import Ranks, RanksLost
from training.peers import GONE, last_words
from training.record import RunRecord, read_record
from training.run import Run

STEP = 2  # finished steps when it happens

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
    "stopped": "no answer (runtime.timeout_s=2)",
    "sleeps": "no answer (runtime.timeout_s=2)",
}


def refuse(text: str) -> None:
    raise BadInput(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[TrainConfig, RunRecord]:
    """A trial and the record of its one rank; its data are prepared by then."""
    folder = tmp_path_factory.mktemp("whole")
    config = prepared_config(folder, runtime__timeout_s=2)
    return config, train_once(config, folder / "trial")


@pytest.fixture
def config(whole) -> TrainConfig:
    return whole[0]


def ended(children: list[Child]) -> list[int]:
    return [child.wait(15) for child in children]


def fail(config, folder: Path, monkeypatch, guilty: int, fault: str, n: int = 2) -> RunRecord:
    """The record of `n` ranks one of which meets its fault at the step."""
    begin_step = training.step.begin_step

    def faulty(run: Run, *arguments: object, **options: object) -> object:
        if run.ranks.rank == guilty and run.step == STEP:
            FAULTS[fault]()
        return begin_step(run, *arguments, **options)

    monkeypatch.setattr(training.step, "begin_step", faulty)
    monkeypatch.setattr(peers, "PATIENCE_S", 2.0)  # a busy machine is slow
    out = folder / "out"
    children = joined_ranks(config, folder, lambda ranks: train_in(config, out, ranks), n)
    start = time.monotonic()
    statuses = ended(children)
    assert time.monotonic() - start < 15
    assert statuses[1 - guilty] == 1 and all(statuses[rank] for rank in range(n) if rank != guilty)
    monkeypatch.undo()
    record = read_record(out)
    assert record is not None
    return record


@pytest.mark.parametrize("guilty", [0, 1])
@pytest.mark.parametrize("fault", FAULTS)
def test_the_record_names_rank_step_and_cause(config, tmp_path, monkeypatch, guilty, fault):
    record = fail(config, tmp_path, monkeypatch, guilty, fault)
    assert record.status == "failed" and record.reason is not None
    assert record.reason.startswith(f"rank {guilty}")
    assert record.reason.endswith(f", after step {STEP}: {REASONS[fault]}")
    said = (tmp_path / f"rank{1 - guilty}.log").read_text().splitlines()
    assert any(REASONS[fault] in line and f"rank {guilty}" in line for line in said)


@pytest.mark.parametrize("fault", ["killed", "stopped", "raises"])
def test_of_three_ranks_the_guilty_one_is_named(config, tmp_path, monkeypatch, fault):
    config = replace(config, schedule=replace(config.schedule, batch_tokens=16 * 9))
    record = fail(config, tmp_path, monkeypatch, 1, fault, n=3)
    assert record.reason is not None and record.reason.startswith("rank 1")
    assert record.reason.endswith(REASONS[fault])


@pytest.mark.parametrize("fault", ["sleeps", "killed"])
def test_a_rank_that_still_writes_a_checkpoint_is_not_taken_for_one_that_hangs(
    config, tmp_path, monkeypatch, fault
):
    save = checkpoint.save

    def slowly(*arguments):
        if threading.current_thread() is not threading.main_thread():
            time.sleep(8)  # longer than the others wait for its words
        return save(*arguments)

    monkeypatch.setattr(saving, "BACKGROUND_BYTES", 0)
    monkeypatch.setattr(checkpoint, "save", slowly)
    config = replace(config, schedule=replace(config.schedule, batch_tokens=16 * 9))
    record = fail(config, tmp_path, monkeypatch, 1, fault, n=3)
    assert record.reason is not None and record.reason.startswith("rank 1 ")
    assert list((tmp_path / "out/attempt-001/checkpoints").glob("step-*"))


@pytest.mark.parametrize("guilty", [0, 1])
def test_memory_that_ends_on_one_rank_is_told_by_it(config, tmp_path, monkeypatch, guilty):
    def run_out() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setitem(FAULTS, "no memory", run_out)
    record = fail(config, tmp_path, monkeypatch, guilty, "no memory")
    assert record.status == "oom"
    assert record.reason == f"rank {guilty}, step 3, 4 sequences a pass: CUDA out of memory"


@pytest.mark.parametrize("guilty", [0, 1])
def test_a_rank_that_waits_deaf_for_a_dead_one_ends_too(config, tmp_path, monkeypatch, guilty):
    """As one waits for a GPU: no signal is heard, and the reduction gives no error."""
    begin_step = training.step.begin_step

    def deaf(run: Run, *arguments: object, **options: object) -> object:
        if run.step == STEP:
            FAULTS["killed"]() if run.ranks.rank == guilty else ctypes.CDLL(None).sleep(60)
        return begin_step(run, *arguments, **options)

    monkeypatch.setattr(training.step, "begin_step", deaf)
    out = tmp_path / "out"
    children = joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks))
    start = time.monotonic()
    assert ended(children)[1 - guilty] == 1
    assert time.monotonic() - start < 15
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
            peers.PATIENCE_S = patience_s
            with last_words(attempt, Ranks(number, n, n, torch.device("cpu"), 9), lambda: STEP):
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


def test_ranks_that_may_only_have_begun_to_wait_later_are_named_beside_the_one_that_hangs(tmp_path):
    said = lost(tmp_path / "trial", [lambda: time.sleep(100)] * 2, patience_s=0.2)
    assert re.search(r"rank 1 \(.*\) or rank 2 \(.*\), after step 2: no answer", said)


def test_a_rank_that_speaks_and_ends_while_it_is_looked_up_is_not_gone_without_a_word(
    tmp_path, monkeypatch
):
    go, read = tmp_path / "go", peers._read

    def speaks_when_told() -> None:
        while not go.exists():
            time.sleep(0.01)
        raise IndexError("list index out of range")

    def read_just_before(attempt: Attempt, rank: int) -> dict:
        there = read(attempt, rank)
        if rank == 1 and not go.exists():
            go.touch()
            while lives(there):
                time.sleep(0.01)
        return there

    monkeypatch.setattr(peers, "_read", read_just_before)
    said = lost(tmp_path / "trial", [speaks_when_told], patience_s=3.0)
    assert said.endswith("rank 1, after step 2: IndexError: list index out of range")


def test_the_watch_reads_no_files_of_other_machines(tmp_path, monkeypatch):
    """Of 16 machines of 8 ranks; on a network file system all would ask for all each second."""
    asked, read = set(), peers._read
    monkeypatch.setattr(peers, "_read", lambda a, rank: (asked.add(rank), read(a, rank))[1])
    ranks = Ranks(21, 128, 8, torch.device("cpu"), timeout_s=9)
    with peers.watched(claimed(tmp_path / "trial"), ranks, print):
        time.sleep(1.5)
    assert asked == set(range(16, 24))


def test_a_folder_that_vanishes_is_made_again_by_no_rank(config, tmp_path, monkeypatch):
    begin_step, out = training.step.begin_step, tmp_path / "out"

    def vanishing(run: Run, *arguments: object, **options: object) -> object:
        if run.ranks.is_main and run.step == STEP:
            out.rename(tmp_path / "elsewhere")
        return begin_step(run, *arguments, **options)

    monkeypatch.setattr(training.step, "begin_step", vanishing)
    children = joined_ranks(config, tmp_path, lambda ranks: train_in(config, out, ranks))
    assert ended(children) == [1, 1]
    assert "3 times in a row" in (tmp_path / "rank0.log").read_text()
    assert not out.exists()


def test_the_same_command_goes_on_after_a_rank_was_killed(whole, tmp_path, monkeypatch):
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


def test_ranks_of_different_configs_are_refused_with_the_fields(config, tmp_path):
    def body(ranks: Ranks) -> None:
        own = replace(config, seed=ranks.rank)
        ranks.require_same("the config of the ranks", as_mapping(own))

    [first, second] = together(config, tmp_path, body)
    assert first == second == "BadInput: rank 1: the config of the ranks: on rank 0 seed: 0, now 1"
