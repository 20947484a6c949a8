"""A worker loses nothing, doubles nothing and leaves no process, whatever is killed when.

Trials here only pretend, so that what is tested is the worker; test_run_sweep.py trains."""

import errno
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import BadInput
from scaling.run import trial_states
from scaling.run.workers.worker import MAX_CRASHES_WITHOUT_PROGRESS
from tests.support.kill_harness import fork
from tests.support.tiny_sweep import (
    LAUNCHER,
    done_record,
    eventually,
    pretend,
    pretended_plan,
    sleeper,
    statuses,
    work,
)
from training.trial.attempt import Watch, claim
from training.trial.record import blank_record, publish, read_record, record_text


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(6))


def completions(out: Path, plan) -> list[int]:
    folders = [trial_states.trial_folder(out, trial) for trial in plan.trials]
    return [len((f / "completed").read_text().split()) for f in folders]


def test_worker_does_each_trial_once(tmp_path, plan):
    """Each trial is done once and a second worker changes nothing."""
    ends = work(tmp_path, plan, pretend(lambda config, attempt: None))
    assert sorted(ends) == sorted((trial.id, "done") for trial in plan.trials)
    assert completions(tmp_path, plan) == [1] * 6
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert work(tmp_path, plan, pretend(lambda config, attempt: 1)) == []
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("place", ["of its own trial", "of one that has ended"])
def test_worker_sets_aside_a_record_that_is_damaged_meanwhile(tmp_path, plan, place):
    """It trains that trial anew and goes on, as a sweep that begins does."""
    first, last = (trial_states.trial_folder(tmp_path, plan.trials[n]) for n in (0, 5))

    def act(config, attempt):
        if attempt.number > 1 or config.seed != 0:
            return None
        record = done_record(plan.trials[0].config, 1)
        broken = first if place == "of its own trial" else last
        broken.mkdir(exist_ok=True)
        (broken / "record.json").write_text(record_text(record).replace("2.5", "1.5"))
        return 0 if broken == first else None

    ends = work(tmp_path, plan, pretend(act), slots=1)
    notes = [end for _, end in ends if end != "done"]
    assert len(notes) == 1 and "set aside as" in notes[0]
    assert statuses(tmp_path, plan)["done"] == 6
    assert len(list(tmp_path.glob("trials/*/attempt-*/record.damaged.json"))) == 1


def test_worker_gives_up_where_records_are_damaged_again_and_again(tmp_path, plan):
    """A disk that does so is to be looked at, and not to be trained on for ever."""
    trial = plan.trials[0]

    def act(config, attempt):
        text = record_text(done_record(trial.config, 1))
        (attempt.trial / "record.json").write_text(text.replace("2.5", "1.5"))
        return 0

    alone = replace(plan, trials=plan.trials[:1])
    with pytest.raises(BadInput, match="record.json: differs from its own digest"):
        work(tmp_path, alone, pretend(act), slots=1)
    folder = trial_states.trial_folder(tmp_path, trial)
    assert len(list(folder.glob("attempt-*"))) == trial_states.MOST_DAMAGED


def test_worker_starts_longest_trial_first(tmp_path, plan):
    """The longest trial starts first."""
    started = tmp_path / "started"

    def act(config, attempt):
        with started.open("a") as file:
            file.write(f"{config.seed}\n")

    work(tmp_path, plan, pretend(act), slots=1)
    assert started.read_text().split() == [str(trial.config.seed) for trial in plan.trials]


def test_worker_forks_child_with_own_log_and_rank(tmp_path, plan, monkeypatch):
    """A child starts from one thread with its own log and rank."""
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
def test_worker_fails_trial_after_three_crashes(tmp_path, plan, end):
    """A trial that always dies fails after three and the rest goes on."""

    def act(config, attempt):
        if config.seed == 2:
            (attempt.folder / "log.txt").write_text("step 1\n\nthe last words\n")
            end()

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan) | {"done": 5, "failed": 1} == statuses(tmp_path, plan)
    record = read_record(trial_states.trial_folder(tmp_path, plan.trials[2]))
    assert record.status == "failed" and record.attempts == MAX_CRASHES_WITHOUT_PROGRESS
    assert "3 times without a new step" in record.reason and "the last words" in record.reason
    assert "SIGKILL" in record.reason or "status 9" in record.reason


