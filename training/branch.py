"""A run that begins with another's state: a branch of a trunk of constant rate.

Haegele et al. 2024 (arXiv 2405.18392). Before its cool-down a run of a constant rate does what any
longer one does; so it may begin with the longer one's checkpoint after that many updates, and ends
with the very weights that it would have had alone.
"""

from pathlib import Path

from common.errors import BadInput
from common.files import DIGEST
from configs.schema import build
from data.manifest import Manifest, compare
from training.config import ScheduleConfig
from training.schedule import shared_steps, warmup_steps
from training.state import TrainState
from training.trial import checkpoint
from training.trial.identity import comparable, differing_fields, science
from training.trial.logger import MetricsLogger, utc_now
from training.trial.metrics import read_metrics


def branch_point(
    state: TrainState, path: Path, logger: MetricsLogger
) -> checkpoint.Checkpoint | None:
    """The trunk's checkpoint, on all ranks; None, with a note, where it does not serve this run.

    Then the run begins at step 0, which costs what the trunk would have saved and nothing else.
    """
    found: list[checkpoint.Checkpoint] = []

    def check() -> str | None:
        try:
            found.append(checkpoint.read(path))
            reason = _mismatch(state, found[0].meta)
        except BadInput as error:
            reason = str(error)
        if reason:
            logger.note(f"begins at step 0 and not with its trunk: {reason}")
        return reason

    if state.ranks.broadcast_from_rank0(check):
        return None
    return state.ranks.on_all_ranks(lambda: found[0] if found else checkpoint.read(path))


def begin_branch(state: TrainState, found: checkpoint.Checkpoint, logger: MetricsLogger) -> None:
    """Go on from a trunk's checkpoint; its rows of metrics so far are this run's too.

    Times are the branch's own: what the trunk took is in the trunk's record.
    """
    state.restore(found)
    state.branched_at, state.loss = state.step, None
    state.train_s = state.earlier_wall_s = 0.0
    state.started, state.timing_start = utc_now(), (state.step, 0.0)
    logger.note(f"began at step {state.step} of its trunk, from {found.path}")
    if changes := state.environment.changes_since(found.meta.environment):
        logger.note(f"not bitwise reproducible: {', '.join(changes)}")
    if state.ranks.is_main:
        for row in read_metrics(found.path.parent.parent.parent):
            if row["step"] <= state.step:
                logger.history({name: value for name, value in row.items() if name != DIGEST})


def _mismatch(state: TrainState, meta: checkpoint.Meta) -> str | None:
    """Why a checkpoint is not of what this run would have been by then."""
    asked, there = comparable(science(state.config)), comparable(meta.config)
    fields = differing_fields(there, asked)
    fields = [text for text in fields if not text.startswith("schedule.tokens:")]
    if fields:
        return f"of another run: {'; '.join(fields)}"
    own, trunk = state.config.schedule, build(ScheduleConfig, there["schedule"], "schedule")
    if meta.step > min(shared_steps(own), shared_steps(trunk)):
        return f"step {meta.step} is after the rate began to fall"
    if warmup_steps(own) != warmup_steps(trunk):
        return f"warm-ups of {warmup_steps(trunk)} and {warmup_steps(own)} steps"
    return compare(build(Manifest, meta.data), state.data.manifest)
