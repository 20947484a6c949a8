"""When checkpoints are written, and what happens when the disk refuses them."""

import time

from configs.errors import BadInput
from training import checkpoint
from training.attempt import Attempt
from training.journal import Journal
from training.run import Run

MAX_FAILURES = 3


class Saver:
    """Saves a run every `runtime.checkpoint_every_s`; on rank 0 only, elsewhere does nothing."""

    def __init__(self, run: Run, attempt: Attempt, journal: Journal) -> None:
        self._run, self._attempt, self._journal = run, attempt, journal
        self._last_s = time.monotonic()
        self._failures = 0

    def save_if_due(self, now: bool) -> None:
        """Save when the interval has passed, or `now`.

        A disk that refuses costs a warning, and the run goes on; the third refusal in a row is
        BadInput. Weights that are not finite are never saved; the next step's loss tells all ranks
        of them. Raises StopRequested when the attempt was taken over.
        """
        waited_s = time.monotonic() - self._last_s
        if not self._run.ranks.is_main:
            return
        if not now and waited_s < self._run.config.runtime.checkpoint_every_s:
            return
        if not self._run.has_finite_weights():
            return
        try:
            checkpoint.save(self._attempt, self._run.meta(), self._run.state())
            self._failures = 0
        except checkpoint.CannotSave as error:
            self._failures += 1
            self._journal.note(f"no checkpoint ({self._failures} of {MAX_FAILURES}): {error}")
            if self._failures == MAX_FAILURES:
                raise BadInput(f"{error}; {MAX_FAILURES} times in a row") from error
        self._last_s = time.monotonic()
