"""Removes what a trial that has ended needs no more."""

from collections.abc import Sequence
from pathlib import Path

from common.files import remove_temporaries, write_atomic
from scaling.run import trial_states
from training.trial.attempt import Watch, attempts, remove_checkpoints, remove_half_written

KEPT = "kept"


def clean_trial(folder: Path, keep: bool) -> None:
    """Delete the checkpoints of a trial that is done, or note that they stay."""
    if keep:
        write_atomic(attempts(folder)[-1] / KEPT, "")
        return
    remove_checkpoints(folder)


def clean_sweep(out: Path, states: Sequence[trial_states.TrialState], watch: Watch) -> None:
    """Remove the leftovers of trials that ended while their worker was killed between two acts.

    What may not be removed, another user's say, stays.
    """
    for folder in (out, out / "fit"):
        remove_temporaries(folder)
    for state in states:
        if state.record is None:  # to be claimed, by whom it is cleaned
            continue
        folder = trial_states.trial_folder(out, state.trial)
        remove_half_written(folder)
        tried = attempts(folder)
        if not tried or watch.owner(tried[-1]):
            continue
        if state.state == "done" and not (tried[-1] / KEPT).exists():
            clean_trial(folder, keep=False)
