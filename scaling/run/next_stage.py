"""From one plan of a sweep to the next: another stage, or more sizes for open IsoFLOP curves."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scaling.plan.stages import add_outer_sizes, next_plan, requested_ids
from scaling.plan.warnings import left_out
from scaling.run import store, trial_states
from scaling.run.store import StoredPlan
from scaling.run.trial_states import TrialState
from training.trial.record import RunRecord


def next_stage(out: Path, stored: StoredPlan, states: Sequence[TrialState]) -> StoredPlan | None:
    """The plan of the next stage, put in place unless another worker did; None where none follows.

    Every worker makes the same plan of the same records, so it does not matter whose is there.
    """
    following = next_plan(stored.plan, _records(states))
    if following is None:
        return None
    there = store.read_plan(out)
    if there.plan != stored.plan:
        return there
    for note in following.learned.notes[len(stored.plan.learned.notes) :]:
        print(note)
    skipped = left_out(following)
    if skipped and following.left_out != stored.plan.left_out:
        print(skipped)
    new = len(following.trials) - len(stored.plan.trials)
    print(f"{following.stage} stage: {new} trials more", flush=True)
    asked = requested_ids(following)
    stale = tuple(name for name in stored.stale if name not in asked)
    placed = replace(stored, plan=following, stale=stale)
    store.replace_plan(out, placed)
    return placed


def extend_open_curves(out: Path, stored: StoredPlan) -> StoredPlan:
    """The plan with sizes added to open IsoFLOP curves; prints what was added, or why nothing."""
    if stored.plan.stage != "grid":
        print(
            f"extend: the {stored.plan.stage} stage comes first; the grid has no IsoFLOP curve yet"
        )
        return stored
    plan, notes = add_outer_sizes(stored.plan, _records(trial_states.read_states(out, stored.plan)))
    for note in notes or ["every IsoFLOP curve that has ended has a minimum; nothing to add"]:
        print(f"extend: {note}", flush=True)
    if plan == stored.plan:
        return stored
    placed = replace(stored, plan=plan)
    store.replace_plan(out, placed)
    return placed


def _records(states: Sequence[TrialState]) -> dict[str, RunRecord]:
    return {state.trial.id: state.record for state in states if state.record}
