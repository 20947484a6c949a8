"""A sweep directory: what stands where, and its plan; torch-free.

    plan.json                   what is to be run; made once, extended only on request
    trials/<id>/config.yaml     the trial, complete
    trials/<id>/attempt-NNN/    who trains it (training/trial/attempt.py); see also failures.py
    trials/<id>/record.json     how it ended, written once; see trial_states.py
    runs.csv, fit/              derived

There is no other memory of a sweep: what these files say is what any worker, anywhere, acts on.
"""

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from common.errors import BadInput, write_remedy
from common.files import (
    DIGEST,
    read_json,
    require_digest,
    to_json,
    with_digest,
    write_atomic,
    write_once,
)
from configs.schema import build
from scaling.plan.plan import Plan, by_arms_of, merge_plans
from scaling.plan.plan_json import plan_from_json, plan_to_json
from scaling.plan.stages import is_request_of
from scaling.run.config import LauncherConfig
from training.config import TrainConfig, as_mapping
from training.trial.attempt import RECORD
from training.trial.folder import NAME as CONFIG
from training.trial.identity import at_path, first_difference, setting_digest

PLAN = "plan.json"
_REMEDY = "restore it from a copy, or from a new plan of the same grid in another folder"
_NO_SWEEP = "expected a sweep's folder; one begins by experiment= with this out="
_OWN = ("data_digest", "launcher", "stale", "fit", DIGEST)


@dataclass(frozen=True)
class StoredPlan:
    """plan.json: `data_digest` is the prepared data's, `stale` names trials that the grid asked for
    last no longer has: they stay planned, and are fitted; `fit` holds changes of fit.yaml;
    `digest` is that of the whole, None in a plan of an earlier version.
    """

    plan: Plan
    data_digest: str
    launcher: LauncherConfig
    stale: tuple[str, ...] = ()
    fit: dict[str, Any] = field(default_factory=dict)
    digest: str | None = field(default=None, compare=False)


def has_plan(out: Path) -> bool:
    """Whether `out` is a sweep directory; BadInput where it can never be one."""
    _require_folder(out)
    return (out / PLAN).exists()


def read_plan(out: Path) -> StoredPlan:
    """plan.json of `out`; BadInput where there is none, or it is damaged, edited or of newer code.

    A trial's id digests its config, so that no trial can be read otherwise than it was planned.
    """
    path = out / PLAN
    if "\0" in str(out):
        raise BadInput(f"out: found {str(out)!r}, expected a path without a zero character")
    _require_folder(out)
    try:
        version = path.stat()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        reason = f"not found; {_NO_SWEEP}" if missing else error.strerror
        raise BadInput(f"{path}: {reason}") from None
    return _read_plan(path, version.st_ino, version.st_mtime_ns, version.st_size)


@lru_cache(maxsize=1)
def _read_plan(path: Path, *version: int) -> StoredPlan:
    """Once a version: thousands of trials take a second, and a watcher asks again and again."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: found no mapping, expected a plan")
    require_digest(path, values, _REMEDY)
    own = {key: values.pop(key, None) for key in _OWN}
    with _naming(path):
        plan = plan_from_json(values)
        launcher = build(LauncherConfig, own["launcher"], "launcher")
        if not isinstance(own["data_digest"], str):
            raise BadInput(f"data_digest: found {own['data_digest']!r}, expected text")
        if plan.setting != setting_digest(plan.base):
            raise BadInput(f"setting: found {plan.setting}, expected {setting_digest(plan.base)}")
        if not isinstance(stale := own["stale"] or [], list) or any(
            name not in _ids(plan) for name in stale
        ):
            raise BadInput("stale: names a trial that is not among trials")
        if not isinstance(fit := own["fit"] or {}, dict):
            raise BadInput(f"fit: found {fit!r}, expected fields of fit.yaml")
    return StoredPlan(plan, own["data_digest"], launcher, tuple(stale), fit, own[DIGEST])


def store_plan(out: Path, asked: StoredPlan, extend: bool) -> StoredPlan:
    """Make plan.json, or find that it is there; the stored plan is what counts.

    With `extend` another grid of the same setting and data is merged with the stored one, trial by
    trial and by id. Raises BadInput for another setting, other data, or another grid without it.
    """
    _require_folder(out)
    try:
        if write_once(out / PLAN, _text(asked)):
            return asked
    except OSError as error:
        raise BadInput(f"out: {out}: {error.strerror}; {write_remedy(error)}") from None
    stored = read_plan(out)
    check_setting(out, stored, asked.plan.base)
    check_data(out, stored, asked.data_digest)
    if not asks_for_more(out, stored, asked.plan, extend):
        return stored
    both = _merged(stored, asked)
    replace_plan(out, both)
    return both


def replace_plan(out: Path, stored: StoredPlan) -> None:
    """Put another plan in the place of the one that is there."""
    write_atomic(out / PLAN, _text(stored))


def check_setting(out: Path, stored: StoredPlan, base: TrainConfig) -> None:
    """Refuse to put another setting into a sweep directory; the place of the text is none."""
    base = at_path(base, stored.plan.base.data.path)
    if stored.plan.setting != setting_digest(base):
        field, old, new = first_difference(stored.plan.base, base)
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
            f"{out / PLAN}: found another grid, and the {stored.plan.stage} stage of this one has "
            "not ended; end it with the command that began it, then use extend=true, or choose "
            "another out"
        )
    here = _ids(asked)
    # What early stages ran is asked for by none but them, and is never stale.
    there = {t.id for t in stored.plan.trials if t.id in here or t.part not in ("scout", "tuning")}
    is_renamed = list(asked.grid.arms or ()) != list(stored.plan.grid.arms or ())
    if here in (there, there - set(stored.stale)) and not is_renamed:
        return False
    if not extend:
        raise BadInput(
            f"{out / PLAN}: found another grid: {len(here - there)} trials are new and "
            f"{len(there - here)} no longer asked for; extend=true merges both, or choose "
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


def _merged(stored: StoredPlan, asked: StoredPlan) -> StoredPlan:
    plan = merge_plans(asked.plan, by_arms_of(asked.plan.grid, stored.plan))
    early = {trial.id for trial in plan.trials if trial.part in ("scout", "tuning")}
    kept = _ids(asked.plan) | early
    stale = tuple(trial.id for trial in plan.trials if trial.id not in kept)
    return replace(asked, plan=plan, stale=stale)


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
    own = {
        "data_digest": stored.data_digest,
        "launcher": as_mapping(stored.launcher),
        "stale": list(stored.stale),
        "fit": stored.fit,
    }
    return to_json(with_digest({**plan_to_json(stored.plan), **own}))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's path into a complaint about its content."""
    try:
        yield
    except BadInput as error:
        raise BadInput(f"{path}: {re.sub(r'^plan.json[:.] ?', '', str(error))}") from None


if __name__ == "__main__":
    print("this command has moved: python -m scaling.run.merge A B out=C", file=sys.stderr)
    words = sys.argv[2:] if sys.argv[1:2] == ["merge"] else []
    os.execv(sys.executable, [sys.executable, "-m", "scaling.run.merge", *words])
