"""Sweep directories of one setting united in a new one: trials by id, the better end of each.

python -m scaling.run.store merge A B [...] out=C

A and B stay as they are. C appears whole or not at all: it is built beside its place and renamed.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from configs.errors import BadInput, ExitStatus
from configs.files import whole_folder, write_atomic
from configs.load import build
from scaling.fit.sweeps import write_runs_csv
from scaling.plan.grid import Trial, united
from scaling.run import deaths, store
from scaling.run.progress import count_line, name
from scaling.run.store import StoredPlan, TrialState
from training.attempt import Watch, attempts
from training.config import TrainConfig, trial_id
from training.record import RunRecord
from training.trial import NAME as CONFIG

_DECIDE_BITS = ("torch", "device", "world_size", "threads")


@dataclass(frozen=True)
class Difference:
    """A trial that is done in two directories with different weights; `kept` is the first's."""

    trial: Trial
    kept: tuple[Path, RunRecord]
    other: tuple[Path, RunRecord]

    def __str__(self) -> str:
        ends = [
            f"loss {record.loss:.6g}, weights {record.weights_digest}, in {out}"
            for out, record in (self.kept, self.other)
        ]
        one, two = self.kept[1], self.other[1]
        fields = [f for f in _DECIDE_BITS if getattr(one, f) != getattr(two, f)]
        why = f"{', '.join(fields)} differ, which changes the last bits"
        if not fields:
            why = "one was resumed elsewhere or is of a GPU, which changes the last bits"
            if one.bitwise and two.bitwise:
                why = "on equal machines the bits should be equal: look into it"
        return f"{self.trial.id}  {name(self.trial)}: kept {ends[0]}; not {ends[1]} ({why})"


def merge(sources: Sequence[Path], out: Path) -> tuple[StoredPlan, list[Difference]]:
    """Unite `sources` in the new folder `out`; the plan there, and what two of them disagree about.

    A trial that is done anywhere is done; else the first record that there is counts; a trial
    without one keeps the attempts of the directory that saved the most steps, owned by nobody.
    Raises BadInput, with nothing left at `out`, for another setting or other data, for a record
    that is not its trial's, for a trial that is being trained, and where `out` exists.
    """
    if out.exists() or out.is_symlink():
        raise BadInput(f"out: {out}: found something there, expected a new folder; choose another")
    plans = [store.read_plan(source) for source in sources]
    for source, stored in zip(sources[1:], plans[1:], strict=True):
        _require_same_study(sources[0], plans[0], source, stored)
    merged = _unite(plans)
    states = {
        source: {state.trial.id: state for state in _verified_states(source, stored)}
        for source, stored in zip(sources, plans, strict=True)
    }
    differences = []
    try:
        with whole_folder(out) as building:
            for trial in merged.plan.trials:
                there = [(s, found[trial.id]) for s, found in states.items() if trial.id in found]
                source, state = _best(there)
                _copy(store.trial_folder(source, trial), store.trial_folder(building, trial), state)
                differences += _differences(trial, there)
            store.place_plan(building, merged, extend=False)
            write_runs_csv(building)
    except OSError as error:
        raise BadInput(f"out: {error.filename or out}: {error.strerror or error}") from None
    except shutil.Error as error:
        raise BadInput(f"out: {out}: {error.args[0][0][-1]}") from None
    return merged, differences


def _require_same_study(first: Path, one: StoredPlan, source: Path, other: StoredPlan) -> None:
    try:
        store.check_setting(first, one, other.plan.base)
    except BadInput as error:
        raise BadInput(f"{source}: {error}") from None
    if one.data_digest != other.data_digest:
        raise BadInput(
            f"{source / store.PLAN}: data_digest: found {other.data_digest}, expected "
            f"{one.data_digest} as in {first}; runs on other data belong to no common fit"
        )
    if one.plan.stage == other.plan.stage == "grid" and _factors(one) != _factors(other):
        raise BadInput(
            f"{source / store.PLAN}: learned: its tuning multiplies rate and batch by "
            f"{_factors(other)}, that of {first} by {_factors(one)}; their runs belong to no "
            "common fit"
        )


