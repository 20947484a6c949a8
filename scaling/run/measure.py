"""How fast this machine is: real training steps of some of a plan's shapes, all slots busy."""

import math
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from configs.errors import StopRequested
from scaling.plan.cost import CPU_REFERENCE, Measured, StepTime, calibrate
from scaling.plan.grid import Plan, Trial
from scaling.run import store
from scaling.run.config import LauncherConfig
from scaling.run.progress import Running
from scaling.run.slots import Slot
from scaling.run.worker import Worker
from training.config import RuntimeConfig, TrainConfig, trial_id
from training.metrics import read_metrics
from training.record import RunRecord

MAX_CELLS = 8  # as many as calibrate needs to fit all its coefficients
SECONDS_A_CELL = 0.5
MIN_STEPS, MAX_STEPS = 8, 300
# On a CPU shapes whose fewest steps would take longer than this are not measured: they are made for
# a GPU, and a plan is to be had in seconds.
LONGEST_CELL_S = 4.0


def measure(
    plan: Plan, slots: Sequence[Slot], runtime: RuntimeConfig, launcher: LauncherConfig
) -> StepTime | None:
    """The step-time model of this machine for `plan`; None where nothing could be measured.

    Short trials of the plan's own shapes run on the plan's own slots, in a folder that is removed:
    they pay what trials pay, neighbours included. Takes some seconds on a CPU; on a GPU also the
    compilation of each shape. Raises StopRequested as the worker does, with all of it removed.
    """
    runtime = replace(
        runtime,
        log_every_steps=1,
        evaluate_every_steps=0,
        checkpoint_every_s=float(10**9),
        tracking="none",
    )
    on_cpu = runtime.device == "cpu"
    cells = _spread(plan, LONGEST_CELL_S if on_cpu else math.inf)
    if not cells:
        return None
    copies = math.ceil(len(slots) / len(cells))
    trials = [_shortened(cell, seed) for seed in range(copies) for cell in cells]
    print(
        f"measuring this machine: steps of {len(cells)} shapes, {len(slots)} at a time", flush=True
    )
    with tempfile.TemporaryDirectory(prefix="measure-") as name:
        clock = _Clock()
        try:
            # They have nothing to save, so a stop request need not wait for them.
            hasty = replace(launcher, grace_s=0)
            Worker(Path(name), trials, slots, runtime, clock, hasty).run()
        except StopRequested:
            raise StopRequested("while this machine was measured; no trial had begun") from None
        measured = [_step(store.trial_folder(Path(name), trial), trial) for trial in clock.done]
    if not measured or (len(measured) < MAX_CELLS and not on_cpu):
        return None
    fixed_s = statistics.median(clock.outside_steps_s)
    return replace(calibrate(measured, CPU_REFERENCE if on_cpu else None), fixed_s=fixed_s)


class _Clock:
    """Notes of each trial that was done how long it took outside its steps."""

    def __init__(self) -> None:
        self.done: list[Trial] = []
        self.outside_steps_s: list[float] = []

    def ended(
        self, trial: Trial, record: RunRecord | None, elapsed_s: float | None, note: str
    ) -> None:
        """Another trial ended."""
        if record and record.train_s is not None and elapsed_s is not None:
            self.done.append(trial)
            self.outside_steps_s.append(elapsed_s - record.train_s)

    def tick(self, running: Sequence[Running], waiting: Sequence[Trial], elsewhere: int) -> None:
        """Nothing."""


def _spread(plan: Plan, longest_s: float) -> list[TrainConfig]:
    """Up to MAX_CELLS different cells, evenly spaced from the cheapest step to the dearest.

    Cells that are expected to take over `longest_s` on one core are not among them.
    """
    cells = {
        (t.config.model, t.config.schedule.batch_tokens): t.config
        for t in plan.trials
        if MIN_STEPS * _reference_step_s(t.config) <= longest_s
    }
    ordered = sorted(cells.values(), key=_reference_step_s)
    if len(ordered) <= MAX_CELLS:
        return ordered
    last = len(ordered) - 1
    return [ordered[round(index * last / (MAX_CELLS - 1))] for index in range(MAX_CELLS)]


def _shortened(config: TrainConfig, seed: int) -> Trial:
    steps = round(SECONDS_A_CELL / _reference_step_s(config))
    tokens = config.schedule.batch_tokens * min(max(steps, MIN_STEPS), MAX_STEPS)
    short = replace(
        config,
        schedule=replace(config.schedule, tokens=tokens, warmup_tokens=0),
        evaluation=replace(config.evaluation, tokens=config.model.block_size),
        seed=seed,
    )
    return Trial(trial_id(short), 0.0, short, None)


def _reference_step_s(config: TrainConfig) -> float:
    return CPU_REFERENCE.step_s(config.model, config.schedule.batch_tokens)


def _step(folder: Path, trial: Trial) -> Measured:
    """The median, so that the first steps, which wait for memory and caches, do not count."""
    config = trial.config
    rate = statistics.median(row["tokens_per_s"] for row in read_metrics(folder))
    return Measured(config.model, config.schedule.batch_tokens, config.schedule.batch_tokens / rate)
