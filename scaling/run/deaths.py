"""Deaths of training processes: what killed them, and how often in vain; torch-free.

A death is noted in the attempt that died, as death.json {reason, step}, where `step` is the newest
that any attempt had saved by then.
"""

import signal
from pathlib import Path

from configs.files import read_json, to_json, write_atomic
from training.attempt import RECORD, Attempt, attempts

NAME = "death.json"
_LONGEST = 200


def note(attempt: Attempt, status: int) -> str:
    """Write down the death of an attempt's process by its exit status; returns the reason."""
    reason = f"{_cause(status)}; last line of its log: {_last_line(attempt.folder / 'log.txt')}"
    step = newest_saved_step(attempt.trial)
    write_atomic(attempt.folder / NAME, to_json({"reason": reason, "step": step}))
    return reason


def fruitless(trial: Path) -> int:
    """Deaths in a row, up to the newest, by which no step beyond all earlier ones was saved.

    Only deaths that a worker saw count: an attempt that fell with its worker says nothing about
    the trial. A retry (a record moved into its attempt) begins a new count.
    """
    furthest, deaths = 0, 0
    for attempt in attempts(trial):
        if (attempt / NAME).exists():
            step = int(read_json(attempt / NAME)["step"])
            deaths = 0 if step > furthest else deaths + 1
            furthest = max(furthest, step)
        if (attempt / RECORD).exists():
            deaths = 0
    return deaths


def _cause(status: int) -> str:
    if status >= 0:
        return f"its process ended with status {status} and no record"
    name = signal.Signals(-status).name
    hint = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
    return f"its process was killed by {name}{hint}"


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
    return max((int(path.name.removeprefix("step-")) for path in checkpoints), default=0)
