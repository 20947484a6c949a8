"""From one plan of a sweep to the next: another stage, or more sizes where a valley is open."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scaling.plan.stages import asked_by, next_plan, widened
from scaling.run import store
from scaling.run.store import StoredPlan, TrialState
from training.record import RunRecord


def advance(out: Path, stored: StoredPlan, states: Sequence[TrialState]) -> StoredPlan | None:
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
    new = len(following.trials) - len(stored.plan.trials)
    print(f"stage {following.stage}: {new} trials more", flush=True)
    asked = asked_by(following)
    stale = tuple(name for name in stored.stale if name not in asked)
    placed = replace(stored, plan=following, stale=stale)
    store.replace_plan(out, placed)
    return placed


def widen(out: Path, stored: StoredPlan) -> StoredPlan:
    """The plan with sizes added where a valley is open; says what was added, or why nothing."""
    if stored.plan.stage != "grid":
        print(f"extend: the stage {stored.plan.stage} comes first; no valley to look at yet")
        return stored
    plan, notes = widened(stored.plan, _records(store.read_states(out, stored.plan)))
    for note in notes or ["every valley whose runs have ended is bracketed; nothing to add"]:
        print(f"extend: {note}", flush=True)
    if plan == stored.plan:
        return stored
    placed = replace(stored, plan=plan)
    store.replace_plan(out, placed)
    return placed


def _records(states: Sequence[TrialState]) -> dict[str, RunRecord]:
    return {state.trial.id: state.record for state in states if state.record}
