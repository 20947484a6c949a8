"""The state of every trial of a sweep, read from its folder alone, and retrying; torch-free."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from common.errors import BadInput
from scaling.plan.plan import Plan, Trial
from training.trial.attempt import RECORD, Claimed, Watch, attempts
from training.trial.record import (
    DAMAGED,
    RETRIABLE,
    DamagedRecord,
    RunRecord,
    read_record,
    set_aside,
    set_damaged_aside,
)

State = Literal["waiting", "running", "done", "diverged", "oom", "failed"]
STATES: tuple[State, ...] = ("done", "diverged", "oom", "failed", "running", "waiting")

MOST_DAMAGED = 3  # records of one trial


@dataclass(frozen=True)
class TrialState:
    """What the files say about one trial; `owner` is host:pid of whoever runs it.

    `damage` says why a record that is there counts as none.
    """

    trial: Trial
    state: State
    attempts: int
    owner: str | None
    record: RunRecord | None
    damage: str | None = None


def trial_folder(out: Path, trial: Trial) -> Path:
    """trials/<id>."""
    return out / "trials" / trial.id


def read_states(out: Path, plan: Plan, watch: Watch | None = None) -> tuple[TrialState, ...]:
    """The state of every planned trial, in the plan's order.

    An owner on another machine counts as alive until `watch` has seen it silent for its lease.
    """
    watch = watch or Watch()
    return tuple(_read_state(trial, trial_folder(out, trial), watch) for trial in plan.trials)


def count_states(states: Sequence[TrialState]) -> dict[str, int]:
    """How many trials are planned, and how many of them are in each state; the sum holds."""
    found = Counter(state.state for state in states)
    return {"planned": len(states), **{name: found[name] for name in STATES}}


def retry(out: Path, plan: Plan, kinds: Sequence[str]) -> tuple[str, ...]:
    """Let trials that ended as one of `kinds` run again; returns their ids.

    Each record moves into the attempt that wrote it, so that nothing is lost.
    """
    for kind in kinds:
        if kind not in RETRIABLE:
            raise BadInput(f"retry: found {kind!r}, expected {' or '.join(RETRIABLE)}")
    return tuple(
        state.trial.id
        for state in read_states(out, plan)
        if state.record
        and state.record.status in kinds
        and set_aside(trial_folder(out, state.trial), state.record)
    )


def read_or_set_aside(folder: Path) -> tuple[RunRecord | None, str]:
    """The record of a trial's folder; one that is damaged is set aside, and a note says so.

    The trial can then be claimed again. DamagedRecord where that has happened MOST_DAMAGED times: a
    disk that damages records again and again is not to be trained on for ever.
    """
    try:
        return read_record(folder), ""
    except DamagedRecord:
        if sum((path / DAMAGED).exists() for path in attempts(folder)) >= MOST_DAMAGED - 1:
            raise
        return None, set_damaged_aside(folder) or "its record was damaged, and is set aside"


def _read_state(trial: Trial, folder: Path, watch: Watch) -> TrialState:
    tried = attempts(folder)
    try:
        record = read_record(folder)
    except DamagedRecord as error:  # the attempt that wrote it has ended
        return TrialState(trial, "waiting", len(tried), None, None, str(error))
    if record:
        if record.id != trial.id:
            raise BadInput(f"{folder / RECORD}: id: found {record.id}, expected {trial.id}")
        return TrialState(trial, record.status, len(tried), None, record)
    owner: Claimed | None = watch.owner(tried[-1]) if tried else None
    if (folder / RECORD).exists():  # it ended between the two looks
        return _read_state(trial, folder, watch)
    state: State = "running" if owner else "waiting"
    return TrialState(trial, state, len(tried), owner.owner if owner else None, None)
