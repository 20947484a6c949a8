"""A sweep directory: its plan, and the state of every trial, from its files alone; torch-free.

    plan.json                   what is to be run; made once, extended only on request
    trials/<id>/config.yaml     the trial, complete
    trials/<id>/attempt-NNN/    who trains it (training/attempt.py); see also deaths.py
    trials/<id>/record.json     how it ended, written once
    runs.csv, fit/              derived

There is no other memory of a sweep: what these files say is what any worker, anywhere, acts on.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from configs.errors import BadInput
from configs.files import read_json, to_json, write_atomic, write_once
from configs.load import build, exit_status
from scaling.plan.grid import Plan, Trial, plan_from_json, plan_to_json, united
from scaling.plan.stages import is_request_of
from scaling.run.config import LauncherConfig
from training.attempt import RECORD, Busy, Watch, attempts
from training.config import TrainConfig, as_mapping, setting_digest
from training.record import RETRIABLE, RunRecord, read_record, set_aside
from training.trial import NAME as CONFIG

State = Literal["waiting", "running", "done", "diverged", "oom", "failed"]
STATES: tuple[State, ...] = ("done", "diverged", "oom", "failed", "running", "waiting")

PLAN = "plan.json"


@dataclass(frozen=True)
class StoredPlan:
    """plan.json. `data_digest` is that of the prepared data (its manifest); `stale` are ids of
    trials that the grid asked for last no longer has: they stay planned, and are fitted. `fit` is
    what the sweep changes of fit.yaml.
    """

    plan: Plan
    data_digest: str
    launcher: LauncherConfig
    stale: tuple[str, ...] = ()
    fit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TrialState:
    """What the files say about one trial; `owner` is host:pid of whoever runs it."""

    trial: Trial
    state: State
    attempts: int
    owner: str | None
    record: RunRecord | None


def trial_folder(out: Path, trial: Trial) -> Path:
    """trials/<id>."""
    return out / "trials" / trial.id


def has_plan(out: Path) -> bool:
    """Whether `out` is a sweep directory; BadInput where it can never be one."""
    _require_folder(out)
    return (out / PLAN).exists()


def read_plan(out: Path) -> StoredPlan:
    """plan.json of `out`; BadInput where there is none, or it is damaged, edited or of newer code.

    A trial's id digests its config, so that no trial can be read otherwise than it was planned.
    """
    path = out / PLAN
    _require_folder(out)
    try:
        version = path.stat()
    except OSError as error:
        raise BadInput(f"{path}: {_not_there(error)}") from None
    return _read_plan(path, version.st_ino, version.st_mtime_ns, version.st_size)


@lru_cache(maxsize=1)
def _read_plan(path: Path, *version: int) -> StoredPlan:
    """Once a version: thousands of trials take a second, and a watcher asks again and again."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: found no mapping, expected a plan")
    own = {key: values.pop(key, None) for key in ("data_digest", "launcher", "stale", "fit")}
    with _naming(path):
        plan = plan_from_json(values)
        launcher = build(LauncherConfig, own["launcher"], "launcher")
        if not isinstance(own["data_digest"], str):
            raise BadInput(f"data_digest: found {own['data_digest']!r}, expected text")
        if plan.setting != setting_digest(plan.base):
            raise BadInput(f"setting: found {plan.setting}, expected {setting_digest(plan.base)}")
        stale = own["stale"] or []
        if not isinstance(stale, list) or any(name not in _ids(plan) for name in stale):
            raise BadInput("stale: names a trial that is not among trials")
        fit = own["fit"] or {}
        if not isinstance(fit, dict):
            raise BadInput(f"fit: found {fit!r}, expected fields of fit.yaml")
    return StoredPlan(plan, own["data_digest"], launcher, tuple(stale), fit)


def place_plan(out: Path, asked: StoredPlan, extend: bool) -> StoredPlan:
    """Make plan.json, or find that it is there; the stored plan is what counts.

    With `extend` another grid of the same setting and data is united with the stored one, trial by
    trial and by id. Raises BadInput for another setting, other data, or another grid without it.
    """
    _require_folder(out)
    try:
        if write_once(out / PLAN, _text(asked)):
            return asked
    except OSError as error:
        raise BadInput(f"out: {out}: {error.strerror}; it must be a folder to write in") from None
    stored = read_plan(out)
    check_setting(out, stored, asked.plan.base)
    check_data(out, stored, asked.data_digest)
    if not asks_for_more(out, stored, asked.plan, extend):
        return stored
    both = _unite(stored, asked)
    replace_plan(out, both)
    return both


def replace_plan(out: Path, stored: StoredPlan) -> None:
    """Put another plan in the place of the one that is there."""
    write_atomic(out / PLAN, _text(stored))


def check_setting(out: Path, stored: StoredPlan, base: TrainConfig) -> None:
    """Refuse to put another setting into a sweep directory."""
    if stored.plan.setting != setting_digest(base):
        field, old, new = _first_difference(stored.plan.base, base)
        raise BadInput(
            f"{out / PLAN}: {field}: found {new!r}, and this sweep has {old!r}; runs of two "
            "settings belong to no common fit: choose another out"
        )


