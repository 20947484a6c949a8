"""Signs of life: who works is waited for, who hangs is named, whatever the others wait in."""

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from tests.support.kill_harness import Child
from tests.support.tiny_training import joined_ranks, prepared_config, tiny_config
from training import checkpointer, loop
from training.config import TrainConfig
from training.evaluate import held_out_loss
from training.ranks import distributed, failures, heartbeat
from training.ranks.distributed import Ranks
from training.ranks.heartbeat import Heartbeat, Sign
from training.state import TrainState
from training.step import PendingStep, begin_step
from training.trial import checkpoint
from training.trial.record import RunRecord, read_record
from training.whole_trial import train_in

LIMIT_S = 5.0  # a healthy step of a busy machine takes less
STEP = 2
HANGS: dict[str, Callable[[], object]] = {
    "sleeps": lambda: time.sleep(100),
    "stops": lambda: os.kill(os.getpid(), signal.SIGSTOP),
}


@pytest.fixture
def quick(monkeypatch):
    """Signs and their judges in a hurry."""
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.2)
    monkeypatch.setattr(heartbeat, "GRACE_S", 1.0)
    monkeypatch.setattr(failures, "PATIENCE_S", 1.0)


@pytest.fixture
def deaf(quick, monkeypatch):
    """A group whose waits end by nothing, as NCCL's; ranks wait for it as for their GPUs."""
    monkeypatch.setattr(distributed, "group_timeout", lambda *_: timedelta(days=1))


def waiting_step(state: TrainState, stop: bool, save: bool) -> PendingStep:
    with state.ranks.waiting("its GPU"):
        return begin_step(state, stop, save)


def in_step(guilty: int, hang: str, folder: Path, monkeypatch) -> Callable[..., PendingStep]:
    def step(state: TrainState, stop: bool, save: bool) -> PendingStep:
        if state.ranks.rank == guilty and state.step == STEP:
            hang_now(hang, folder)
        return waiting_step(state, stop, save)

    return step


def in_evaluation(guilty: int, hang: str, folder: Path, monkeypatch) -> Callable[..., PendingStep]:
    def evaluate(state: TrainState) -> float:
        if state.ranks.rank == guilty:
            hang_now(hang, folder)
        return held_out_loss(state)

    monkeypatch.setattr(loop, "held_out_loss", evaluate)
    return waiting_step


def in_checkpoint(guilty: int, hang: str, folder: Path, monkeypatch) -> Callable[..., PendingStep]:
    save = checkpoint.save

    def saving(attempt, meta, *arguments):
        if meta.step == STEP:
            hang_now(hang, folder)
        return save(attempt, meta, *arguments)

    monkeypatch.setattr(checkpointer.checkpoint, "save", saving)
    return waiting_step


def hang_now(hang: str, folder: Path) -> None:
    fault = folder / "fault"
    if not fault.exists():  # once: the run that goes on is well
        fault.write_text(str(time.time()))
        HANGS[hang]()


def ended(children: list[Child]) -> list[int]:
    return [child.wait() for child in children]


