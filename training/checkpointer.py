"""When checkpoints are written, and that a large one does not hold up the training."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from common.errors import REFUSED, BadInput
from training.device.memory import BACKGROUND_BYTES
from training.state import TrainState
from training.trial import checkpoint
from training.trial.attempt import Attempt
from training.trial.logger import MetricsLogger

MAX_FAILURES = 3


class Checkpointer:
    """Saves a run every `runtime.checkpoint_every_s`, and at `runtime.keep_steps` for good.

    On rank 0 only; elsewhere it does nothing.

    A disk that refuses costs a warning, and the run goes on; the third refusal in a row is
    BadInput. Every method raises StopRequested when the attempt was taken over. Leaving the
    context waits for a checkpoint that is being written.
    """

    def __init__(self, state: TrainState, attempt: Attempt, logger: MetricsLogger) -> None:
        self._state, self._attempt, self._logger = state, attempt, logger
        self._kept_steps = state.config.kept_steps
        self._last_s = time.monotonic()
        self._failures = 0
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[int] | None = None
        self._saved: int | None = None  # the step of the newest that is on the disk

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def is_due(self) -> bool:
        """Whether the interval has passed, and the checkpoint before is on the disk or refused."""
        if not self._state.ranks.is_main:
            return False
        if self._writing is not None:
            if not self._writing.done():
                return False
            self._settle()
        waited_s = time.monotonic() - self._last_s
        return waited_s >= self._state.config.runtime.checkpoint_every_s

    def save_if_due(self) -> None:
        """Save at a step to keep or when the interval has passed; a large state in the background.

        Weights that are not finite are not saved; the next step's loss tells all ranks of them.
        """
        if self._state.ranks.is_main and self._state.step in self._kept_steps:
            self._settle()
        elif not self.is_due():
            return
        if not self._state.has_finite_weights():
            return
        meta, values = self._state.meta(), self._state.snapshot()
        if checkpoint.tensor_bytes(values) < BACKGROUND_BYTES:
            self._count(lambda: self._save(meta, values))
        else:
            self._writing = self._thread.submit(self._save, meta, checkpoint.copied(values))
        self._last_s = time.monotonic()

    def save_now(self) -> None:
        """Save weights that are known to be finite, and return when they are on the disk."""
        if not self._state.ranks.is_main:
            return
        self._settle()
        if self._saved != self._state.step:  # else it was due after this very step
            self._count(lambda: self._save(self._state.meta(), self._state.snapshot()))

    def _save(self, meta: checkpoint.Meta, values: dict[str, Any]) -> int:
        keep = self._state.config.runtime.keep_checkpoints
        checkpoint.save(self._attempt, meta, values, keep, meta.step in self._kept_steps)
        return meta.step

    def _settle(self) -> None:
        """Wait for the thread, and say what came of it."""
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self._count(writing.result)

    def _count(self, save: Callable[[], int]) -> None:
        try:
            self._saved = save()
            self._failures = 0
        except checkpoint.CannotSave as error:
            self._failures += 1
            self._logger.note(f"no checkpoint ({self._failures} of {MAX_FAILURES}): {error}")
            if self._failures == MAX_FAILURES:
                raise BadInput(f"{error}; {REFUSED} {MAX_FAILURES} times in a row") from error
