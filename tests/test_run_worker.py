"""A worker loses nothing, doubles nothing and leaves no process, whatever is killed when.

Trials here only pretend, so that what is tested is the worker; test_run_sweep.py trains.
"""

import errno
import os
import random
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from kill_harness import fork
from tiny_sweep import (
    LAUNCHER,
    alive,
    done_record,
    eventually,
    note,
    pretend,
    pretended_plan,
    statuses,
    work,
)

from configs.errors import BadInput, StopRequested
from scaling.run import execution, store
from scaling.run.worker import MAX_FRUITLESS_DEATHS
from training.attempt import Watch, claim
from training.record import blank_record, publish, read_record


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(6))


def pids(folder: Path) -> list[int]:
    return [int(path.name) for path in folder.glob("*")] if folder.exists() else []


def sleeper(out: Path, seconds: float):
    """A trial that leaves its pid and takes its time."""

    def act(config, attempt):
        (out / "pids").mkdir(exist_ok=True)
        (out / "pids" / str(os.getpid())).touch()
        time.sleep(seconds)

    return pretend(act)


def completions(out: Path, plan) -> list[int]:
    folders = [store.trial_folder(out, trial) for trial in plan.trials]
    return [len((f / "completed").read_text().split()) for f in folders]


def test_each_trial_is_done_once_and_a_second_worker_changes_nothing(tmp_path, plan):
    seen = work(tmp_path, plan, pretend(lambda config, attempt: None))
    assert sorted(seen.ends) == sorted((trial.id, "done") for trial in plan.trials)
    assert completions(tmp_path, plan) == [1] * 6
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert work(tmp_path, plan, pretend(lambda config, attempt: 1)).ends == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_longest_trial_starts_first(tmp_path, plan):
    started = tmp_path / "started"

    def act(config, attempt):
        with started.open("a") as file:
            file.write(f"{config.seed}\n")

    work(tmp_path, plan, pretend(act), slots=1)
    assert started.read_text().split() == [str(trial.config.seed) for trial in plan.trials]


def test_a_child_starts_from_one_thread_with_its_own_log_and_rank(tmp_path, plan, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")

    def act(config, attempt):
        assert os.getpgid(0) == os.getpid()
        assert threading.active_count() == 1
        assert os.environ["WORLD_SIZE"] == "1" and "TORCHELASTIC_RUN_ID" not in os.environ
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan)["done"] == 6


@pytest.mark.parametrize("end", [lambda: os.kill(os.getpid(), signal.SIGKILL), lambda: os._exit(9)])
def test_a_trial_that_always_dies_fails_after_three_and_the_rest_goes_on(tmp_path, plan, end):
    def act(config, attempt):
        if config.seed == 2:
            (attempt.folder / "log.txt").write_text("step 1\n\nthe last words\n")
            end()

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan) | {"done": 5, "failed": 1} == statuses(tmp_path, plan)
    record = read_record(store.trial_folder(tmp_path, plan.trials[2]))
    assert record.status == "failed" and record.attempts == MAX_FRUITLESS_DEATHS
    assert "3 times without a new step" in record.reason and "the last words" in record.reason
    assert "SIGKILL" in record.reason or "status 9" in record.reason


def test_deaths_that_save_a_new_step_are_not_counted(tmp_path, plan):
    def act(config, attempt):
        if config.seed == 0 and attempt.number < 8:
            (attempt.checkpoints / f"step-{attempt.number:08d}").mkdir(parents=True)
            os._exit(1)

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan)["done"] == 6
    assert read_record(store.trial_folder(tmp_path, plan.trials[0])).attempts == 8


def test_a_death_after_the_record_is_no_death(tmp_path, plan):
    def act(config, attempt):
        publish(attempt, done_record(config, attempt.number))
        os.kill(os.getpid(), signal.SIGKILL)

    work(tmp_path, plan, pretend(act))
    counts = statuses(tmp_path, plan)
    assert counts["done"] == 6 and not list(tmp_path.rglob("attempt-002"))


