"""What mode=status prints, once and while watching."""

import json
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from rich.console import Console

import sweep
from configs.cli import run_entry
from scaling.run import store, trial_states
from scaling.run.progress import name
from scaling.run.status import overview, view
from scaling.run.status_view import _screen
from tests.support.tiny_sweep import LAUNCHER, done_record, pretended_plan, stored
from training.trial.attempt import Watch, claim
from training.trial.record import blank_record, publish


@pytest.fixture
def plan(tmp_path):
    plan = pretended_plan(tmp_path, range(6))
    return replace(plan, trials=tuple(replace(t, predicted_s=10.0) for t in plan.trials))


def views(out, plan, launcher=LAUNCHER):
    return [view(out, state, launcher) for state in trial_states.read_states(out, plan)]


def test_show_status_prints_only_changes_when_watching(tmp_path, plan, capsys, monkeypatch):
    """The command prints plain lines and then only what changed."""
    out = tmp_path / "out"
    store.store_plan(out, stored(plan), False)
    publish(
        claim(trial_states.trial_folder(out, plan.trials[0]), Watch()),
        blank_record(plan.trials[0].config, 1, "failed", "ValueError: [no] markup"),
    )
    rest = list(plan.trials[1:])

    def finish_one(seconds):
        trial = rest.pop()
        attempt = claim(trial_states.trial_folder(out, trial), Watch())
        publish(attempt, done_record(trial.config, 1))

    clock = SimpleNamespace(monotonic=time.monotonic, sleep=finish_one)
    monkeypatch.setattr("scaling.run.status_view.time", clock)
    line = ["mode=status", f"out={out}", "watch=true", "launcher.price_per_hour=2"]
    assert run_entry(sweep.main, "sweep", "", line) == 0
    text = capsys.readouterr().out
    assert text.count("waiting  ") == 5 and text.count("  done  ") == 5
    assert "failed: ValueError: [no] markup" in text and "price 0.00" in text
    assert text.count("6 planned = ") == 6 and "\x1b" not in text
    assert (out / "runs.csv").exists()


def test_show_status_marks_stale_trials(tmp_path, plan, capsys):
    """Stale trials are marked and their fate is said."""
    out = tmp_path / "out"
    store.store_plan(out, stored(plan, stale=(plan.trials[0].id,)), False)
    assert run_entry(sweep.main, "sweep", "", ["mode=status", f"out={out}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("stale")] == [plan.trials[0].id]
    assert lines[-1].startswith("1 stale: of an earlier grid") and "in the fit" in lines[-1]


def test_show_status_watches_across_stages(tmp_path, plan, capsys, monkeypatch):
    """Watching goes on between two stages."""
    out = tmp_path / "out"
    early = stored(replace(plan, stage="tuning"))
    store.store_plan(out, early, False)
    for trial in plan.trials:
        publish(claim(trial_states.trial_folder(out, trial), Watch()), done_record(trial.config, 1))

    def advance(seconds):
        store.replace_plan(out, replace(early, plan=plan))

    monkeypatch.setattr(
        "scaling.run.status_view.time", SimpleNamespace(monotonic=time.monotonic, sleep=advance)
    )
    assert run_entry(sweep.main, "sweep", "", ["mode=status", f"out={out}", "watch=true"]) == 0
    text = capsys.readouterr().out
    assert text.count("6 planned = ") == 2 and text.count("tuning stage: ") == 1


def test_screen_shows_no_more_than_fits(tmp_path, plan):
    """A terminal shows no more than fits."""
    for trial in plan.trials:
        claim(trial_states.trial_folder(tmp_path, trial), Watch())
    seen = views(tmp_path, plan)
    console = Console(width=80, height=9, force_terminal=True)
    with console.capture() as capture:
        console.print(_screen(seen, overview(seen), LAUNCHER, (80, 9)))
    text = capture.get()
    assert text.count("\n") <= 9 and "and 2 more" in text and "6 planned" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_screen_cuts_no_word(tmp_path, plan, width):
    """Lines are wrapped; of a narrow terminal's columns whole ones are left out."""
    long = "a long reason of which the last word is what one has to know: MEMORY"
    publish(
        claim(trial_states.trial_folder(tmp_path, plan.trials[0]), Watch()),
        blank_record(plan.trials[0].config, 1, "failed", long),
    )
    idle = views(tmp_path, plan)
    for trial in plan.trials[2:]:
        claim(trial_states.trial_folder(tmp_path, trial), Watch())
    for seen in (idle, views(tmp_path, plan)):
        console = Console(width=width, height=24, force_terminal=True, color_system=None)
        with console.capture() as capture:
            console.print(_screen(seen, overview(seen), LAUNCHER, (width, 24)))
        text = capture.get()
        words = " ".join(text.split())
        assert "\u2026" not in text and text.count("\n") <= 24 and long in words
        assert max(map(len, text.splitlines())) <= width
        running = seen is not idle
        assert running or "no trial is running; the sweep's command starts those that wait" in words
        assert all((name(t) in words) == running for t in plan.trials[2:])
    head = text.splitlines()[0].split()
    assert head[:2] == ["trial", "step"] and "left" in head and ("owner" in head or width < 100)


@pytest.mark.slow
def test_show_status_of_five_thousand_trials_takes_two_seconds(tmp_path):
    """Five thousand trials are looked at in seconds, and one is claimed at once."""
    plan = pretended_plan(tmp_path, range(5000))
    store.store_plan(tmp_path, stored(plan), False)
    text = json.dumps(asdict(done_record(plan.trials[0].config, 1)))
    for trial in plan.trials[:4500]:
        folder = trial_states.trial_folder(tmp_path, trial)
        (folder / "attempt-001").mkdir(parents=True)
        record = json.loads(text) | {"id": trial.id, "ended": datetime.now(UTC).isoformat()}
        (folder / "record.json").write_text(json.dumps(record))
    busy_s = time.process_time()
    read = store.read_plan(tmp_path)
    total = overview(
        [view(tmp_path, s, LAUNCHER) for s in trial_states.read_states(tmp_path, read.plan)]
    )
    assert time.process_time() - busy_s < 20 and total.counts["done"] == 4500
    took = []
    for trial in plan.trials[4500:4600]:
        start = time.perf_counter()
        claim(trial_states.trial_folder(tmp_path, trial), Watch())
        took.append(time.perf_counter() - start)
    assert sorted(took)[50] < 0.2