def asks_for_more(out: Path, stored: StoredPlan, asked: Plan, extend: bool) -> bool:
    """Whether `asked` is another grid than the stored one; BadInput if so without `extend`."""
    if is_request_of(stored.plan, asked.base, asked.grid):
        return False
    if stored.plan.stage != "grid":
        raise BadInput(
            f"{out / PLAN}: found another grid, and the stage {stored.plan.stage} of this one has "
            "not ended; end it with the command that began it, then use extend=true, or choose "
            "another out"
        )
    here = _ids(asked)
    # What early stages ran is asked for by none but them, and is never stale.
    there = {t.id for t in stored.plan.trials if t.id in here or t.arm not in ("scout", "tuning")}
    if here in (there, there - set(stored.stale)):
        return False
    if not extend:
        raise BadInput(
            f"{out / PLAN}: found another grid: {len(here - there)} trials are new and "
            f"{len(there - here)} no longer asked for; extend=true unites both, or choose "
            "another out"
        )
    return True


def check_data(out: Path, stored: StoredPlan, data_digest: str) -> None:
    """Refuse to train on other data than the sweep's, on whatever machine."""
    if data_digest != stored.data_digest:
        raise BadInput(
            f"{out / PLAN}: data_digest: the data prepared here has {data_digest}, this sweep has "
            f"{stored.data_digest}; train on the same files (or the same Python, for source "
            "python), or choose another out"
        )


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
    again = []
    for trial in plan.trials:
        folder = trial_folder(out, trial)
        record = read_record(folder)
        if record and record.status in kinds and set_aside(folder, record):
            again.append(trial.id)
    return tuple(again)


def sign_of_life(out: Path, trial: Trial) -> str:
    """The newest attempt and its heartbeat, as text that changes while an owner lives."""
    newest = attempts(trial_folder(out, trial))[-1:]
    with suppress(FileNotFoundError):
        return "".join(f"{folder.name} {(folder / 'heartbeat').read_text()}" for folder in newest)
    return ""


def _read_state(trial: Trial, folder: Path, watch: Watch) -> TrialState:
    record = read_record(folder)
    tried = attempts(folder)
    if record:
        if record.id != trial.id:
            raise BadInput(f"{folder / RECORD}: id: found {record.id}, expected {trial.id}")
        return TrialState(trial, record.status, len(tried), None, record)
    owner: Busy | None = watch.holder(tried[-1]) if tried else None
    if (folder / RECORD).exists():  # it ended between the two looks
        return _read_state(trial, folder, watch)
    return TrialState(
        trial, "running" if owner else "waiting", len(tried), owner.owner if owner else None, None
    )


def _unite(stored: StoredPlan, asked: StoredPlan) -> StoredPlan:
    plan = united(asked.plan, stored.plan.trials)
    early = {trial.id for trial in plan.trials if trial.arm in ("scout", "tuning")}
    kept = _ids(asked.plan) | early
    stale = tuple(trial.id for trial in plan.trials if trial.id not in kept)
    return replace(asked, plan=plan, stale=stale)


def _not_there(error: OSError) -> str:
    return "not found" if isinstance(error, FileNotFoundError) else str(error.strerror)


def _require_folder(out: Path) -> None:
    try:
        for folder in (out, out / "trials", out / "fit"):
            if folder.exists() and not folder.is_dir():
                raise BadInput(f"out: {folder}: found a file, expected a folder")
        if (out / CONFIG).exists() or (out / RECORD).exists():
            raise BadInput(f"out: {out} holds a single run of train.py; choose another out")
    except OSError as error:  # a name too long, or forbidden
        raise BadInput(f"out: {out}: {error.strerror}") from None


def _ids(plan: Plan) -> set[str]:
    return {trial.id for trial in plan.trials}


def _text(stored: StoredPlan) -> str:
    return to_json(
        {
            **plan_to_json(stored.plan),
            "data_digest": stored.data_digest,
            "launcher": as_mapping(stored.launcher),
            "stale": list(stored.stale),
            "fit": stored.fit,
        }
    )


def _first_difference(old: TrainConfig, new: TrainConfig) -> tuple[str, Any, Any]:
    """The first field, by its dotted name, in which two settings differ."""
    for group in ("data", "evaluation", "model"):
        before, after = as_mapping(old)[group], as_mapping(new)[group]
        shared = ("block_size", "vocab_size") if group == "model" else tuple(before)
        for name in shared:
            if before[name] != after[name]:
                return f"{group}.{name}", before[name], after[name]
    return "setting", "another digest", "this one"


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's path into a complaint about its content."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{path}: {re.sub(r'^plan.json[:.] ?', '', str(error))}") from None


if __name__ == "__main__":
    from scaling.run import merge

    sys.exit(exit_status(lambda: merge.main(sys.argv[1:])))