@pytest.mark.parametrize("keep", [False, True])
def test_checkpoints_of_done_trials_go_unless_kept(tmp_path, plan, keep):
    def act(config, attempt):
        (attempt.checkpoints / "step-00000001").mkdir(parents=True)
        if config.seed == 0:
            publish(attempt, blank_record(config, attempt.number, "diverged", "loss nan"))

    work(tmp_path, plan, pretend(act), keep=keep)
    left = len(list(tmp_path.rglob("step-00000001")))
    assert left == (6 if keep else 1)


def test_a_stop_request_is_passed_on_and_the_rest_resumes(tmp_path, plan):
    def act(config, attempt):
        if attempt.number > 1:
            return None
        signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
        note(tmp_path / "started")
        time.sleep(60)
        return 1

    def sweeper():
        with pytest.raises(StopRequested, match="same command"):
            work(tmp_path, plan, pretend(act))

    child = fork(sweeper, tmp_path / "log")
    started = tmp_path / "started"
    eventually(lambda: started.exists() and started.read_text() == "x\n" * 2)
    child.kill(signal.SIGINT)
    assert child.wait(10) == 0, (tmp_path / "log").read_text()
    assert statuses(tmp_path, plan)["waiting"] == 6
    assert not list(tmp_path.rglob("death.json"))
    work(tmp_path, plan, pretend(lambda config, attempt: None))
    assert statuses(tmp_path, plan)["done"] == 6


@pytest.mark.parametrize(("grace_s", "signals"), [(0.3, 1), (60, 2)])
def test_what_does_not_stop_is_killed_after_the_grace_or_by_a_second_request(
    tmp_path, plan, grace_s, signals
):
    def act(config, attempt):
        signal.signal(signal.SIGTERM, lambda *_: note(tmp_path / "told"))
        (tmp_path / "pids").mkdir(exist_ok=True)
        (tmp_path / "pids" / str(os.getpid())).touch()
        time.sleep(60)

    def sweeper():
        launcher = replace(LAUNCHER, grace_s=grace_s)
        with pytest.raises(StopRequested if signals == 1 else KeyboardInterrupt):
            work(tmp_path, plan, pretend(act), launcher=launcher)

    child = fork(sweeper, tmp_path / "log")
    eventually(lambda: len(pids(tmp_path / "pids")) == 2)
    child.kill(signal.SIGTERM)
    if signals == 2:  # the kernel would make one of both, were the first not seen to have arrived
        eventually(lambda: (tmp_path / "told").exists())
        child.kill(signal.SIGTERM)
    assert child.wait(10) == 0, (tmp_path / "log").read_text()
    assert not any(map(alive, pids(tmp_path / "pids")))
    assert statuses(tmp_path, plan)["waiting"] == 6


@pytest.mark.parametrize("kills", [15, pytest.param(50, marks=pytest.mark.slow)])
def test_kill_the_sweeper_at_random_times(tmp_path, kills):
    plan = pretended_plan(tmp_path, range(30))
    times = random.Random(kills)
    for _ in range(kills):
        child = fork(lambda: work(tmp_path, plan, sleeper(tmp_path, 0.02)), tmp_path / "log")
        time.sleep(times.uniform(0.0, 0.15))
        child.kill()
        child.wait()
        eventually(lambda: not any(map(alive, pids(tmp_path / "pids"))), 2)
        assert statuses(tmp_path, plan)["failed"] == 0
    work(tmp_path, plan, sleeper(tmp_path, 0))
    assert statuses(tmp_path, plan)["done"] == 30
    # A kill may fall between the record and the mark that counts it.
    folders = [store.trial_folder(tmp_path, trial) for trial in plan.trials]
    marks = [(f / "completed") for f in folders]
    assert all(not mark.exists() or mark.read_text() == "x\n" for mark in marks)


