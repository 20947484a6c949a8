"""How fast this machine is: real training steps of some of a plan's shapes, side by side."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from common.errors import StopRequested
from common.text import plural
from model.config import GPTConfig
from scaling.plan.cost import (
    CPU_REFERENCE,
    Measured,
    StepTime,
    calibrate,
    least_to_fit,
    recipe_of,
)
from scaling.plan.plan import Plan, Trial
from scaling.run import trial_states
from scaling.run.config import LauncherConfig
from scaling.run.workers.packing import Packing
from scaling.run.workers.processes import TrialProcess
from scaling.run.workers.worker import Worker
from training.config import RuntimeConfig, TrainConfig
from training.dataset import on_random_tokens
from training.trial.identity import trial_id
from training.trial.metrics import read_metrics
from training.trial.scratch import scratch_folder

MAX_CELLS = 8  # as many as calibrate needs to fit all its coefficients
SECONDS_A_CELL = 0.5
MIN_STEPS, MAX_STEPS = 8, 300
# On a CPU shapes whose fewest steps would take longer than this are not measured: they are made for
# a GPU, and a plan is to be had in seconds.
LONGEST_CELL_S = 4.0


def measure(
    plan: Plan,
    processes: Sequence[TrialProcess],
    runtime: RuntimeConfig,
    launcher: LauncherConfig,
    data: Path | None = None,
    packing: Packing | None = None,
) -> StepTime | None:
    """The step-time model of this machine for `plan`; None where nothing could be measured.

    Short trials of the plan's own shapes run by the given processes, in a folder that is removed:
    they pay what trials pay, neighbours included. Takes some seconds on a CPU; on a GPU also the
    compilation of each shape, and nothing is run of a plan with too few shapes to tell from. On
    random tokens, where no folder of `data` is given. Raises StopRequested as the worker does, with
    all of it removed.
    """
    on_cpu = runtime.device == "cpu"
    runtime = replace(
        runtime,
        log_every_steps=1,
        evaluate_every_steps=0,
        checkpoint_every_s=float(10**9),
        tracking="none",
        # By rule steps so few would not be compiled, and those that are to come will be.
        compile=runtime.compile if on_cpu or runtime.compile is not None else True,
    )
    cells = cells_to_measure(plan, LONGEST_CELL_S if on_cpu else math.inf)
    least = 1 if on_cpu else least_to_fit(map(recipe_of, cells))
    if not on_cpu and len(cells) < least:
        print(f"not measured: found {plural(len(cells), 'shape')}, expected {least} or more")
    if len(cells) < least:
        return None
    copies = math.ceil(len(processes) / len(cells))
    tokens = ", on random tokens" if data is None else ""
    print(
        f"measuring this machine: steps of {plural(len(cells), 'shape')}, {len(processes)} at a "
        f"time{tokens}",
        flush=True,
    )
    with scratch_folder("measure") as folder:
        if data is None:
            cells = [on_random_tokens(cell, folder / "data") for cell in cells]
            runtime = replace(runtime, data_dir=str(folder / "data"), stage=None)
        trials = [_shortened(cell, seed) for seed in range(copies) for cell in cells]
        # They have nothing to save, so a stop request need not wait for them.
        hasty = replace(launcher, grace_s=0)
        worker = Worker(folder, trials, processes, runtime, None, hasty, data=data, packing=packing)
        try:
            worker.run()
        except StopRequested:
            raise StopRequested("while this machine was measured; no trial had begun") from None
        outside_s = {
            end.trial: end.elapsed_s - end.record.train_s
            for end in worker.ended
            if end.record and end.record.train_s is not None and end.elapsed_s is not None
        }
        # In the order of `cells`: the first recipe is that of most of them, whoever ended first.
        ended = [trial for trial in trials if trial in outside_s]
        measured = [_step(trial_states.trial_folder(folder, trial), trial) for trial in ended]
    known = CPU_REFERENCE if on_cpu else None
    if len(measured) < (1 if on_cpu else least_to_fit(m.recipe for m in measured)):
        return None
    tell_unmeasured(plan, measured)
    fixed_s = statistics.median(outside_s.values())
    return replace(calibrate(measured, known), fixed_s=fixed_s)


def tell_unmeasured(plan: Plan, measured: Sequence[Measured]) -> None:
    """Say whose steps are taken for those of the first recipe."""
    there = {m.recipe for m in measured}
    for recipe in dict.fromkeys(recipe_of(trial.config) for trial in plan.trials):
        if recipe not in there:
            print(
                f"not measured: no step of {recipe}; its time is predicted as that of "
                f"{measured[0].recipe}",
                flush=True,
            )


def cells_to_measure(plan: Plan, longest_s: float) -> list[TrainConfig]:
    """Different cells of each recipe, evenly spaced from the cheapest step to the dearest.

    Up to MAX_CELLS of the recipe that has the most, and two of each other, which tell its multiple.
    Cells that are expected to take over `longest_s` on one core are not among them.
    """
    cells: dict[str, dict[tuple[GPTConfig, int], TrainConfig]] = {}
    for config in (trial.config for trial in plan.trials):
        if MIN_STEPS * _reference_step_s(config) <= longest_s:
            key = config.model, config.schedule.batch_tokens
            cells.setdefault(recipe_of(config), {})[key] = config
    found: list[TrainConfig] = []
    for own in sorted(cells.values(), key=len, reverse=True):
        most = 2 if found else MAX_CELLS
        ordered, last = sorted(own.values(), key=_reference_step_s), len(own) - 1
        picked = range(most) if last >= most else ()
        found += [ordered[round(n * last / (most - 1))] for n in picked] or ordered
    return found


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
    batch = config.schedule.batch_tokens
    return Measured(config.model, batch, batch / rate, recipe_of(config))