def test_worker_ignores_crashes_with_progress(tmp_path, plan):
    """Deaths that save a new step are not counted."""

    def act(config, attempt):
        if config.seed == 0 and attempt.number < 8:
            (attempt.checkpoints / f"step-{attempt.number:08d}").mkdir(parents=True)
            os._exit(1)

    work(tmp_path, plan, pretend(act))
    assert statuses(tmp_path, plan)["done"] == 6
    assert read_record(trial_states.trial_folder(tmp_path, plan.trials[0])).attempts == 8


def test_worker_ignores_crash_after_record(tmp_path, plan):
    """A death after the record is no death."""

    def act(config, attempt):
        publish(attempt, done_record(config, attempt.number))
        os.kill(os.getpid(), signal.SIGKILL)

    work(tmp_path, plan, pretend(act))
    counts = statuses(tmp_path, plan)
    assert counts["done"] == 6 and not list(tmp_path.rglob("attempt-002"))


@pytest.mark.parametrize("keep", [False, True])
def test_worker_removes_checkpoints_unless_kept(tmp_path, plan, keep):
    """Checkpoints of done trials go unless kept."""

    def act(config, attempt):
        (attempt.checkpoints / "step-00000001").mkdir(parents=True)
        if config.seed == 0:
            publish(attempt, blank_record(config, attempt.number, "diverged", "loss nan"))

    work(tmp_path, plan, pretend(act), keep=keep)
    left = len(list(tmp_path.rglob("step-00000001")))
    assert left == (6 if keep else 1)


@pytest.mark.parametrize("workers", [8, 32])
def test_many_workers_share_trials(tmp_path, workers):
    """Many sweepers at once."""
    plan = pretended_plan(tmp_path, range(30))
    sweepers = [
        fork(lambda: work(tmp_path, plan, sleeper(tmp_path, 0.01)), tmp_path / f"log{index}")
        for index in range(workers)
    ]
    assert [child.wait(300) for child in sweepers] == [0] * workers
    assert completions(tmp_path, plan) == [1] * 30
    assert not list(tmp_path.rglob("attempt-002"))


def test_worker_waits_for_owner_as_told(tmp_path, plan):
    """A worker waits for a live owner or leaves as it was told."""
    folder = trial_states.trial_folder(tmp_path, plan.trials[0])
    held = claim(folder, Watch())
    ends = work(tmp_path, plan, pretend(lambda config, attempt: None), wait=False)
    assert len(ends) == 5 and statuses(tmp_path, plan)["running"] == 1

    threading.Timer(0.5, held.release).start()
    ends = work(tmp_path, plan, pretend(lambda config, attempt: None), wait=True)
    assert ends == [(plan.trials[0].id, "done")]


def test_worker_leaves_silent_owner(tmp_path, plan):
    """A silent owner is not waited for for ever."""
    claim(trial_states.trial_folder(tmp_path, plan.trials[0]), Watch())
    launcher = replace(LAUNCHER, lease_s=0.5)
    start = time.monotonic()
    work(tmp_path, plan, pretend(lambda config, attempt: None), launcher=launcher)
    assert time.monotonic() - start < 50 and statuses(tmp_path, plan)["running"] == 1


def test_worker_keeps_claims_alive(tmp_path, plan):
    """A trial ends when it has ends three beats of its claim, which only the worker makes."""

    def act(config, attempt):
        eventually(lambda: int((attempt.folder / "heartbeat").read_text()) >= 3)

    work(tmp_path, plan, pretend(act), launcher=replace(LAUNCHER, lease_s=0.6))
    assert statuses(tmp_path, plan)["done"] == 6
    assert not list(tmp_path.rglob("attempt-002"))


def test_worker_names_machine_that_starts_no_process(tmp_path, plan, monkeypatch):
    """A machine that starts no process is no fault of the folder."""

    def refuse():
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BadInput, match="launcher.devices: no process for .* unavailable; use"):
        work(tmp_path, plan, pretend(lambda config, attempt: None))
    assert statuses(tmp_path, plan)["waiting"] == 6


def test_worker_taken_over_publishes_nothing(tmp_path, plan):
    """S4: it slept, its lease ran out for another machine, and it comes back."""

    def act(config, attempt):
        if attempt.number == 1 and config.seed == 0:
            (attempt.trial / "attempt-002").mkdir()
            (attempt.trial / "attempt-002" / "released").touch()
            assert not publish(attempt, done_record(config, attempt.number))
            return 75
        return None

    ends = work(tmp_path, plan, pretend(act))
    assert (plan.trials[0].id, "taken over by another worker") in ends
    assert read_record(trial_states.trial_folder(tmp_path, plan.trials[0])).attempts == 3
