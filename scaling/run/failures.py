"""Crashes of training processes: their causes, and how many in a row; torch-free.

A crash is noted in its attempt, as death.json {reason, step}, where `step` is the newest that any
attempt had saved by then.
"""

import time
from collections import Counter
from pathlib import Path

from common.errors import BadInput
from common.files import read_json, to_json, write_atomic
from scaling.run.workers.processes import DEVICE_FAULT, RECORDED
from training.device.process import signal_name
from training.trial.attempt import RECORD, Attempt, attempts

CRASH = "death.json"
MAX_DEVICE_FAULTS = 2  # of one device, in a row
_LONGEST = 200


class DeviceFaults:
    """The faults of this machine's devices, by the names that processes have for them."""

    def __init__(self) -> None:
        self._in_a_row: Counter[str] = Counter()
        self._last_s: dict[str, float] = {}

    def count(self, place: str, started_s: float, status: int) -> str:
        """Count the end of a task that began at `started_s` (monotonic).

        Returns a line if that takes the devices out of service. One fault ends all that trains on a
        device: only what began after the one before counts as another.
        """
        if status == RECORDED:
            self._in_a_row[place] = 0
        if status != DEVICE_FAULT or started_s < self._last_s.get(place, 0.0):
            return ""
        self._in_a_row[place] += 1
        self._last_s[place] = time.monotonic()
        if not self.is_out(place):
            return ""
        return f"GPU {place} is out of service here after {MAX_DEVICE_FAULTS} faults in a row"

    def is_out(self, place: str) -> bool:
        """Whether nothing more is to be started there."""
        return bool(place) and self._in_a_row[place] >= MAX_DEVICE_FAULTS


def record_crash(attempt: Attempt, status: int) -> str:
    """Write down the crash of an attempt's process by its exit status; returns the reason."""
    reason = f"{_cause(status)}; last line of its log: {_last_line(attempt.folder / 'log.txt')}"
    step = newest_saved_step(attempt.trial)
    write_atomic(attempt.folder / CRASH, to_json({"reason": reason, "step": step}))
    return reason


def crashes_without_progress(trial: Path) -> int:
    """Crashes in a row, up to the newest, by which no step beyond all earlier ones was saved.

    Only crashes that a worker saw count: an attempt that ended with its worker says nothing about
    the trial. A retry (a record moved into its attempt) begins a new count.
    """
    furthest, crashes = 0, 0
    for attempt in attempts(trial):
        if (attempt / CRASH).exists():
            step = _saved_step(attempt / CRASH, unknown=furthest)
            crashes = 0 if step > furthest else crashes + 1
            furthest = max(furthest, step)
        if (attempt / RECORD).exists():
            crashes = 0
    return crashes


def _saved_step(note: Path, unknown: int) -> int:
    """The step in a note of a crash; a damaged note still says that there was one."""
    try:
        return int(read_json(note)["step"])
    except (BadInput, KeyError, TypeError, ValueError):
        return unknown


def _cause(status: int) -> str:
    if status == DEVICE_FAULT:
        return "a fault of the device, not of the trial"
    if status >= 0:
        return f"process exited with status {status} without an error report"
    name = signal_name(-status)
    hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
    return f"process killed by {name}{hint}"


def _last_line(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        lines = []
    written = [line.strip() for line in lines if line.strip()]
    return written[-1][:_LONGEST] if written else "(empty)"


def newest_saved_step(trial: Path) -> int:
    """The step of the newest checkpoint of any attempt; 0 without one."""
    checkpoints = [path for folder in attempts(trial) for path in folder.glob("checkpoints/step-*")]
    steps = [path.name.removeprefix("step-") for path in checkpoints]
    return max((int(step) for step in steps if step.isdecimal()), default=0)  # not step-8.copy
