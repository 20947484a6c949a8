"""The state of a sweep: every number from the files, and unknown ones left out."""

import json
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from common.files import to_json
from model.flops import flops_per_token_exact
from scaling.run import failures, trial_states
from scaling.run.status import overview, view
from scaling.run.status_view import _notes
from scaling.run.workers.packing import Shared
from tests.support.tiny_sweep import LAUNCHER, done_record, pretended_plan, stored
from training.device.mfu import mfu
from training.trial.attempt import Watch, claim
from training.trial.metrics import MetricsLog
from training.trial.record import blank_record, publish

H200 = "NVIDIA H200"

RATE = 64.0  # tokens/s: two seconds for a step of 128 tokens


@pytest.fixture
def plan(tmp_path):
    plan = pretended_plan(tmp_path, range(6))
    return replace(plan, trials=tuple(replace(t, predicted_s=10.0) for t in plan.trials))


def log_rows(attempt, steps, started="2026-01-01T00:00:00+00:00"):
    """Metrics of an attempt that was claimed at `started` and logs a step every two seconds."""
    owner = json.loads((attempt.folder / "owner.json").read_text())
    (attempt.folder / "owner.json").write_text(to_json(owner | {"started": started}))
    log = MetricsLog(attempt.folder)
    for step in steps:
        now = datetime.fromisoformat(started) + timedelta(seconds=2 * step)
        row = {"step": step, "loss": 6.0 - step, "tokens_per_s": RATE, "time": now.isoformat()}
        log.write(row)
    log.close()


def run_on(attempt, device, world_size=1, threads=1):
    values = {"device": device, "world_size": world_size, "threads": threads}
    (attempt.folder / "runtime.json").write_text(to_json(values))


def views(out, plan, launcher=LAUNCHER):
    return [view(out, state, launcher) for state in trial_states.read_states(out, plan)]


def test_view_reads_running_trial_from_end_of_metrics(tmp_path, plan):
    """A running trial by the end of its metrics."""
    trial = plan.trials[0]
    attempt = claim(trial_states.trial_folder(tmp_path, trial), Watch())
    [seen, *_] = views(tmp_path, plan)
    assert (seen.step, seen.loss, seen.tokens_per_s, seen.left_s) == (0, None, None, None)

    run_on(attempt, H200, world_size=2)
    log_rows(attempt, range(1, 5))
    [seen, *_] = views(tmp_path, plan)
    assert (seen.state.state, seen.step, seen.steps, seen.loss) == ("running", 4, 6, 2.0)
    assert seen.tokens_per_s == RATE and seen.left_s == 2 * 128 / RATE
    assert seen.mfu == mfu(trial.config.model, RATE, H200, "float32", 2)
    assert seen.device_s == 2 * 8  # two GPUs, four steps of two seconds

    run_on(attempt, "CPU of some maker", threads=3)
    [seen, *_] = views(tmp_path, plan)
    assert seen.mfu is None and seen.device_s == 3 * 8


def test_view_of_resumed_trial_keeps_earlier_step(tmp_path, plan):
    """A resumed trial stands where the attempt before it stood."""
    folder = trial_states.trial_folder(tmp_path, plan.trials[0])
    first = claim(folder, Watch())
    log_rows(first, range(1, 4))
    failures.record_crash(first, -9)
    first.release()
    [waiting, *_] = views(tmp_path, plan)
    assert (waiting.state.state, waiting.step) == ("waiting", 3)
    assert "SIGKILL" in waiting.problem
    claim(folder, Watch())
    [resumed, *_] = views(tmp_path, plan)
    assert (resumed.state.state, resumed.step, resumed.problem) == ("running", 3, None)


@pytest.mark.parametrize("tail", [b'{"step": 5, "lo', b"\n\n", b'{"step": "x"}\n', b"\xff\n"])
def test_view_skips_torn_tail(tmp_path, plan, tail):
    """A torn tail is passed over."""
    attempt = claim(trial_states.trial_folder(tmp_path, plan.trials[0]), Watch())
    log_rows(attempt, range(1, 5))
    with (attempt.folder / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    assert views(tmp_path, plan)[0].step == 4


def test_view_reads_long_file_from_its_end(tmp_path, plan):
    """A long file is read from its end."""
    attempt = claim(trial_states.trial_folder(tmp_path, plan.trials[0]), Watch())
    log_rows(attempt, range(1, 2000))
    assert views(tmp_path, plan)[0].step == 1999


def test_overview_adds_up(tmp_path, plan):
    """One done in 20 s of the predicted 10, one failed after half, one runs, three wait."""
    done, failed, running, *_ = plan.trials
    config = done.config
    end = {"wall_s": 20.0, "world_size": 1, "threads": 1, "device": H200}
    publish(
        claim(trial_states.trial_folder(tmp_path, done), Watch()),
        replace(done_record(config, 1), steps=6, **end),
    )
    publish(
        claim(trial_states.trial_folder(tmp_path, failed), Watch()),
        replace(blank_record(failed.config, 1, "failed", "a cause"), steps=3),
    )
    attempt = claim(trial_states.trial_folder(tmp_path, running), Watch())
    run_on(attempt, H200)
    log_rows(attempt, range(1, 5))
    launcher = replace(LAUNCHER, trials_per_device=2, price_per_hour=3600.0)
    total = overview(views(tmp_path, plan, launcher))
    step = 128 * flops_per_token_exact(config.model)
    assert total.counts["planned"] == 6 == sum(total.counts.values()) - 6
    assert total.flops_planned == 36 * step and total.flops_trained == (6 + 3 + 4) * step
    assert total.device_s == 20 / 2 + 8 / 2
    # The one that runs has 4 s left, those that wait take twice what was predicted, one at a time.
    assert total.left_s == 4 + 3 * 2 * 10


def test_view_counts_devices_by_what_a_worker_noted(tmp_path, plan):
    """Where packing goes by size, each attempt says how many shared its GPU; a plan cannot."""
    done, running, alone, *_ = plan.trials
    launcher = replace(LAUNCHER, trials_per_device="auto")
    end = {"wall_s": 20.0, "world_size": 1, "threads": 1, "device": H200}
    first, second, third = (
        claim(trial_states.trial_folder(tmp_path, trial), Watch()) for trial in plan.trials[:3]
    )
    for attempt, count in ((first, 4), (second, 2), (third, 1)):
        note = {"trials_per_device": count, "mps": True}
        (attempt.folder / "sharing.json").write_text(to_json(note))
        run_on(attempt, H200)
        log_rows(attempt, range(1, 5))
    publish(first, replace(done_record(done.config, 1), steps=6, **end))
    seen = views(tmp_path, plan, launcher)
    assert [item.device_s for item in seen[:3]] == [20 / 4, 8 / 2, 8]
    assert [item.sharing for item in seen[:3]] == [None, Shared(2, True), None]
    shown = _notes(stored(plan), seen)
    assert "1 running sharing a GPU by MPS" in shown
    turns = replace(seen[1], sharing=Shared(2, False))
    assert "2 running taking turns on a GPU (time-slicing, no MPS)" in _notes(
        stored(plan), [turns, turns]
    )


def test_overview_estimates_nothing_where_nothing_runs(tmp_path, plan):
    """Nothing is estimated where nothing runs."""
    assert overview(views(tmp_path, plan)).left_s is None
