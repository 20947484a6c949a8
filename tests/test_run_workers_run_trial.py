"""What a trial's process needs, and what it does about errors."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from common.errors import REFUSED, BadInput
from scaling.run import trial_states
from scaling.run.failures import CRASH
from scaling.run.workers import run_trial
from tests.support.tiny_sweep import done_record, pretended_plan, work
from tests.support.tiny_training import write_text
from training.device.choose import NoSuchGPU
from training.trial.record import publish, read_record

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(6))


def test_warm_up_leaves_one_thread(tmp_path):
    """A fork copies the locks of other threads, held for ever; so the parent must have none."""
    code = (
        "import os, sweep\n"
        "from scaling.run.workers import run_trial\n"
        "run_trial.warm_up()\n"
        "print(len(os.listdir('/proc/self/task')))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.stdout.strip() == "1", result.stderr


def test_warm_up_imports_what_trials_need(tmp_path):
    """What a forked child imports it imports anew for every trial."""
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "from pathlib import Path\n"
        "from tests.support.tiny_training import prepared_config, train_once\n"
        "from scaling.run.workers import run_trial\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "run_trial.warm_up()\n"
        "before = set(sys.modules)\n"
        "train_once(prepared_config(folder), folder / 'trial')\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) < 20, result.stdout


@pytest.mark.parametrize(("number", "status"), [(3, "done"), (9, "failed")])
def test_run_task_retries_error_of_system(tmp_path, monkeypatch, number, status):
    """A disk that is away until attempt `number`."""
    plan = planned(tmp_path)
    record = until(tmp_path, monkeypatch, plan, number, OSError(errno.EIO, os.strerror(errno.EIO)))
    assert (record.status, record.attempts) == (status, 3)
    assert status == "done" or "Input/output error" in record.reason


def test_run_task_retries_a_fault_of_the_device_and_no_fault_of_a_program(tmp_path, monkeypatch):
    """A GPU's fault is a crash that passes in a new process; an assert on it is the trial's end."""
    plan = planned(tmp_path)
    fault = torch.AcceleratorError("CUDA error: unspecified launch failure\nCompile with ...")
    record = until(tmp_path / "fault", monkeypatch, plan, 3, fault)
    assert (record.status, record.attempts) == ("done", 3)
    note = trial_states.trial_folder(tmp_path / "fault", plan.trials[0]) / "attempt-001" / CRASH
    assert json.loads(note.read_text())["reason"] == (
        "a fault of the device, not of the trial; last line of its log: AcceleratorError: CUDA "
        "error: unspecified launch failure"
    )
    gone = NoSuchGPU("runtime.device: found 0 GPUs, expected at least 1")
    assert until(tmp_path / "gone", monkeypatch, plan, 3, gone).status == "done"
    bug = torch.AcceleratorError("CUDA error: device-side assert triggered")
    record = until(tmp_path / "bug", monkeypatch, plan, 3, bug)
    assert (record.status, record.attempts) == ("failed", 1)
    assert "device-side assert" in record.reason


def planned(folder):
    """One trial, whose data are there."""
    write_text(folder / "text")
    return pretended_plan(folder, [0])


def wrapped(error: Exception) -> Exception:
    """As a library reports it."""
    failure = RuntimeError("unexpected pos 704 vs 662")
    failure.__cause__ = error
    return failure


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        wrapped(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
        BadInput(f"step-00000009: no; {REFUSED} 3 times in a row"),
        RuntimeError(f"rank 0, after step 9: step-00000009: no; {REFUSED} 3 times in a row"),
    ],
)
def test_run_task_never_takes_a_full_disk_for_the_end_of_a_trial(tmp_path, monkeypatch, error):
    """Full for a moment the trial goes on; for long the sweep ends, and the next one does it."""
    plan = planned(tmp_path)
    assert until(tmp_path / "moment", monkeypatch, plan, 3, error).status == "done"
    for _ in range(2):
        with pytest.raises(BadInput, match="the disk is full; make room, and the same command"):
            until(tmp_path / "long", monkeypatch, plan, 99, error)
        assert read_record(trial_states.trial_folder(tmp_path / "long", plan.trials[0])) is None
    assert until(tmp_path / "long", monkeypatch, plan, 7, error).status == "done"


def until(out, monkeypatch, plan, number: int, error: Exception):
    """The record of a trial whose attempts before `number` end with an error."""

    def train(config, attempt, ranks, *_, **options):
        if attempt.number < number:
            raise error
        record = done_record(config, attempt.number)
        publish(attempt, record)
        return record

    run_trial.warm_up()
    monkeypatch.setattr("training.loop.train_and_publish", train)
    work(out, plan, run_trial.run_task)
    return read_record(trial_states.trial_folder(out, plan.trials[0]))
