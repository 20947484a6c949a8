"""How a sweep stands: every number from the files, and what cannot be known left out."""

import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from rich.console import Console
from tiny_sweep import LAUNCHER, done_record, pretended_plan, stored

import sweep
from configs.files import to_json
from configs.load import run_entry
from model.flops import flops_per_token_exact
from scaling.run import deaths, store
from scaling.run.board import _screen
from scaling.run.status import overview, view
from training.attempt import Watch, claim
from training.metrics import MetricsLog
from training.peaks import mfu
from training.record import blank_record, publish

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
    return [view(out, state, launcher) for state in store.read_states(out, plan)]


def test_a_running_trial_by_the_end_of_its_metrics(tmp_path, plan):
    trial = plan.trials[0]
    attempt = claim(store.trial_folder(tmp_path, trial), Watch())
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


def test_a_resumed_trial_stands_where_the_attempt_before_it_stood(tmp_path, plan):
    folder = store.trial_folder(tmp_path, plan.trials[0])
    first = claim(folder, Watch())
    log_rows(first, range(1, 4))
    deaths.note(first, -9)
    first.release()
    [waiting, *_] = views(tmp_path, plan)
    assert (waiting.state.state, waiting.step) == ("waiting", 3)
    assert "SIGKILL" in waiting.problem
    claim(folder, Watch())
    [resumed, *_] = views(tmp_path, plan)
    assert (resumed.state.state, resumed.step, resumed.problem) == ("running", 3, None)


@pytest.mark.parametrize("tail", [b'{"step": 5, "lo', b"\n\n", b'{"step": "x"}\n', b"\xff\n"])
def test_a_torn_tail_is_passed_over(tmp_path, plan, tail):
    attempt = claim(store.trial_folder(tmp_path, plan.trials[0]), Watch())
    log_rows(attempt, range(1, 5))
    with (attempt.folder / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    assert views(tmp_path, plan)[0].step == 4


def test_a_long_file_is_read_from_its_end(tmp_path, plan):
    attempt = claim(store.trial_folder(tmp_path, plan.trials[0]), Watch())
    log_rows(attempt, range(1, 2000))
    assert views(tmp_path, plan)[0].step == 1999


def test_the_sums(tmp_path, plan):
    """One done in 20 s of the predicted 10, one failed after half, one runs, three wait."""
    done, failed, running, *_ = plan.trials
    config = done.config
    end = {"wall_s": 20.0, "world_size": 1, "threads": 1, "device": H200}
    publish(
        claim(store.trial_folder(tmp_path, done), Watch()),
        replace(done_record(config, 1), steps=6, **end),
    )
    publish(
        claim(store.trial_folder(tmp_path, failed), Watch()),
        replace(blank_record(failed.config, 1, "failed", "a cause"), steps=3),
    )
    attempt = claim(store.trial_folder(tmp_path, running), Watch())
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


def test_nothing_is_estimated_where_nothing_runs(tmp_path, plan):
    assert overview(views(tmp_path, plan)).left_s is None


def test_the_command_prints_plain_lines_and_then_only_what_changed(
    tmp_path, plan, capsys, monkeypatch
):
    out = tmp_path / "out"
    store.place_plan(out, stored(plan), False)
    publish(
        claim(store.trial_folder(out, plan.trials[0]), Watch()),
        blank_record(plan.trials[0].config, 1, "failed", "ValueError: [no] markup"),
    )
    rest = list(plan.trials[1:])

    def finish_one(seconds):
        trial = rest.pop()
        attempt = claim(store.trial_folder(out, trial), Watch())
        publish(attempt, done_record(trial.config, 1))

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=finish_one)
    monkeypatch.setattr("scaling.run.board.time", clock)
    line = ["mode=status", f"out={out}", "watch=true", "launcher.price_per_hour=2"]
    assert run_entry(sweep.main, "sweep", "", line) == 0
    text = capsys.readouterr().out
    assert text.count("waiting  ") == 5 and text.count("  done  ") == 5
    assert "failed: ValueError: [no] markup" in text and "price 0.00" in text
    assert text.count("6 planned = ") == 6 and "\x1b" not in text
    assert (out / "runs.csv").exists()


def test_stale_trials_are_marked_and_their_fate_is_said(tmp_path, plan, capsys):
    out = tmp_path / "out"
    store.place_plan(out, stored(plan, stale=(plan.trials[0].id,)), False)
    assert run_entry(sweep.main, "sweep", "", ["mode=status", f"out={out}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("stale")] == [plan.trials[0].id]
    assert lines[-1].startswith("1 stale: of an earlier grid") and "in the fit" in lines[-1]


def test_watching_goes_on_between_two_stages(tmp_path, plan, capsys, monkeypatch):
    out = tmp_path / "out"
    early = stored(replace(plan, stage="tuning"))
    store.place_plan(out, early, False)
    for trial in plan.trials:
        publish(claim(store.trial_folder(out, trial), Watch()), done_record(trial.config, 1))

    def advance(seconds):
        store.replace_plan(out, replace(early, plan=plan))

    monkeypatch.setattr(
        "scaling.run.board.time", SimpleNamespace(monotonic=time.monotonic, sleep=advance)
    )
    assert run_entry(sweep.main, "sweep", "", ["mode=status", f"out={out}", "watch=true"]) == 0
    text = capsys.readouterr().out
    assert text.count("6 planned = ") == 2 and text.count("stage tuning: ") == 1


def test_a_terminal_shows_no_more_than_fits(tmp_path, plan):
    for trial in plan.trials:
        claim(store.trial_folder(tmp_path, trial), Watch())
    seen = views(tmp_path, plan)
    console = Console(width=80, height=9, force_terminal=True)
    with console.capture() as capture:
        console.print(_screen(seen, overview(seen), LAUNCHER, 9))
    text = capture.get()
    assert text.count("\n") <= 9 and "and 3 more" in text and "6 planned" in text


@pytest.mark.slow
def test_five_thousand_trials_are_looked_at_in_two_seconds_and_claimed_in_twenty_ms(tmp_path):
    plan = pretended_plan(tmp_path, range(5000))
    store.place_plan(tmp_path, stored(plan), False)
    text = json.dumps(asdict(done_record(plan.trials[0].config, 1)))
    for trial in plan.trials[:4500]:
        folder = store.trial_folder(tmp_path, trial)
        (folder / "attempt-001").mkdir(parents=True)
        record = json.loads(text) | {"id": trial.id, "ended": datetime.now(UTC).isoformat()}
        (folder / "record.json").write_text(json.dumps(record))
    busy_s = time.process_time()
    read = store.read_plan(tmp_path)
    total = overview([view(tmp_path, s, LAUNCHER) for s in store.read_states(tmp_path, read.plan)])
    assert time.process_time() - busy_s < 2 and total.counts["done"] == 4500
    took = []
    for trial in plan.trials[4500:4600]:
        start = time.perf_counter()
        claim(store.trial_folder(tmp_path, trial), Watch())
        took.append(time.perf_counter() - start)
    assert sorted(took)[50] < 0.02