def train_two(config: TrainConfig, folder: Path, out: Path, step=begin_step) -> list[int]:
    return ended(joined_ranks(config, folder, lambda ranks: train_in(config, out, ranks, step)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[TrainConfig, RunRecord]:
    """A trial, and its record by two ranks to which nothing happens."""
    folder = tmp_path_factory.mktemp("whole")
    config = prepared_config(folder, runtime__evaluate_every_steps=STEP)
    assert train_two(config, folder, folder / "out") == [0, 0]
    record = read_record(folder / "out")
    assert record is not None
    return config, record


@pytest.mark.parametrize(
    ("place", "hang", "guilty"),
    [
        (in_step, "sleeps", 1),
        (in_step, "stops", 0),  # who keeps the store
        pytest.param(in_evaluation, "stops", 1, marks=pytest.mark.slow),
        pytest.param(in_evaluation, "sleeps", 0, marks=pytest.mark.slow),
        (in_checkpoint, "sleeps", 0),
    ],
)
def test_heartbeat_names_the_rank_that_hangs_where_nothing_else_would(
    whole, tmp_path, monkeypatch, deaf, place, hang, guilty
):
    """All end soon, with a record of the rank, its step and its place; then it is as if never."""
    config, undisturbed = whole
    step = place(guilty, hang, tmp_path, monkeypatch)
    limited = replace(config, runtime=replace(config.runtime, timeout_s=LIMIT_S))
    statuses = train_two(limited, tmp_path, tmp_path / "out", step)
    seconds = time.time() - float((tmp_path / "fault").read_text())
    assert seconds < LIMIT_S + 10 and statuses[1 - guilty] == 1 and statuses[guilty] in (1, -9)
    record = read_record(tmp_path / "out")
    assert record is not None and record.status == "failed"
    assert str(record.reason).startswith(f"rank {guilty} (")
    assert f", after step {STEP}: no answer (runtime.timeout_s=5), last at " in str(record.reason)
    assert hang == "stops" or f"{Path(__file__).name}:" in str(record.reason)
    monkeypatch.undo()
    assert train_two(config, tmp_path, tmp_path / "out") == [0, 0]
    record = read_record(tmp_path / "out")
    assert record is not None and (record.status, record.attempts) == ("done", 2)
    assert record.weights_digest == undisturbed.weights_digest and record.bitwise


def test_heartbeat_waits_for_a_rank_that_prepares_longer_than_the_limit(tmp_path, quick):
    """Rank 0 at work for longer than `timeout_s` ends no rank, and one line says who is at what."""
    config = tiny_config(tmp_path, runtime__timeout_s=2.0)

    def body(ranks: Ranks) -> None:
        assert ranks.broadcast_from_rank0(lambda: time.sleep(5) or "ready") == "ready"
        ranks.on_all_ranks(lambda: ranks.rank == 1 and time.sleep(4))
        assert ranks.sum(1.0) == [3.0]

    children = joined_ranks(config, tmp_path, body, n=3)
    assert ended(children) == [0, 0, 0]
    logs = [child.log.read_text() for child in children]
    here = Path(__file__).name
    assert logs[1].count("waiting longer than 2 s; rank 0: last at tests/" + here) == 1
    assert logs[0].count("waiting longer than 2 s; rank 1: last at tests/" + here) == 1
    assert not logs[2]


@pytest.mark.parametrize("guilty", [0, 1])
def test_heartbeat_loses_a_rank_that_gives_no_sign_while_it_prepares(tmp_path, quick, guilty):
    """A stopped process is lost after `timeout_s`, by an exception: nothing is written by then."""
    config = tiny_config(tmp_path, runtime__timeout_s=3.0)

    def body(ranks: Ranks) -> None:
        assert ranks.sum(1.0) == [2.0]  # both have joined: the other's limit is of this wait
        ranks.on_all_ranks(lambda: ranks.rank == guilty and HANGS["stops"]())

    children = joined_ranks(config, tmp_path, body)
    try:
        assert children[1 - guilty].wait(300) == 1
    finally:
        children[guilty].kill()
        assert children[guilty].wait() == -9
    said = children[1 - guilty].log.read_text().splitlines()[-1]
    assert f"RanksLost: rank {1 - guilty} of 2 lost the others while it waited for all" in said
    assert f"(limit: runtime.timeout_s=3): rank {guilty}: no sign of life, " in said


def test_heartbeat_leaves_without_who_does_not_leave(monkeypatch):
    """Rank 0 waits for `LEAVE_S`, and for no longer, where another goes on."""
    monkeypatch.setattr(heartbeat, "LEAVE_S", 0.1)
    store = torch.distributed.HashStore()
    store.set("sign-of-rank/1", json.dumps(asdict(Sign(1, 3, 0.0, None, "here"))))
    Heartbeat(store, 0, 2, 10.0).leave()


def test_heartbeat_hears_a_stop_while_it_waits(tmp_path):
    """SIGTERM ends a rank that waits for one that prepares, at once."""

    def body(ranks: Ranks) -> None:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
        (tmp_path / f"ready{ranks.rank}").touch()
        ranks.broadcast_from_rank0(lambda: time.sleep(100))

    children = joined_ranks(tiny_config(tmp_path), tmp_path, body)
    children[1].until((tmp_path / "ready1").exists)
    children[1].kill(signal.SIGTERM)
    assert children[1].wait(300) == 75
    children[0].kill()
    assert children[0].wait() == -9


def judged(signs: dict[int, Sign], own_stall_s: float, own_waits: str | None) -> set[int]:
    """Whom rank 0 takes for hung, with a limit of 10 s, by these signs of the others."""
    store = torch.distributed.HashStore()
    for rank, sign in signs.items():
        store.set(f"sign-of-rank/{rank}", json.dumps(asdict(sign)))
    beat = Heartbeat(store, 0, 1 + len(signs), 10.0)
    beat.close()
    with beat.in_steps(lambda: 7), beat.waiting("its GPU") if own_waits else nullcontext():
        assert beat.own.stalled_s < 5 and not beat.hung()
        beat._time_s = beat._progress_s + own_stall_s
        return beat.hung()


def sign(stalled_s: float, waits_for: str | None, step: int | None = 7) -> Sign:
    return Sign(1, step, stalled_s, waits_for, "")


def test_heartbeat_judges_by_who_waits_and_who_works():
    """Nobody hangs while the one that others wait for gets on, nor while no one waits."""
    late = sign(20, "its GPU")
    assert judged({1: sign(20, None), 2: late}, 20, "its GPU") == {1}
    assert judged({1: sign(3, None), 2: late}, 20, "its GPU") == set()  # in a long evaluation
    assert judged({1: late, 2: late}, 20, None) == {0}
    assert judged({1: late, 2: late}, 20, "its GPU") == {0, 1, 2}  # their GPUs hang
    assert judged({1: late, 2: sign(1, "all")}, 20, "its GPU") == set()  # it came just now
    assert judged({1: sign(1, None, None)}, 90, None) == set()  # a last checkpoint: others are done
    assert judged({1: sign(20, None)}, 11, "its GPU") == set()  # within the grace
