"""Sweeps merged: nothing done is lost, nothing is taken on trust, and nothing is overwritten."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import BadInput
from scaling.fit.table.sweep_directory import read_sweep
from scaling.plan.plan import StageResults
from scaling.run import store, trial_states
from scaling.run.merge import merge
from tests.support.tiny_sweep import (
    done_record,
    loaded,
    pretend,
    pretended_plan,
    statuses,
    stored,
    work,
)
from tests.support.tiny_training import tiny_config
from training.trial.attempt import Watch, claim
from training.trial.folder import write_config
from training.trial.identity import setting_digest
from training.trial.record import blank_record, publish, read_record

ROOT = Path(__file__).resolve().parent.parent

SEEDS = {"a": range(0, 4), "b": range(2, 6)}


@pytest.fixture
def sweeps(tmp_path):
    """Two grids that share the trials of seeds 2 and 3."""
    plans = {name: pretended_plan(tmp_path, seeds) for name, seeds in SEEDS.items()}
    for name, plan in plans.items():
        store.store_plan(tmp_path / name, stored(plan), False)
    return tmp_path / "a", tmp_path / "b", plans["a"], plans["b"]


def end(out, trial, status="done", weights="0" * 16, **changes):
    folder = trial_states.trial_folder(out, trial)
    attempt = claim(folder, Watch())
    write_config(folder, trial.config)
    if status == "done":
        record = replace(done_record(trial.config, 1), weights_digest=weights, **changes)
    else:
        record = replace(blank_record(trial.config, 1, status, "a cause"), **changes)
    publish(attempt, record)
    return folder


def files(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_merge_keeps_what_is_done_anywhere(tmp_path, sweeps):
    """What is done anywhere is done and the sources stay."""
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[0])
    end(a, plan_a.trials[2], "failed")
    end(b, plan_b.trials[0])  # seed 2, which failed in a
    end(a, plan_a.trials[3], "oom")
    end(b, plan_b.trials[1], "diverged")  # seed 3: no better than in a, which comes first
    before = files(a) | files(b)
    merged, differences = merge([a, b], tmp_path / "c")
    assert files(a) | files(b) == before and not differences
    assert {trial.config.seed for trial in merged.plan.trials} == set(range(6))
    assert store.read_plan(tmp_path / "c") == merged and merged.stale == ()
    states = {
        s.trial.config.seed: s.state for s in trial_states.read_states(tmp_path / "c", merged.plan)
    }
    assert states == {
        **{0: "done", 1: "waiting", 2: "done"},
        **{3: "oom", 4: "waiting", 5: "waiting"},
    }
    assert len((tmp_path / "c" / "runs.csv").read_text().splitlines()) == 7
    assert len(read_sweep(tmp_path / "c")) == 6
    assert [path.name for path in tmp_path.glob(".*")] == []

    work(tmp_path / "c", merged.plan, pretend(lambda config, attempt: None))
    assert statuses(tmp_path / "c", merged.plan)["done"] == 5


def test_merge_tells_trials_of_different_bits(tmp_path, sweeps):
    """A trial done twice is kept once and told if its bits differ."""
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[2], weights="a" * 16, bitwise=True, threads=1)
    end(b, plan_b.trials[0], weights="b" * 16, bitwise=True, threads=2)
    end(a, plan_a.trials[3], weights="c" * 16)
    end(b, plan_b.trials[1], weights="c" * 16)
    merged, [difference] = merge([a, b], tmp_path / "c")
    kept = read_record(trial_states.trial_folder(tmp_path / "c", plan_a.trials[2]))
    assert kept.weights_digest == "a" * 16 and difference.trial.id == kept.id
    assert "a" * 16 in str(difference) and "threads differ" in str(difference)

    _, [difference] = merge([b, a], tmp_path / "d")
    assert difference.kept[1].weights_digest == "b" * 16


@pytest.mark.parametrize(
    ("bitwise", "text"), [(True, "bits should be equal"), (False, "not bitwise reproducible")]
)
def test_difference_between_equal_machines_is_suspicious(tmp_path, sweeps, bitwise, text):
    """Equal machines with other bits are a matter to look into."""
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[2], weights="a" * 16, bitwise=True)
    end(b, plan_b.trials[0], weights="b" * 16, bitwise=bitwise)
    assert text in str(merge([a, b], tmp_path / "c")[1][0])


def test_merge_takes_furthest_attempt_and_releases_it(tmp_path, sweeps):
    """The attempt that saved most is taken and can be claimed at once."""
    a, b, plan_a, plan_b = sweeps
    for out, trial, step in ((a, plan_a.trials[2], 3), (b, plan_b.trials[0], 5)):
        attempt = claim(trial_states.trial_folder(out, trial), Watch())
        (attempt.checkpoints / f"step-{step:08d}").mkdir(parents=True)
        (attempt.folder / ".x.tmp").touch()
        owner = json.loads((attempt.folder / "owner.json").read_text())
        (attempt.folder / "owner.json").write_text(json.dumps(owner | {"host": "elsewhere"}))
    merged, _ = merge([a, b], tmp_path / "c")
    folder = trial_states.trial_folder(tmp_path / "c", plan_b.trials[0])
    assert (folder / "attempt-001/checkpoints/step-00000005").is_dir()
    assert not list(folder.rglob("*.tmp"))
    assert claim(folder, Watch()).number == 2


def test_merge_keeps_stale_only_if_no_plan_asks(tmp_path, sweeps):
    """Stale is what nobody asks for."""
    a, b, plan_a, plan_b = sweeps
    ids = [trial.id for trial in plan_a.trials]
    (a / "plan.json").unlink()
    store.store_plan(a, stored(plan_a, stale=(ids[0], ids[2])), False)
    merged, _ = merge([a, b], tmp_path / "c")
    assert merged.stale == (ids[0],)  # ids[2] is in b's grid


def test_merge_gives_trial_of_two_arms_to_grid(tmp_path, sweeps):
    """A trial of a grid anywhere enters the fit though elsewhere it tuned."""
    a, b, plan_a, _ = sweeps
    tuning = tuple(replace(trial, part="tuning") for trial in plan_a.trials)
    (a / "plan.json").unlink()
    store.store_plan(a, stored(replace(plan_a, trials=tuning)), False)
    merged, _ = merge([a, b], tmp_path / "c")
    arms = {trial.config.seed: trial.part for trial in merged.plan.trials}
    assert [arms[seed] for seed in range(6)] == ["tuning"] * 2 + ["grid"] * 4


def test_merge_refuses_in_one_line_and_leaves_nothing(tmp_path, sweeps):
    """Refusals are one line and leave nothing."""
    a, b, plan_a, plan_b = sweeps
    base = loaded(tiny_config(tmp_path, evaluation__tokens=64))
    other = replace(pretended_plan(tmp_path, [9]), base=base, setting=setting_digest(base))
    store.store_plan(tmp_path / "setting", stored(other), False)
    store.store_plan(tmp_path / "data", stored(plan_a, data_digest="1" * 16), False)
    claim(trial_states.trial_folder(tmp_path / "data", plan_a.trials[0]), Watch())

    def refusal(sources, out=tmp_path / "c"):
        there = sorted(tmp_path.iterdir())
        with pytest.raises(BadInput) as error:
            merge(sources, out)
        assert sorted(tmp_path.iterdir()) == there and "\n" not in str(error.value)
        return str(error.value)

    tuned = replace(plan_a, learned=StageResults(lr_factor=1.5))
    store.store_plan(tmp_path / "tuned", stored(tuned), False)
    assert "by (1.5, 1.0), that of" in refusal([a, tmp_path / "tuned"])
    assert "evaluation.tokens: found 64" in refusal([a, tmp_path / "setting"])
    assert "data_digest: found 1111111111111111" in refusal([a, tmp_path / "data"])
    assert "is being trained by" in refusal([tmp_path / "data", tmp_path / "data"])
    assert "nowhere/plan.json: not found" in refusal([a, tmp_path / "nowhere"])
    assert "found something there" in refusal([a, b], b)
    folder = end(a, plan_a.trials[0], data_digest="2" * 16)
    assert "data_digest: found 2222222222222222" in refusal([a, b])
    values = json.loads((folder / "record.json").read_text()) | {"data_digest": None}
    del values["digest"]
    (folder / "record.json").write_text(json.dumps(values | {"id": plan_a.trials[1].id}))
    assert "id: found" in refusal([a, b])
    (folder / "record.json").write_text(json.dumps(values))
    write_config(tmp_path / "other", plan_a.trials[1].config)
    (folder / "config.yaml").write_bytes((tmp_path / "other/config.yaml").read_bytes())
    (tmp_path / "other/config.yaml").unlink()
    (tmp_path / "other").rmdir()
    assert "config.yaml: found another trial" in refusal([a, b])


def test_merge_on_full_disk_leaves_nothing(tmp_path, sweeps, monkeypatch):
    """A disk that refuses leaves nothing."""
    a, b, plan_a, _ = sweeps
    end(a, plan_a.trials[0])

    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "record.json")

    monkeypatch.setattr("shutil.copy2", full)
    monkeypatch.setattr("scaling.run.merge.shutil.copytree", full)
    with pytest.raises(BadInput, match="record.json: No space left"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists() and not list(tmp_path.glob(".*"))


def test_main_serves_both_names_of_command(tmp_path, sweeps):
    """The command."""
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[2], weights="a" * 16)
    end(b, plan_b.trials[0], weights="b" * 16)

    def call(*words, module="scaling.run.merge"):
        line = [sys.executable, "-m", module, *map(str, words)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)

    ended = call(a, b, f"out={tmp_path / 'c=d, e'}")
    assert ended.returncode == 0, ended.stderr
    assert "6 planned = 1 done" in ended.stdout and "1 trials were done twice" in ended.stdout
    assert (tmp_path / "c=d, e" / "plan.json").exists()
    for words in ([a, b], [a, "out=x"], []):
        ended = call(*words)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
        assert "expected A B" in ended.stderr
    assert call("--help").stdout.startswith("Merge sweep directories")
    # The command's old name goes on, and says the new one.
    ended = call("merge", a, b, f"out={tmp_path / 'old'}", module="scaling.run.store")
    assert ended.returncode == 0 and (tmp_path / "old" / "plan.json").exists()
    assert ended.stderr == "this command has moved: python -m scaling.run.merge A B out=C\n"
    assert call("melt", a, b, "out=x", module="scaling.run.store").returncode == 2
