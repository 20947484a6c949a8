"""When a branch may begin, and with what: checkpoints that a trunk keeps for its branches.

There is no other state than the files: a trunk's folder has the checkpoints of the steps at which
branches begin, marked as kept for good, and they go when those branches have their records. A
branch whose trunk has ended without one begins at step 0.
"""

import shutil
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from scaling.plan.plan import Trial
from scaling.plan.trunks import Branch, branches_of, kept_steps
from scaling.run import trial_states
from training.config import RuntimeConfig
from training.trial.attempt import FOR_GOOD, RECORD, attempts

LOOK_AGAIN_S = 0.5


class Trunks:
    """The branches among the trials of a sweep in `out`; without trials there are none."""

    def __init__(self, out: Path, trials: Iterable[Trial]):
        self._out = out
        self._trials = {trial.id: trial for trial in trials}
        self._branches = branches_of((name, one.config) for name, one in self._trials.items())
        self._trunks = {branch.trunk for branch in self._branches.values()}
        self._looked: dict[str, float] = {}

    def is_ready(self, trial: Trial, at_once: bool = False) -> bool:
        """Whether a trial may begin: a branch waits for its trunk, for a checkpoint or its end.

        What was not ready is looked at again after a while, or `at_once`.
        """
        branch = self._branches.get(trial.id)
        if branch is None:
            return True
        now = time.monotonic()
        if not at_once and now - self._looked.get(trial.id, -LOOK_AGAIN_S) < LOOK_AGAIN_S:
            return False
        if (self._folder(branch.trunk) / RECORD).exists() or self._point(branch):
            self._looked.pop(trial.id, None)
            return True
        self._looked[trial.id] = now
        return False

    def start(self, trial: Trial) -> str | None:
        """The checkpoint with which a branch begins; None: it begins at step 0."""
        branch = self._branches.get(trial.id)
        point = self._point(branch) if branch else None
        return str(point.absolute()) if point else None

    def kept(self, trial: Trial, runtime: RuntimeConfig) -> RuntimeConfig:
        """The runtime of a trial, with the checkpoints that branches wait for kept."""
        if trial.id not in self._trunks:
            return runtime
        steps = sorted({*trial.config.kept_steps, *kept_steps(self._branches, trial.id)})
        return replace(runtime, keep_steps=tuple(steps))

    def clean(self, trial: Trial | None = None) -> None:
        """Remove the checkpoints that no branch of this trial's trunk needs any more, or of all."""
        branch = self._branches.get(trial.id) if trial else None
        for name in self._trunks if trial is None else {branch.trunk if branch else trial.id}:
            if name in self._trunks and (self._folder(name) / RECORD).exists():
                for point in self._unneeded(name):
                    shutil.rmtree(point, ignore_errors=True)

    def _unneeded(self, trunk: str) -> Iterator[Path]:
        needed = set(self._trials[trunk].config.kept_steps)
        own = {name: one for name, one in self._branches.items() if one.trunk == trunk}
        for name, branch in own.items():
            if not (self._folder(name) / RECORD).exists():
                needed.add(branch.step)
        for step in {branch.step for branch in own.values()} - needed:
            yield from self._points(trunk, step)

    def _point(self, branch: Branch) -> Path | None:
        return next(self._points(branch.trunk, branch.step), None)

    def _points(self, trunk: str, step: int) -> Iterator[Path]:
        """Those of one step, the last attempt's first."""
        for attempt in reversed(attempts(self._folder(trunk))):
            path = attempt / "checkpoints" / f"step-{step:08d}"
            if (path / FOR_GOOD).exists():
                yield path

    def _folder(self, name: str) -> Path:
        return trial_states.trial_folder(self._out, self._trials[name])