@pytest.mark.parametrize("workers", [8, 32])
def test_many_sweepers_at_once(tmp_path, workers):
    plan = pretended_plan(tmp_path, range(30))
    sweepers = [
        fork(lambda: work(tmp_path, plan, sleeper(tmp_path, 0.01)), tmp_path / f"log{index}")
        for index in range(workers)
    ]
    assert [child.wait(120) for child in sweepers] == [0] * workers
    assert completions(tmp_path, plan) == [1] * 30
    assert not list(tmp_path.rglob("attempt-002"))


def test_a_worker_waits_for_a_live_owner_or_leaves_as_it_was_told(tmp_path, plan):
    folder = store.trial_folder(tmp_path, plan.trials[0])
    held = claim(folder, Watch())
    seen = work(tmp_path, plan, pretend(lambda config, attempt: None), wait=False)
    assert len(seen.ends) == 5 and statuses(tmp_path, plan)["running"] == 1

    threading.Timer(0.5, held.release).start()
    seen = work(tmp_path, plan, pretend(lambda config, attempt: None), wait=True)
    assert seen.ends == [(plan.trials[0].id, "done")]


def test_a_silent_owner_is_not_waited_for_for_ever(tmp_path, plan):
    claim(store.trial_folder(tmp_path, plan.trials[0]), Watch())
    launcher = replace(LAUNCHER, lease_s=0.5)
    start = time.monotonic()
    work(tmp_path, plan, pretend(lambda config, attempt: None), launcher=launcher)
    assert time.monotonic() - start < 10 and statuses(tmp_path, plan)["running"] == 1


def test_claims_of_a_worker_stay_alive(tmp_path, plan):
    """A trial ends when it has seen three beats of its claim, which only the worker makes."""

    def act(config, attempt):
        eventually(lambda: int((attempt.folder / "heartbeat").read_text()) >= 3)

    work(tmp_path, plan, pretend(act), launcher=replace(LAUNCHER, lease_s=0.6))
    assert statuses(tmp_path, plan)["done"] == 6
    assert not list(tmp_path.rglob("attempt-002"))


def test_a_machine_that_starts_no_process_is_no_fault_of_the_folder(tmp_path, plan, monkeypatch):
    def refuse():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BadInput, match="launcher.devices: no process for .* unavailable; use"):
        work(tmp_path, plan, pretend(lambda config, attempt: None))
    assert statuses(tmp_path, plan)["waiting"] == 6


@pytest.mark.parametrize(("number", "status"), [(3, "done"), (9, "failed")])
def test_a_cause_that_may_pass_has_the_tries_of_a_death(tmp_path, monkeypatch, number, status):
    """A disk that is full until attempt `number`."""
    plan = pretended_plan(tmp_path, [0])

    def train(config, attempt, ranks, **options):
        if attempt.number < number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        record = done_record(config, attempt.number)
        publish(attempt, record)
        return record

    execution.warm_up()
    monkeypatch.setattr("training.loop.train_and_publish", train)
    work(tmp_path, plan, execution.run_task)
    record = read_record(store.trial_folder(tmp_path, plan.trials[0]))
    assert (record.status, record.attempts) == (status, 3)
    assert status == "done" or "No space left on device" in record.reason


def test_a_worker_that_was_taken_over_publishes_nothing(tmp_path, plan):
    """S4: it slept, its lease ran out for another machine, and it comes back."""

    def act(config, attempt):
        if attempt.number == 1 and config.seed == 0:
            (attempt.trial / "attempt-002").mkdir()
            (attempt.trial / "attempt-002" / "released").touch()
            assert not publish(attempt, done_record(config, attempt.number))
            return 75
        return None

    seen = work(tmp_path, plan, pretend(act))
    assert (plan.trials[0].id, "taken over by another worker") in seen.ends
    assert read_record(store.trial_folder(tmp_path, plan.trials[0])).attempts == 3
