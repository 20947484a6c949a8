"""Sweeps united: nothing done is lost, nothing is taken on trust, and nothing is overwritten."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweep import done_record, loaded, pretend, pretended_plan, statuses, stored, work
from tiny_training import tiny_config

from configs.errors import BadInput
from scaling.fit.sweeps import read_sweep
from scaling.plan.grid import Learned
from scaling.run import store
from scaling.run.merge import merge
from training.attempt import Watch, claim
from training.config import setting_digest
from training.record import blank_record, publish, read_record
from training.trial import write_config

ROOT = Path(__file__).resolve().parent.parent
SEEDS = {"a": range(0, 4), "b": range(2, 6)}


@pytest.fixture
def sweeps(tmp_path):
    """Two grids that share the trials of seeds 2 and 3."""
    plans = {name: pretended_plan(tmp_path, seeds) for name, seeds in SEEDS.items()}
    for name, plan in plans.items():
        store.place_plan(tmp_path / name, stored(plan), False)
    return tmp_path / "a", tmp_path / "b", plans["a"], plans["b"]


def end(out, trial, status="done", weights="0" * 16, **changes):
    folder = store.trial_folder(out, trial)
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


def test_what_is_done_anywhere_is_done_and_the_sources_stay(tmp_path, sweeps):
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[0])
    end(a, plan_a.trials[2], "failed")
    end(b, plan_b.trials[0])  # seed 2, which failed in a
    end(a, plan_a.trials[3], "oom")
    end(b, plan_b.trials[1], "diverged")  # seed 3: no better than in a, which comes first
    before = files(a) | files(b)
    united, differences = merge([a, b], tmp_path / "c")
    assert files(a) | files(b) == before and not differences
    assert {trial.config.seed for trial in united.plan.trials} == set(range(6))
    assert store.read_plan(tmp_path / "c") == united and united.stale == ()
    states = {s.trial.config.seed: s.state for s in store.read_states(tmp_path / "c", united.plan)}
    assert states == {
        **{0: "done", 1: "waiting", 2: "done"},
        **{3: "oom", 4: "waiting", 5: "waiting"},
    }
    assert len((tmp_path / "c" / "runs.csv").read_text().splitlines()) == 7
    assert read_sweep(tmp_path / "c").size == 6
    assert [path.name for path in tmp_path.glob(".*")] == []

    work(tmp_path / "c", united.plan, pretend(lambda config, attempt: None))
    assert statuses(tmp_path / "c", united.plan)["done"] == 5


def test_a_trial_done_twice_is_kept_once_and_told_if_its_bits_differ(tmp_path, sweeps):
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[2], weights="a" * 16, bitwise=True, threads=1)
    end(b, plan_b.trials[0], weights="b" * 16, bitwise=True, threads=2)
    end(a, plan_a.trials[3], weights="c" * 16)
    end(b, plan_b.trials[1], weights="c" * 16)
    united, [difference] = merge([a, b], tmp_path / "c")
    kept = read_record(store.trial_folder(tmp_path / "c", plan_a.trials[2]))
    assert kept.weights_digest == "a" * 16 and difference.trial.id == kept.id
    assert "a" * 16 in str(difference) and "threads differ" in str(difference)

    _, [difference] = merge([b, a], tmp_path / "d")
    assert difference.kept[1].weights_digest == "b" * 16


@pytest.mark.parametrize(
    ("bitwise", "text"), [(True, "bits should be equal"), (False, "resumed elsewhere")]
)
def test_equal_machines_with_other_bits_are_a_matter_to_look_into(tmp_path, sweeps, bitwise, text):
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[2], weights="a" * 16, bitwise=True)
    end(b, plan_b.trials[0], weights="b" * 16, bitwise=bitwise)
    assert text in str(merge([a, b], tmp_path / "c")[1][0])


def test_the_attempt_that_saved_most_is_taken_and_can_be_claimed_at_once(tmp_path, sweeps):
    a, b, plan_a, plan_b = sweeps
    for out, trial, step in ((a, plan_a.trials[2], 3), (b, plan_b.trials[0], 5)):
        attempt = claim(store.trial_folder(out, trial), Watch())
        (attempt.checkpoints / f"step-{step:08d}").mkdir(parents=True)
        (attempt.folder / ".x.tmp").touch()
        owner = json.loads((attempt.folder / "owner.json").read_text())
        (attempt.folder / "owner.json").write_text(json.dumps(owner | {"host": "elsewhere"}))
    united, _ = merge([a, b], tmp_path / "c")
    folder = store.trial_folder(tmp_path / "c", plan_b.trials[0])
    assert (folder / "attempt-001/checkpoints/step-00000005").is_dir()
    assert not list(folder.rglob("*.tmp"))
    assert claim(folder, Watch()).number == 2


def test_stale_is_what_nobody_asks_for(tmp_path, sweeps):
    a, b, plan_a, plan_b = sweeps
    ids = [trial.id for trial in plan_a.trials]
    (a / "plan.json").unlink()
    store.place_plan(a, stored(plan_a, stale=(ids[0], ids[2])), False)
    united, _ = merge([a, b], tmp_path / "c")
    assert united.stale == (ids[0],)  # ids[2] is in b's grid


def test_a_trial_of_a_grid_anywhere_enters_the_fit_though_elsewhere_it_tuned(tmp_path, sweeps):
    a, b, plan_a, _ = sweeps
    tuning = tuple(replace(trial, arm="tuning") for trial in plan_a.trials)
    (a / "plan.json").unlink()
    store.place_plan(a, stored(replace(plan_a, trials=tuning)), False)
    united, _ = merge([a, b], tmp_path / "c")
    arms = {trial.config.seed: trial.arm for trial in united.plan.trials}
    assert [arms[seed] for seed in range(6)] == ["tuning"] * 2 + ["grid"] * 4


def test_refusals_are_one_line_and_leave_nothing(tmp_path, sweeps):
    a, b, plan_a, plan_b = sweeps
    base = loaded(tiny_config(tmp_path, evaluation__tokens=64))
    other = replace(pretended_plan(tmp_path, [9]), base=base, setting=setting_digest(base))
    store.place_plan(tmp_path / "setting", stored(other), False)
    store.place_plan(tmp_path / "data", stored(plan_a, data_digest="1" * 16), False)
    claim(store.trial_folder(tmp_path / "data", plan_a.trials[0]), Watch())

    def refusal(sources, out=tmp_path / "c"):
        there = sorted(tmp_path.iterdir())
        with pytest.raises(BadInput) as error:
            merge(sources, out)
        assert sorted(tmp_path.iterdir()) == there and "\n" not in str(error.value)
        return str(error.value)

    tuned = replace(plan_a, learned=Learned(lr_factor=1.5))
    store.place_plan(tmp_path / "tuned", stored(tuned), False)
    assert "by (1.5, 1.0), that of" in refusal([a, tmp_path / "tuned"])
    assert "evaluation.tokens: found 64" in refusal([a, tmp_path / "setting"])
    assert "data_digest: found 1111111111111111" in refusal([a, tmp_path / "data"])
    assert "is being trained by" in refusal([tmp_path / "data", tmp_path / "data"])
    assert "nowhere/plan.json: not found" in refusal([a, tmp_path / "nowhere"])
    assert "found something there" in refusal([a, b], b)
    folder = end(a, plan_a.trials[0], data_digest="2" * 16)
    assert "data_digest: found 2222222222222222" in refusal([a, b])
    values = json.loads((folder / "record.json").read_text()) | {"data_digest": None}
    (folder / "record.json").write_text(json.dumps(values | {"id": plan_a.trials[1].id}))
    assert "id: found" in refusal([a, b])
    (folder / "record.json").write_text(json.dumps(values))
    write_config(tmp_path / "other", plan_a.trials[1].config)
    (folder / "config.yaml").write_bytes((tmp_path / "other/config.yaml").read_bytes())
    (tmp_path / "other/config.yaml").unlink()
    (tmp_path / "other").rmdir()
    assert "config.yaml: found another trial" in refusal([a, b])


def test_a_disk_that_refuses_leaves_nothing(tmp_path, sweeps, monkeypatch):
    a, b, plan_a, _ = sweeps
    end(a, plan_a.trials[0])

    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "record.json")

    monkeypatch.setattr("shutil.copy2", full)
    monkeypatch.setattr("scaling.run.merge.shutil.copytree", full)
    with pytest.raises(BadInput, match="record.json: No space left"):
        merge([a, b], tmp_path / "c")
    assert not (tmp_path / "c").exists() and not list(tmp_path.glob(".*"))


def test_the_command(tmp_path, sweeps):
    a, b, plan_a, plan_b = sweeps
    end(a, plan_a.trials[2], weights="a" * 16)
    end(b, plan_b.trials[0], weights="b" * 16)

    def call(*words):
        line = [sys.executable, "-m", "scaling.run.store", *map(str, words)]
        return subprocess.run(line, cwd=ROOT, capture_output=True, text=True)

    ended = call("merge", a, b, f"out={tmp_path / 'c=d, e'}")
    assert ended.returncode == 0, ended.stderr
    assert "6 planned = 1 done" in ended.stdout and "1 trials were done twice" in ended.stdout
    assert (tmp_path / "c=d, e" / "plan.json").exists()
    for words in (["merge", a, b], ["merge", a, "out=x"], [], ["melt", a, b, "out=x"]):
        ended = call(*words)
        assert ended.returncode == 2 and ended.stderr.count("\n") == 1, ended.stderr
        assert "expected merge A B" in ended.stderr
