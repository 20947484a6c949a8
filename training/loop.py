"""Training one model: step, evaluate, log, save, until the token budget is spent."""

import math
from collections.abc import Callable
from pathlib import Path

from common.errors import StopRequested
from training.checkpointer import Checkpointer
from training.config import TrainConfig
from training.dataset import Data
from training.device.process import frozen_collector
from training.evaluate import held_out_loss
from training.faults import faults_handled, reason_of_divergence, retrying
from training.ranks.distributed import Ranks
from training.set_up import set_up
from training.state import TrainState
from training.step import PendingStep, Step, StepFunction, begin_step
from training.trial.attempt import Attempt
from training.trial.describe import describe, metrics_row
from training.trial.logger import MetricsLogger
from training.trial.record import RunRecord, publish


def train(
    config: TrainConfig,
    attempt: Attempt,
    ranks: Ranks,
    data: Data | None = None,
    quiet: bool = False,
    step_function: StepFunction = begin_step,
    start: Path | None = None,
) -> RunRecord:
    """Train a claimed trial to its end, from its newest checkpoint, or `start`, if it has one.

    `data` where the caller has opened it already; `quiet` keeps the terminal clean. Returns the
    record (done, diverged or oom) and publishes nothing but checkpoints. Raises BadInput for bad
    input, on all ranks before the first step, and RuntimeError on other ranks than 0 later;
    StopRequested, after saving, on SIGTERM or Ctrl-C and when the attempt was taken over. A rank
    that runs out of memory, or whose attention kernel fails, goes on as `retrying` says, which
    changes no science.
    """

    def train_once(config: TrainConfig) -> RunRecord:
        state = set_up(config, attempt, ranks, logger, data, start)
        with (
            Checkpointer(state, attempt, logger) as checkpointer,  # may end late: the faults first
            faults_handled(state, attempt) as stop,
        ):
            return train_steps(state, attempt, logger, checkpointer, stop, step_function)

    with MetricsLogger(attempt, config.schedule.steps, ranks.is_main, quiet) as logger:
        return retrying(train_once, config, attempt, ranks, logger)


def train_steps(
    state: TrainState,
    attempt: Attempt,
    logger: MetricsLogger,
    checkpointer: Checkpointer,
    stop: Callable[[], bool],
    step_function: StepFunction,
) -> RunRecord:
    """Take the steps that are left; the record of the run, done or diverged.

    Where the device works behind the host (`state.is_async`) a step's numbers are read only when
    the next has been handed over, so that the device never waits. Not so where the host must look
    first: before an evaluation, at a step to keep, at the end, and after the step that follows one
    with a request to stop or save. All ranks read the same numbers, hence begin the same steps.
    """
    runtime, steps = state.config.runtime, state.config.schedule.steps
    kept_steps = state.config.kept_steps
    pending: list[PendingStep] = []  # begun and not read yet: one, or two for a moment
    stopping = False

    def is_evaluated(number: int) -> bool:
        return number == steps or _is_due(number, runtime.evaluate_every_steps)

    def diverged(reason: str) -> RunRecord:
        return describe(state, attempt, "diverged", reason)

    with frozen_collector() as freeze:
        while state.step < steps and not stopping:
            pending.append(step_function(state, stop(), checkpointer.is_due()))
            may_wait = state.is_async and state.step < steps and not is_evaluated(state.step)
            may_wait &= state.step not in kept_steps
            while len(pending) > may_wait:
                step = pending.pop(0).result()
                stopping |= step.stop
                may_wait &= not (step.stop or step.save)
                if not step.is_finite:
                    state.step = step.number - 1
                    return diverged(reason_of_divergence(state, step))
                if state.first_step_s is None:
                    freeze()  # what set-up and compilation made stays
                    _note_first_step(state, step, logger)
                row = metrics_row(state, step)
                if is_evaluated(step.number):
                    state.loss = row["val_loss"] = held_out_loss(state)
                    if not math.isfinite(state.loss):
                        return diverged(f"held-out loss {state.loss} after step {state.step}")
                if "val_loss" in row or _is_due(step.number, runtime.log_every_steps):
                    logger.row(row)
                if step.number == state.step < steps:  # else the step under way would have no row
                    checkpointer.save_if_due()
        if not state.has_finite_weights():  # no next step would tell
            return diverged(f"weights that are not finite after step {state.step}")
        checkpointer.save_now()
    if state.step < steps:
        raise StopRequested(f"after step {state.step} of {steps}; the same command goes on")
    return describe(state, attempt, "done")


def _is_due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _note_first_step(state: TrainState, step: Step, logger: MetricsLogger) -> None:
    """Throughput is measured from here on."""
    state.first_step_s = state.autotune_s + step.seconds
    state.timing_start = step.number, state.train_s
    if state.environment.compile:
        logger.note(f"first step: {state.first_step_s:.1f} s, compilation included")


def train_and_publish(
    config: TrainConfig,
    attempt: Attempt,
    ranks: Ranks,
    data: Data | None = None,
    quiet: bool = False,
    step_function: StepFunction = begin_step,
    start: Path | None = None,
) -> RunRecord:
    """`train`, and leave the record in the trial's folder: by rank 0, as a rule.

    A rank that runs out of memory is alone in knowing it: it publishes, and raises RuntimeError,
    since its end is what frees the others. Raises StopRequested, too, when the attempt was taken
    over before it could publish.
    """
    record = train(config, attempt, ranks, data, quiet, step_function, start)
    is_alone = record.status == "oom" and ranks.world_size > 1
    if ranks.is_main or is_alone:
        published = publish(attempt, record)
        if not published and attempt.is_superseded():
            raise StopRequested(f"{attempt.folder} was taken over; look for the record there")
    if is_alone:
        raise RuntimeError(f"out of memory: {record.reason}")
    return record
