"""What a trial that has ended needs no more, and who removes it."""

from collections.abc import Sequence
from pathlib import Path

from configs.files import write_atomic
from scaling.run import store
from training.attempt import Watch, attempts, remove_checkpoints

KEPT = "kept"


def finish(folder: Path, keep: bool) -> None:
    """Delete the checkpoints of a trial that is done, or note that they are to stay."""
    if keep:
        write_atomic(attempts(folder)[-1] / KEPT, "")
        return
    remove_checkpoints(folder)


def tidy(out: Path, states: Sequence[store.TrialState], watch: Watch) -> None:
    """Remove from trials that ended what a worker, killed between two acts, left of them."""
    for state in states:
        folder = store.trial_folder(out, state.trial)
        tried = attempts(folder)
        if state.record is None or not tried or watch.holder(tried[-1]):
            continue
        for path in (*folder.glob(".*.tmp"), *folder.glob("attempt-*/.*.tmp")):
            path.unlink(missing_ok=True)
        if state.state == "done" and not (tried[-1] / KEPT).exists():
            finish(folder, keep=False)
