"""Folders, disks and files that sweep.py and train.py cannot work with: one line, status 2 or 3."""

import copy
import json
import os
from pathlib import Path

import pytest

import sweep
import train
from common.errors import BadInput
from common.files import with_digest
from configs.cli import run_entry
from scaling.run import store, trial_states
from tests.support.tiny_sweep import overrides, pretended_plan, stored
from tests.support.tiny_training import tiny_config
from training.trial.attempt import Watch, claim
from training.trial.folder import write_config


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", argv)


def refused(capsys, main, *words: str, status: int = 2) -> str:
    """The one line that a call ends in."""
    name = "train" if main is train.main else "sweep"
    assert run_entry(main, name, "", words) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: "), error
    return error


def place(out: Path):
    plan = pretended_plan(out.parent, range(2))
    store.store_plan(out, stored(plan), False)
    return plan


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["experiment=smoke"], "out: missing; mode=run needs a folder"),
        (["out={out}"], "plan.json: not found"),
        (["mode=work", "out={out}"], "plan.json: not found"),
        (["mode=status", "out={out}"], "plan.json: not found"),
        (["mode=plan"], "no experiment= given; as experiment=smoke"),
        (["mode=plan", "model=toy"], "grid: missing"),
        (["mode=work", "out={out}", "retry=[oom]"], "retry: found with mode=work"),
        (["mode=status", "out={out}", "extend=true"], "extend: found with mode=status"),
        (["mode=fly", "out={out}"], "expected one of run, plan, measure, prepare, work, status"),
        (["experiment=smoke", "out={out}", "launcher.lease=3"], "launcher.lease: unknown key"),
        (["experiment=smoke", "out={out}", "launcher.lease_s=0"], "launcher.lease_s: found 0"),
        (["experiment=smoke", "out={out}", "retry=[diverged]"], "retry[0]: found 'diverged'"),
        (["experiment=smoke", "out={out}", "fit.n_bootstrp=5"], "fit.n_bootstrp: unknown key; did"),
        (["experiment=smoke", "out={out}", "fit.delta=2"], "fit.delta: found 2"),
        (["experiment=smoke", "out={out}", "fit.predict.flops=[0]"], "fit.predict.flops: found 0"),
        (["experiment=smoke", "out={out}", "fit=3"], "fit: found 3"),
        (["experiment=smoke", "out={out}", "fit.runs=x"], "fit.runs: a sweep fits its own runs"),
        (["experiment=smoke", "out="], "out: missing; mode=run needs a folder"),
        (["experiment=smoke", "out={out}", "model.vocab_size=99"], "model.vocab_size: found 99"),
        (["experiment=smoke", "out={out}", "runtime.device=cuda"], "runtime.device: found no GPU"),
    ],
)
def test_bad_input_is_one_line_and_status_2(tmp_path, capsys, monkeypatch, arguments, complaint):
    """Bad input is one line status 2 and nothing written."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    out = tmp_path / "out"
    words = [word.format(out=out) for word in arguments]
    assert call(*words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and complaint in error and not out.exists()


def test_override_without_grid_is_refused(tmp_path, capsys):
    """Without a grid trials cannot be changed."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "plan.json").write_text("{")
    assert call(f"out={out}") == 2
    assert f"{out / 'plan.json'}: not strict JSON" in capsys.readouterr().err


def test_folder_of_single_run_is_refused(tmp_path, capsys):
    """A sweep and a single run do not share a folder."""
    one, many = tmp_path / "one", tmp_path / "many"
    write_config(one, tiny_config(tmp_path))
    error = refused(capsys, sweep.main, *overrides(tmp_path, one))
    assert f"{one} holds a single run of train.py" in error
    place(many)
    error = refused(capsys, train.main, "experiment=smoke", f"out={many}")
    assert f"{many} holds a sweep" in error
    assert sorted(path.name for path in many.iterdir()) == ["plan.json"]


@pytest.mark.parametrize("name", ["fit", "trials"])
def test_file_in_place_of_folder_is_refused(tmp_path, capsys, name):
    """A file where a folder must be is told before any trial."""
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("")
    error = refused(capsys, sweep.main, *overrides(tmp_path, out))
    assert f"{out / name}: found a file, expected a folder" in error
    assert [path.name for path in out.iterdir()] == [name]


def test_impossible_names_are_refused(tmp_path, capsys):
    """Names that no file system takes."""
    for main in (sweep.main, train.main):
        words = overrides(tmp_path, tmp_path / ("x" * 300))
        if main is train.main:
            words = [w for w in words if not w.startswith(("grid.", "launcher."))]
        assert "File name too long" in refused(capsys, main, *words)
    assert "name too long" in refused(capsys, sweep.main, "mode=status", f"out={'x' * 300}")


def test_record_that_is_folder_is_named_and_counts_as_none(tmp_path, capsys):
    """A record that is a folder."""
    plan = place(tmp_path / "out")
    (trial_states.trial_folder(tmp_path / "out", plan.trials[0]) / "record.json").mkdir(
        parents=True
    )
    assert call("mode=status", f"out={tmp_path / 'out'}") == 0
    said = capsys.readouterr().out
    assert "record.json: found no file" in said and "2 waiting" in said


def test_plan_of_newer_code_is_refused(tmp_path, capsys):
    """A plan of newer code."""
    place(tmp_path / "out")
    path = tmp_path / "out" / "plan.json"
    newer = with_digest(json.loads(path.read_text()) | {"schema": 9})
    path.write_text(json.dumps(newer))
    assert "schema: found 9" in refused(capsys, sweep.main, "mode=work", f"out={tmp_path / 'out'}")


def test_any_damaged_value_of_plan_is_refused(tmp_path):
    """Each value in turn becomes each of these; what is read is the plan, or refused in words."""
    plan = place(tmp_path / "out")
    path = tmp_path / "out" / "plan.json"
    whole = json.loads(path.read_text())
    del whole["digest"]  # by which any of these would be refused

    def places(node, where=()):
        items = node.items() if isinstance(node, dict) else enumerate(node)
        for key, value in items:
            yield (*where, key)
            if isinstance(value, dict | list):
                yield from places(value, (*where, key))

    refusals = 0
    spots = [spot for spot in places(whole) if spot[:2] != ("trials", 1)]
    for index, spot in enumerate(spots):
        for value in ([None, {}], [5, "x"], [[], -1.5], [True, [5]])[index % 4]:
            damaged = copy.deepcopy(whole)
            node = damaged
            for key in spot[:-1]:
                node = node[key]
            node[spot[-1]] = value
            path.write_text(json.dumps(damaged) + " " * (index % 7))
            try:
                found = store.read_plan(tmp_path / "out")
            except BadInput as error:
                assert str(path) in str(error) and "\n" not in str(error)
                refusals += 1
                continue
            assert {trial.id for trial in found.plan.trials} <= {t.id for t in plan.trials}
    assert refusals > len(spots)


def test_work_mode_without_data_is_refused(tmp_path, capsys):
    """A worker without its data."""
    plan = pretended_plan(tmp_path / "elsewhere", range(2))
    store.store_plan(tmp_path / "out", stored(plan), False)
    error = refused(capsys, sweep.main, "mode=work", f"out={tmp_path / 'out'}")
    assert f"data.path: {tmp_path / 'elsewhere' / 'text'}" in error
    assert not (tmp_path / "out" / "trials").exists()


def test_unreadable_record_is_named_and_counts_as_none(tmp_path, capsys):
    """A record that cannot be read is named, with what to do."""
    plan = place(tmp_path / "out")
    folder = trial_states.trial_folder(tmp_path / "out", plan.trials[0])
    claim(folder, Watch())
    (folder / "record.json").write_bytes(os.urandom(64))
    assert call("mode=status", f"out={tmp_path / 'out'}") == 0
    said = capsys.readouterr().out
    assert "record.json: not strict JSON" in said and "2 waiting" in said