def _factors(stored: StoredPlan) -> tuple[float, float]:
    return stored.plan.learned.lr_factor, stored.plan.learned.batch_factor


def _unite(plans: Sequence[StoredPlan]) -> StoredPlan:
    """All trials in one running order; stale is what no directory asks for any more."""
    plan = united(plans[0].plan, (trial for one in plans[1:] for trial in one.plan.trials))
    asked = {t.id for stored in plans for t in stored.plan.trials if t.id not in stored.stale}
    left_out = {
        (cell.flops_budget, cell.n_layer, cell.n_embd): cell
        for stored in reversed(plans)
        for cell in stored.plan.left_out
    }
    return replace(
        plans[0],
        plan=replace(plan, left_out=tuple(left_out.values())),
        stale=tuple(trial.id for trial in plan.trials if trial.id not in asked),
    )


def _verified_states(source: Path, stored: StoredPlan) -> Sequence[TrialState]:
    """The states of a directory, each record and config.yaml checked against its trial."""
    states = store.read_states(source, stored.plan, Watch())
    for state in states:
        folder = store.trial_folder(source, state.trial)
        if state.record is None:
            held = attempts(folder)[-1:] if state.state == "running" else []
            if any(busy and busy.certain for busy in map(Watch().holder, held)):
                raise BadInput(f"{folder}: is being trained by {state.owner}; wait, or stop it")
            continue
        if state.record.data_digest not in (None, stored.data_digest):
            raise BadInput(
                f"{folder / 'record.json'}: data_digest: found {state.record.data_digest}, "
                f"expected {stored.data_digest} of the sweep"
            )
        if (folder / CONFIG).exists() and _config_id(folder / CONFIG) != state.trial.id:
            raise BadInput(f"{folder / CONFIG}: found another trial, expected {state.trial.id}")
    return states


def _config_id(path: Path) -> str | None:
    try:
        values: Any = yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return None
    return trial_id(build(TrainConfig, values, str(path)))


def _best(there: Sequence[tuple[Path, TrialState]]) -> tuple[Path, TrialState]:
    """The first that is done, else the first with a record, else the furthest attempt."""

    def rank(item: tuple[Path, TrialState]) -> tuple[bool, bool, int]:
        source, state = item
        is_done, has_ended = state.state == "done", state.record is not None
        saved = (
            0 if has_ended else deaths.newest_saved_step(store.trial_folder(source, state.trial))
        )
        return is_done, has_ended, saved

    return max(there, key=rank)  # the first of equals


def _copy(source: Path, target: Path, state: TrialState) -> None:
    if not source.exists():
        return
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(".*"))
    if state.record is None:
        for attempt in attempts(target)[-1:]:
            write_atomic(attempt / "released", "")


def _differences(trial: Trial, there: Sequence[tuple[Path, TrialState]]) -> list[Difference]:
    done = [(s, state.record) for s, state in there if state.record and state.state == "done"]
    return [
        Difference(trial, done[0], other)
        for other in done[1:]
        if other[1].weights_digest != done[0][1].weights_digest
    ]


def main(words: Sequence[str]) -> int:
    """`merge A B [...] out=C`, as typed; says what C holds."""
    named = dict(word.split("=", 1) for word in words if word.startswith("out="))
    sources = [Path(word) for word in words[1:] if not word.startswith("out=")]
    if words[:1] != ["merge"] or len(sources) < 2 or not named.get("out"):
        raise BadInput(f"found {' '.join(words)!r}, expected merge A B [...] out=C")
    out = Path(named["out"])
    united, differences = merge(sources, out)
    for difference in differences:
        print(difference)
    states = store.read_states(out, united.plan)
    print(f"{out}: {count_line(store.count_states(states))}")
    if differences:
        print(f"{len(differences)} trials were done twice with different weights; the first kept")
    return ExitStatus.DONE
