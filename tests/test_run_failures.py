"""Crashes count while no new step is saved."""

import time

import pytest

from scaling.run import failures
from scaling.run.workers.processes import DEVICE_FAULT, RECORDED
from training.trial.attempt import Watch, attempts, claim


def test_crashes_without_progress_count_until_new_step(tmp_path):
    """Deaths count until a new step is saved."""
    trial = tmp_path / "trial"

    def die(saved_step: int | None) -> int:
        attempt = claim(trial, Watch())
        if saved_step is not None:
            (attempt.checkpoints / f"step-{saved_step:08d}").mkdir(parents=True)
        reason = failures.record_crash(attempt, -9)
        assert "SIGKILL" in reason
        attempt.release()
        return failures.crashes_without_progress(trial)

    assert [die(step) for step in (None, None, 3, None, 3, 7, None)] == [1, 2, 0, 1, 2, 0, 1]
    (attempts(trial)[-1] / "record.json").write_text("{}")  # a retry
    assert failures.crashes_without_progress(trial) == 0
    assert die(None) == 1


def test_a_damaged_note_of_a_crash_still_counts_as_one(tmp_path):
    """Whatever became of the note, the attempt ended by a crash; and a copy has no step."""
    attempt = claim(tmp_path / "trial", Watch())
    (attempt.checkpoints / "step-00000003.copy").mkdir(parents=True)
    failures.record_crash(attempt, -9)
    for content in ("", "[]", "{}", '{"step": null}', '{"step": "x"}'):
        (attempt.folder / failures.CRASH).write_text(content)
        assert failures.crashes_without_progress(attempt.trial) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (-9, "killed by SIGKILL, as the kernel does when memory runs out"),
        (-15, "killed by SIGTERM"),
        (-40, "killed by signal 40"),  # a real-time signal, which has no name
        (7, "exited with status 7"),
    ],
)
def test_record_crash_names_what_ended_the_process(tmp_path, status, words):
    reason = failures.record_crash(claim(tmp_path / "trial", Watch()), status)
    assert reason.startswith(f"process {words}")


def test_device_faults_count_in_a_row_and_once_for_all_that_trained_there():
    """Two in a row take a device out; a success begins anew, and neighbours fall by one fault."""
    faults = failures.DeviceFaults()
    start = time.monotonic()
    for _ in range(4):  # packed on one GPU
        assert faults.count("0", start, DEVICE_FAULT) == ""
    assert faults.count("0", time.monotonic(), RECORDED) == ""
    assert faults.count("0", time.monotonic(), DEVICE_FAULT) == ""
    assert faults.count("1", time.monotonic(), DEVICE_FAULT) == "" and not faults.is_out("0")
    line = "GPU 0 is out of service here after 2 faults in a row"
    assert faults.count("0", time.monotonic(), DEVICE_FAULT) == line
    assert faults.is_out("0") and not faults.is_out("1")
    for _ in range(3):  # cores have no name, and others are left
        assert faults.count("", time.monotonic(), DEVICE_FAULT) == ""
