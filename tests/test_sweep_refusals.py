"""Folders, disks and files that sweep.py and train.py cannot work with: one line, status 2 or 3."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_sweep import LAUNCHER, overrides, pretended_plan, stored
from tiny_training import tiny_config

import sweep
import train
from configs.errors import BadInput
from configs.load import run_entry
from scaling.run import store
from scaling.run.machine import this_machine
from training.attempt import Watch, claim
from training.trial import write_config

ROOT = Path(__file__).resolve().parent.parent


def refused(capsys, main, *words: str, status: int = 2) -> str:
    """The one line that a call ends in."""
    name = "train" if main is train.main else "sweep"
    assert run_entry(main, name, "", words) == status
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and error.startswith("error: "), error
    return error


def place(out: Path):
    plan = pretended_plan(out.parent, range(2))
    store.place_plan(out, stored(plan), False)
    return plan


def test_a_sweep_and_a_single_run_do_not_share_a_folder(tmp_path, capsys):
    one, many = tmp_path / "one", tmp_path / "many"
    write_config(one, tiny_config(tmp_path))
    error = refused(capsys, sweep.main, *overrides(tmp_path, one))
    assert f"{one} holds a single run of train.py" in error
    place(many)
    error = refused(capsys, train.main, "experiment=smoke", f"out={many}")
    assert f"{many} holds a sweep" in error
    assert sorted(path.name for path in many.iterdir()) == ["plan.json"]


@pytest.mark.parametrize("name", ["fit", "trials"])
def test_a_file_where_a_folder_must_be_is_told_before_any_trial(tmp_path, capsys, name):
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("")
    error = refused(capsys, sweep.main, *overrides(tmp_path, out))
    assert f"{out / name}: found a file, expected a folder" in error
    assert [path.name for path in out.iterdir()] == [name]


def test_names_that_no_file_system_takes(tmp_path, capsys):
    for main in (sweep.main, train.main):
        words = overrides(tmp_path, tmp_path / ("x" * 300))
        if main is train.main:
            words = [w for w in words if not w.startswith(("grid.", "launcher."))]
        assert "File name too long" in refused(capsys, main, *words)
    assert "name too long" in refused(capsys, sweep.main, "mode=status", f"out={'x' * 300}")


def test_a_record_that_is_a_folder(tmp_path, capsys):
    plan = place(tmp_path / "out")
    (store.trial_folder(tmp_path / "out", plan.trials[0]) / "record.json").mkdir(parents=True)
    error = refused(capsys, sweep.main, "mode=status", f"out={tmp_path / 'out'}")
    assert "record.json: cannot be read: Is a directory" in error


def test_a_plan_of_newer_code(tmp_path, capsys):
    place(tmp_path / "out")
    path = tmp_path / "out" / "plan.json"
    path.write_text(path.read_text().replace('"schema": 1', '"schema": 9', 1))
    assert "schema: found 9" in refused(capsys, sweep.main, "mode=work", f"out={tmp_path / 'out'}")


def test_any_value_of_a_plan_may_be_damaged(tmp_path):
    """Each value in turn becomes each of these; what is read is the plan, or refused in words."""
    plan = place(tmp_path / "out")
    path = tmp_path / "out" / "plan.json"
    whole = json.loads(path.read_text())

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


def test_devices_that_would_stay_idle():
    from dataclasses import replace

    launcher = replace(LAUNCHER, devices=3, devices_per_trial=2)
    runtime = tiny_config(Path(".")).runtime
    with pytest.raises(BadInput, match=r"launcher.devices: found 3, .* say launcher.devices=2"):
        this_machine(runtime, launcher)


def test_a_worker_without_its_data(tmp_path, capsys):
    plan = pretended_plan(tmp_path / "elsewhere", range(2))
    store.place_plan(tmp_path / "out", stored(plan), False)
    error = refused(capsys, sweep.main, "mode=work", f"out={tmp_path / 'out'}")
    assert f"data.path: {tmp_path / 'elsewhere' / 'text'}" in error
    assert not (tmp_path / "out" / "trials").exists()


def test_ctrl_c_while_a_script_imports_is_silent(tmp_path):
    """At whatever moment after the first: never a traceback, and the status of an interrupt."""
    for script, delay_s in (("sweep.py", 0.1), ("train.py", 0.4), ("fit.py", 0.2)):
        line = [sys.executable, "-X", "importtime", script, "experiment=smoke"]
        process = subprocess.Popen(
            line,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # Tests that run in the background of a shell inherit an ignored Ctrl-C.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        for text in process.stderr:  # Python itself is up, and the script's first import done
            if "configs.interrupt" in text:
                break
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode in (-signal.SIGINT, 130, 75, 2), error
        assert "Traceback" not in error


def test_who_ignores_ctrl_c_goes_on_ignoring_it():
    code = (
        "import configs.interrupt, signal; from configs.load import run_entry;"
        "run_entry(lambda a: print(signal.getsignal(signal.SIGINT).name), 'fit', '', [])"
    )
    for before, then in (("IGN", "SIG_IGN"), ("DFL", "default_int_handler")):
        start = f"import signal; signal.signal(signal.SIGINT, signal.SIG_{before})\n"
        end = code if before == "IGN" else code.replace(".name", ".__name__")
        ended = subprocess.run(
            [sys.executable, "-c", start + end], cwd=ROOT, capture_output=True, text=True
        )
        assert ended.stdout.strip() == then, ended.stderr


def mounted(folder: Path, *options: str) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], check=True)


def sweep_on(folder: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "sweep.py", *overrides(folder, out), *more]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=200)


@pytest.mark.needs_root
def test_a_file_system_that_is_read_only(tmp_path):
    disk = tmp_path / "disk"
    mounted(disk)
    try:
        plan = place(disk / "out")
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        fresh = sweep_on(tmp_path, disk / "new")
        assert fresh.returncode == 2 and "Read-only file system" in fresh.stderr
        assert fresh.stderr.count("\n") == 1 and "Traceback" not in fresh.stderr
        line = [sys.executable, "sweep.py", "mode=status", f"out={disk / 'out'}"]
        shown = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
        assert shown.returncode == 0 and plan.trials[0].id in shown.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.needs_root
def test_a_disk_that_fills_up_ends_the_sweep_in_one_line_and_it_resumes(tmp_path):
    disk = tmp_path / "disk"
    mounted(disk, "-o", "size=300k")
    try:
        out = disk / "out"
        more = ("runtime.checkpoint_every_s=0.05", "fit.n_bootstrap=50", "fit.require=[]")
        full = sweep_on(tmp_path, out, *more)
        said = full.stdout + full.stderr
        assert full.returncode in (2, 3), said
        assert "Traceback" not in said and "No space left on device" in said
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        again = sweep_on(tmp_path, out, "retry=[failed]", *more)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "4 planned = 4 done" in again.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_claimed_trial_that_cannot_be_read_is_named(tmp_path, capsys):
    plan = place(tmp_path / "out")
    folder = store.trial_folder(tmp_path / "out", plan.trials[0])
    claim(folder, Watch())
    (folder / "record.json").write_bytes(os.urandom(64))
    error = refused(capsys, sweep.main, "mode=status", f"out={tmp_path / 'out'}")
    assert "record.json: not strict JSON" in error
