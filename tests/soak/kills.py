"""Processes killed at random moments and at fixed ones, and what is lost by it: nothing."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import training.checkpointer
import training.trial.attempt
from scaling.run import store, trial_states
from tests.support.kill_harness import Child, counting_calls, die_at_call, fork
from tests.support.tiny_sweep import (
    alive,
    pids_of_sleepers,
    pretended_plan,
    sleeper,
    statuses,
    work,
)
from tests.support.tiny_training import claimed, joined_ranks, prepared_config, train_once
from training.config import TrainConfig
from training.loop import train
from training.ranks.distributed import Ranks
from training.trial.metrics import read_metrics
from training.trial.record import RunRecord, publish, read_record

STEPS = 6
END_S = 60  # by when a process must have ended, on the busiest machine
_TRACEBACK = 1


def kill_training(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Trials on one process, each killed until it ends; half of them save in the background."""
    config = prepared_config(folder, STEPS)
    if seed % 2:
        training.checkpointer.BACKGROUND_BYTES = 0
    return _kill(folder, kills, seed, _calm(config, folder), lambda trial: [_start(config, trial)])


def kill_ranks(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Trials on two processes, of which now one is killed, now the other, now both at once."""
    config = prepared_config(folder, STEPS)
    calm = folder / "calm"
    assert [child.wait(END_S) for child in _start_two(config, calm)] == [0, 0]
    record = read_record(calm)
    assert record is not None
    return _kill(folder, kills, seed, record, lambda trial: _start_two(config, trial))


def kill_at_calls(folder: Path, after: bool, every: int = 1) -> Counter[str]:
    """A kill before, or just after, each call of a trial that changes the disk, one a trial.

    `every`: 3 for every third call.
    """
    config = prepared_config(folder, 3)
    calm, counts = _calm(config, folder), Counter[str]()
    with counting_calls() as calls:
        train_once(config, folder / "counted")
    for index in range(0, len(calls), every):
        trial = folder / f"at{index}"

        def body(index: int = index, trial: Path = trial) -> None:
            die_at_call(index, after)
            train_once(config, trial)

        counts["kills"] += fork(body, folder / "log").wait(END_S) == -9
        _finish(trial, calm, lambda trial: [_start(config, trial)], counts, 3)
    return counts


def kill_sweepers(folder: Path, kills: int, seed: int) -> Counter[str]:
    """Sweepers over thirty trials that pretend, each sweep killed until it is done."""
    times, counts = random.Random(seed), Counter[str]()
    # A claim that a kill left without its owner is waited for: here not longer than a life lasts.
    training.trial.attempt.OWNERLESS_S = 0.05
    began = time.monotonic()
    work(folder, pretended_plan(folder, range(30)), sleeper(folder, 0.02))
    longest_s = (time.monotonic() - began) / 3  # some end a few trials, some none
    while counts["kills"] < kills:
        out = folder / f"sweep{counts['sweeps']}"
        out.mkdir()
        plan = pretended_plan(folder, range(30))
        counts["sweeps"] += 1
        while statuses(out, plan)["done"] < 30:
            child = fork(
                lambda out=out, plan=plan: work(out, plan, sleeper(out, 0.02)), out / "log"
            )
            if counts["kills"] < kills:
                time.sleep(times.uniform(0, longest_s))
                child.kill()
            status = child.wait(END_S)
            counts["kills"] += status == -9
            counts["tracebacks"] += status == _TRACEBACK
            counts["orphans"] += _outlive(out)
        _count_sweep(out, plan, counts)
    return counts


def _count_sweep(out: Path, plan: store.Plan, counts: Counter[str]) -> None:
    counts["trials"] += 30
    counts["lost"] += 30 - statuses(out, plan)["done"]
    # A kill may fall between the record and the mark that counts it, or leave the mark empty.
    marks = [trial_states.trial_folder(out, trial) / "completed" for trial in plan.trials]
    counts["doubled"] += sum(mark.exists() and mark.read_text().count("x") > 1 for mark in marks)


def _outlive(out: Path, limit_s: float = 10) -> int:
    """Trials' processes that are there `limit_s` after their sweeper's end."""
    until = time.monotonic() + limit_s
    while (left := sum(map(alive, pids_of_sleepers(out)))) and time.monotonic() < until:
        time.sleep(0.005)
    return left


def _kill(
    folder: Path, kills: int, seed: int, calm: RunRecord, start: Callable[[Path], list[Child]]
) -> Counter[str]:
    times, counts = random.Random(seed), Counter[str]()
    began = time.monotonic()
    for child in start(folder / "timed"):
        child.wait(END_S)
    longest_s = time.monotonic() - began
    while counts["kills"] < kills:
        trial = folder / f"trial{counts['trials']}"
        while read_record(trial) is None and counts["kills"] < kills:
            children = start(trial)
            time.sleep(times.uniform(0, longest_s))
            for child in times.choice([children[:1], children[-1:], children]):
                child.kill()
            ends = [child.wait(END_S) for child in children]
            counts["kills"] += -9 in ends
            # Of several ranks one that lost another says so, and ends in 1.
            counts["tracebacks"] += len(children) == 1 and _TRACEBACK in ends
        _finish(trial, calm, start, counts)
    return counts


def _finish(
    trial: Path,
    calm: RunRecord,
    start: Callable[[Path], list[Child]],
    counts: Counter[str],
    steps: int = STEPS,
) -> None:
    """Let a trial end, and compare it with the one that nothing happened to."""
    counts["trials"] += 1
    resumed = read_record(trial) is None
    ends = [child.wait(END_S) for child in start(trial)] if resumed else []
    counts["tracebacks"] += any(ends)
    record = read_record(trial)
    if record is None or record.status != "done":
        counts["lost"] += 1
        return
    same = record.weights_digest, record.loss, record.bitwise
    rows = [row["step"] for row in read_metrics(trial)]
    whole = same == (calm.weights_digest, calm.loss, True) and rows == list(range(1, steps + 1))
    counts["different"] += not whole
    checkpoints = len(list(trial.glob("attempt-*/checkpoints/*")))
    left = list(trial.rglob(".*")) if resumed else []
    counts["leftovers"] += bool(left) or not 1 <= checkpoints <= 3


def _calm(config: TrainConfig, folder: Path) -> RunRecord:
    return train_once(config, folder / "calm")


def _start(config: TrainConfig, trial: Path) -> Child:
    return fork(lambda: train_once(config, trial) and None, trial.parent / f"{trial.name}.log")


def _start_two(config: TrainConfig, trial: Path) -> list[Child]:
    attempt = claimed(trial)

    def body(ranks: Ranks) -> None:
        record = train(config, attempt, ranks, quiet=True)
        if ranks.is_main:
            publish(attempt, record)

    logs = trial.parent / f"{trial.name}.logs"
    logs.mkdir(exist_ok=True)
    children = joined_ranks(config, logs, body)
    attempt.release()  # this process, its owner, lives on
    return children
