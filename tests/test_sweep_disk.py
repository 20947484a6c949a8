"""sweep.py on disks that refuse, and Ctrl-C while it starts."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaling.run import store
from tests.support.tiny_sweep import overrides, pretended_plan, stored

ROOT = Path(__file__).resolve().parent.parent


def place(out: Path):
    plan = pretended_plan(out.parent, range(2))
    store.store_plan(out, stored(plan), False)
    return plan


def mounted(folder: Path, *options: str) -> None:
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", *options, "tmpfs", str(folder)], check=True)


def sweep_on(folder: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "sweep.py", *overrides(folder, out, *more)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=200)


def test_ctrl_c_during_imports_is_silent(tmp_path):
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
            if "common.start" in text:
                break
        time.sleep(delay_s)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=300)
        assert process.returncode in (-signal.SIGINT, 130, 75, 2), error
        assert "Traceback" not in error


def test_ignored_ctrl_c_stays_ignored():
    """Who ignores ctrl c goes on ignoring it."""
    code = (
        "import common.start, signal; from configs.cli import run_entry;"
        "run_entry(lambda a: print(signal.getsignal(signal.SIGINT).name), 'fit', '', [])"
    )
    for before, then in (("IGN", "SIG_IGN"), ("DFL", "default_int_handler")):
        start = f"import signal; signal.signal(signal.SIGINT, signal.SIG_{before})\n"
        end = code if before == "IGN" else code.replace(".name", ".__name__")
        ended = subprocess.run(
            [sys.executable, "-c", start + end], cwd=ROOT, capture_output=True, text=True
        )
        assert ended.stdout.strip() == then, ended.stderr


@pytest.mark.needs_root
def test_read_only_file_system_is_refused(tmp_path):
    """A file system that is read only."""
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
@pytest.mark.parametrize("size", [pytest.param("100k", marks=pytest.mark.slow), "300k"])
def test_full_disk_ends_in_one_line_and_resumes(tmp_path, size):
    """A disk that fills up ends the sweep in one line, fails no trial, and the sweep resumes."""
    disk = tmp_path / "disk"
    mounted(disk, "-o", f"size={size}")
    try:
        out = disk / "out"
        more = ("runtime.checkpoint_every_s=0.05", "fit.n_bootstrap=50", "fit.require=[]")
        full = sweep_on(tmp_path, out, *more)
        said = full.stdout + full.stderr
        assert full.returncode == 2 and full.stderr.count("\n") == 1, said
        assert "make room, and the same command goes on" in full.stderr
        assert not list(out.glob("trials/*/record.json")), said
        assert "Traceback" not in said and "No space left on device" in said
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
        again = sweep_on(tmp_path, out, *more)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "4 planned = 4 done" in again.stdout
    finally:
        subprocess.run(["umount", str(disk)], check=True)
