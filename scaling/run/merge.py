"""Merge sweep directories of one setting into a new one: trials by id, the better end of each.

python -m scaling.run.merge runs/a runs/b out=runs/both
python -m scaling.run.merge runs/a runs/b runs/c out=runs/all     of as many as there are
python -m scaling.run.merge '/shared/x=1' runs/b out=runs/both    a folder's name may have any sign
next: docs/run-on-a-cluster.md

The sweeps stay as they are. `out` appears whole or not at all: it is built beside its place and
renamed.
"""

import common.start  # noqa: F401

# isort: split
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from common.errors import BadInput, ExitStatus
from common.files import to_json, write_atomic
from common.folders import new_folder
from configs.cli import exit_status
from configs.help import asks_for_help, help_of_words
from configs.key_value import read_key_values
from configs.schema import build
from configs.typed_words import refuse_slips
from configs.yaml_check import check_yaml
from scaling.fit.table.sweep_directory import write_runs_csv
from scaling.plan.plan import RuleFactors, StageResults, Trial, merge_plans
from scaling.run import failures, store, trial_states
from scaling.run.progress import count_line, name
from scaling.run.store import StoredPlan
from scaling.run.trial_states import TrialState
from training.config import TrainConfig
from training.trial.attempt import RECORD, Watch, attempts
from training.trial.folder import NAME as CONFIG
from training.trial.folder import config_text, read_config
from training.trial.identity import at_path, trial_id
from training.trial.record import DECIDES_BITS, RunRecord, record_text, set_damaged_aside


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
        fields = [f for f in DECIDES_BITS if getattr(one, f) != getattr(two, f)]
        why = f"{', '.join(fields)} differ, which changes the last bits"
        if not fields:
            why = "one is not bitwise reproducible"
            if one.bitwise and two.bitwise:
                why = "on equal machines the bits should be equal: look into it"
        return f"{self.trial.id}  {name(self.trial)}: kept {ends[0]}; not {ends[1]} ({why})"


def merge(sources: Sequence[Path], out: Path) -> tuple[StoredPlan, list[Difference]]:
    """Merge `sources` into the new folder `out`; returns its plan, and the trials that differ.

    A trial that is done anywhere is done; else the first record counts; a trial without one keeps
    the attempts of the directory that saved the most steps, released by their owner.
    Equal data may have lain elsewhere: their trials are the same, and go by the ids of the first.
    Raises BadInput, with nothing left at `out`, for another setting or other data, for a record
    that is not its trial's, for a trial that is being trained, and where `out` exists.
    """
    plans = [store.read_plan(source) for source in sources]
    for source, stored in zip(sources[1:], plans[1:], strict=True):
        _require_same_study(sources[0], plans[0], source, stored)
    path = plans[0].plan.base.data.path  # of equal data; ids digest where they lie
    merged = _merged([_at_path(stored, path) for stored in plans])
    states = {
        source: {_id_at(state.trial, path): state for state in _verified_states(source, stored)}
        for source, stored in zip(sources, plans, strict=True)
    }
    differences = []
    with new_folder(out) as building:
        for trial in merged.plan.trials:
            found = [(s, of[trial.id]) for s, of in states.items() if trial.id in of]
            source, state = _best(found)
            folder = trial_states.trial_folder(building, trial)
            _copy(trial_states.trial_folder(source, state.trial), folder, state)
            if state.trial.id != trial.id:
                _rename(folder, trial, state.record)
            differences += _differences(trial, found)
        store.store_plan(building, merged, extend=False)
        write_runs_csv(building)
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
    learned = [stored.plan.learned for stored in (one, other)]
    ours, theirs = (_tuned(found) for found in learned)
    if one.plan.stage == other.plan.stage == "grid" and ours != theirs:
        raise BadInput(
            f"{source / store.PLAN}: learned: its tuning multiplies learning rate and batch by "
            f"{theirs}, that of {first} by {ours}; their runs belong to no common fit"
        )


