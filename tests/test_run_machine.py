"""How a machine is divided into slots; GPUs are pretended by an nvidia-smi of the test's own."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_sweep import LAUNCHER
from tiny_training import tiny_config

from configs.errors import BadInput
from scaling.run import machine
from scaling.run.machine import this_machine

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def runtime(tmp_path):
    return replace(tiny_config(tmp_path).runtime, device="auto", threads=None)


@pytest.fixture
def four_gpus(tmp_path, monkeypatch):
    tool = tmp_path / "bin" / "nvidia-smi"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nprintf '0\\n1\\n2\\n3\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "usable_cores", lambda: 16)


def devices(found) -> list[str]:
    slots = found.slots(Path("cache"))
    return [slot._environment["CUDA_VISIBLE_DEVICES"] for slot in slots]


def test_a_core_a_trial_and_a_thread_a_trial(runtime, monkeypatch):
    monkeypatch.setattr(machine, "visible_gpus", lambda: ())
    monkeypatch.setattr(machine, "usable_cores", lambda: 6)
    found = this_machine(runtime, replace(LAUNCHER, devices=None))
    assert (found.n_slots, found.runtime.threads, found.runtime.device) == (6, 1, "cpu")
    assert found.forks == (sys.platform == "linux")
    two_threads = this_machine(replace(runtime, threads=2), replace(LAUNCHER, devices=None))
    assert two_threads.n_slots == 3
    two_ranks = this_machine(runtime, replace(LAUNCHER, devices=None, devices_per_trial=2))
    assert two_ranks.n_slots == 3 and not two_ranks.forks


@pytest.mark.parametrize(
    ("changes", "expected", "threads"),
    [
        ({}, ["0", "1", "2", "3"], 4),
        ({"devices": 2}, ["0", "1"], 8),
        ({"devices_per_trial": 2}, ["0,1", "2,3"], 4),
        ({"devices_per_trial": 3, "devices": 3}, ["0,1,2"], 5),
        ({"trials_per_device": 2, "devices": 2}, ["0", "0", "1", "1"], 4),
    ],
)
def test_gpus_are_divided_into_slots(four_gpus, runtime, changes, expected, threads):
    found = this_machine(runtime, replace(LAUNCHER, **{"devices": None} | changes))
    assert devices(found) == expected
    assert found.runtime.device == "cuda" and found.runtime.threads == threads


def test_a_gpu_that_would_be_idle_is_said(four_gpus, runtime):
    with pytest.raises(BadInput, match="^launcher.devices: found 4, .* say launcher.devices=3$"):
        this_machine(runtime, replace(LAUNCHER, devices=None, devices_per_trial=3))


def test_only_allowed_gpus_are_used(four_gpus, runtime, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-5e")
    assert devices(this_machine(runtime, replace(LAUNCHER, devices=None))) == ["2", "GPU-5e"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert this_machine(runtime, LAUNCHER).gpus == ()


@pytest.mark.parametrize("changes", [{"devices": 5}, {"devices_per_trial": 5, "devices": None}])
def test_more_gpus_than_there_are_is_refused(four_gpus, runtime, changes):
    with pytest.raises(BadInput, match="found 5, expected at most 4 GPUs"):
        this_machine(runtime, replace(LAUNCHER, **changes))


def test_who_forks_has_one_thread(tmp_path):
    """A fork copies the locks of other threads, held for ever; so the parent must have none."""
    code = (
        "import os, sweep\n"
        "from scaling.run import execution\n"
        "execution.warm_up()\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "1", result.stderr


def test_a_trial_imports_next_to_nothing_that_its_worker_has_not(tmp_path):
    """What a forked child imports it imports anew for every trial."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from tiny_training import prepared_config, train_once\n"
        "from scaling.run import execution\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "execution.warm_up()\n"
        "before = set(sys.modules)\n"
        "train_once(prepared_config(folder), folder / 'trial')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) < 20, result.stdout


def test_more_trials_at_once_than_a_machine_bears_are_refused(runtime, monkeypatch):
    monkeypatch.setattr(machine, "visible_gpus", lambda: ())
    with pytest.raises(BadInput, match="launcher.devices: found 1000 x 1 trials at once"):
        this_machine(runtime, replace(LAUNCHER, devices=1000))
