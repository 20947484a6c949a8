"""When checkpoints are written, and that a large one does not hold up the training."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from configs.errors import BadInput
from training import checkpoint
from training.attempt import Attempt
from training.journal import Journal
from training.memory import BACKGROUND_BYTES
from training.run import Run

MAX_FAILURES = 3


class Saver:
    """Saves a run every `runtime.checkpoint_every_s`; on rank 0 only, elsewhere does nothing.

    A disk that refuses costs a warning, and the run goes on; the third refusal in a row is
    BadInput. Every method raises StopRequested when the attempt was taken over. Leaving the
    context waits for a checkpoint that is being written.
    """

    def __init__(self, run: Run, attempt: Attempt, journal: Journal) -> None:
        self._run, self._attempt, self._journal = run, attempt, journal
        self._last_s = time.monotonic()
        self._failures = 0
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[int] | None = None
        self._saved: int | None = None  # the step of the newest that is on the disk

    def __enter__(self) -> "Saver":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()

    def is_due(self) -> bool:
        """Whether the interval has passed, and the checkpoint before is on the disk or refused."""
        if not self._run.ranks.is_main:
            return False
        if self._writing is not None:
            if not self._writing.done():
                return False
            self._settle()
        waited_s = time.monotonic() - self._last_s
        return waited_s >= self._run.config.runtime.checkpoint_every_s

    def save_if_due(self) -> None:
        """Save when the interval has passed; a large state while the training goes on.

        Weights that are not finite are not saved; the next step's loss tells all ranks of them.
        """
        if not self.is_due() or not self._run.has_finite_weights():
            return
        meta, state = self._run.meta(), self._run.state()
        if checkpoint.tensor_bytes(state) < BACKGROUND_BYTES:
            self._count(lambda: self._save(meta, state))
        else:
            self._writing = self._thread.submit(self._save, meta, _copied(state, {}))
        self._last_s = time.monotonic()

    def save_now(self) -> None:
        """Save weights that are known to be finite, and return when they are on the disk."""
        if not self._run.ranks.is_main:
            return
        self._settle()
        if self._saved != self._run.step:  # else it was due after this very step
            self._count(lambda: self._save(self._run.meta(), self._run.state()))

    def _save(self, meta: checkpoint.Meta, state: dict[str, Any]) -> int:
        checkpoint.save(self._attempt, meta, state, self._run.config.runtime.keep_checkpoints)
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
            self._journal.note(f"no checkpoint ({self._failures} of {MAX_FAILURES}): {error}")
            if self._failures == MAX_FAILURES:
                raise BadInput(f"{error}; {MAX_FAILURES} times in a row") from error


def _copied(state: Any, copies: dict[Any, torch.Tensor]) -> Any:
    """The same with every tensor copied to the CPU, one that stands in it twice once."""
    if isinstance(state, torch.Tensor):
        key = state.data_ptr(), state.shape
        if key not in copies:
            copies[key] = state.detach().to("cpu", copy=True)
        return copies[key]
    if isinstance(state, dict):
        return {key: _copied(value, copies) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return type(state)(_copied(value, copies) for value in state)
    return state