def _tuned(learned: StageResults) -> str:
    """What tuning multiplies learning rate and batch by, of each arm."""
    arms = {f"{name}: ": factors for name, factors in learned.arms.items()}
    found = arms or {"": RuleFactors(learned.lr_factor, learned.batch_factor)}
    return ", ".join(f"{arm}({f.lr_factor}, {f.batch_factor})" for arm, f in found.items())


def _merged(plans: Sequence[StoredPlan]) -> StoredPlan:
    """All trials in one running order; stale is what no directory asks for any more."""
    plan = merge_plans(plans[0].plan, (trial for one in plans[1:] for trial in one.plan.trials))
    asked = {t.id for stored in plans for t in stored.plan.trials if t.id not in stored.stale}
    left_out = {
        (cell.flops_budget, cell.n_layer, cell.n_embd, cell.arm): cell
        for stored in reversed(plans)
        for cell in stored.plan.left_out
    }
    return replace(
        plans[0],
        plan=replace(plan, left_out=tuple(left_out.values())),
        stale=tuple(trial.id for trial in plan.trials if trial.id not in asked),
    )


def _at_path(stored: StoredPlan, path: str | None) -> StoredPlan:
    """The plan of the same trials as if their text lay at `path`."""
    trials = tuple(
        replace(trial, id=_id_at(trial, path), config=at_path(trial.config, path))
        for trial in stored.plan.trials
    )
    renamed = {old.id: new.id for old, new in zip(stored.plan.trials, trials, strict=True)}
    return replace(
        stored,
        plan=replace(stored.plan, trials=trials),
        stale=tuple(renamed[name] for name in stored.stale),
    )


def _id_at(trial: Trial, path: str | None) -> str:
    return trial_id(at_path(trial.config, path))


def _rename(folder: Path, trial: Trial, record: RunRecord | None) -> None:
    """Let a copied trial go by its id in the merged plan."""
    if (folder / CONFIG).exists():
        path = trial.config.data.path
        write_atomic(folder / CONFIG, config_text(at_path(read_config(folder), path)))
    if record is not None:
        renamed = replace(record, id=trial.id, dataset=trial.config.data.name)
        # What had no digest is not to look as if it had been checked.
        text = record_text(renamed) if record.digest else to_json(asdict(renamed))
        write_atomic(folder / RECORD, text)


def _verified_states(source: Path, stored: StoredPlan) -> Sequence[TrialState]:
    """The states of a directory, each record and config.yaml checked against its trial."""
    states = trial_states.read_states(source, stored.plan, Watch())
    for state in states:
        folder = trial_states.trial_folder(source, state.trial)
        if state.record is None:
            held = attempts(folder)[-1:] if state.state == "running" else []
            if any(busy and busy.certain for busy in map(Watch().owner, held)):
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
    check_yaml(path)
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
            0
            if has_ended
            else failures.newest_saved_step(trial_states.trial_folder(source, state.trial))
        )
        return is_done, has_ended, saved

    return max(there, key=rank)  # the first of equals


def _copy(source: Path, target: Path, state: TrialState) -> None:
    if not source.exists():
        return
    shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns(".*"))
    if state.damage:
        set_damaged_aside(target)
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


@dataclass(frozen=True)
class Words:
    """Where the merged sweep goes.

    out  a new folder
    """

    out: str


def main(words: Sequence[str]) -> int:
    """`A B [...] out=C`, as typed; prints the counts of C."""
    if asks_for_help(words):
        print(help_of_words(__doc__ or "", Words))
        return ExitStatus.DONE
    refuse_slips(words, ("out",))
    named = [word for word in words if "=" in word and not Path(word).is_dir()]
    sources = [Path(word) for word in words if word not in named]
    if len(sources) < 2 or not named:
        raise BadInput(f"found {' '.join(words)!r}, expected A B [...] out=C")
    typed = read_key_values(named, Words)
    out = Path(typed.out)
    merged, differences = merge(sources, out)
    for difference in differences:
        print(difference)
    states = trial_states.read_states(out, merged.plan)
    print(f"{out}: {count_line(trial_states.count_states(states))}")
    if differences:
        print(f"{len(differences)} trials were done twice with different weights; the first kept")
    return ExitStatus.DONE


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
