"""What train.py says without training, or after a few steps: sizes and cost, speed and memory."""

import os
import time
from contextlib import ExitStack
from pathlib import Path

from common.errors import BadInput
from common.numbers import duration, hours_text
from common.text import plural
from data.prepare import estimate, is_absent, is_prepared
from model import flops
from model.hugging_face import require_name
from training.config import TrainConfig
from training.dataset import on_random_tokens, open_data, require_vocabulary
from training.device.micro_batch import autotune
from training.device.stated import StatedMachine, stated_throughput
from training.environment import decide, peak_memory, sequences_of_a_rank
from training.ranks.distributed import Ranks
from training.schedule import drawing, warmup_steps
from training.state import TrainState, build_state
from training.step import PendingStep, begin_step
from training.trial.describe import utilisation
from training.trial.identity import trial_id
from training.trial.scratch import scratch_folder

WARMUP_STEPS = 3
MEASURE_S = 10.0


def plan(config: TrainConfig, machine: StatedMachine) -> str:
    """Parameters by each convention, steps, tokens and FLOP of a trial, and its schedule drawn.

    With hours and price on `machine`, and what the data still cost. Raises BadInput for ranks that
    cannot divide the batch, for a model without the ids of its data, and for weights that are not
    there; nothing is read of these.
    """
    require_vocabulary(config)
    model, schedule = config.model, config.schedule
    tokens, total = schedule.tokens_planned, flops.params_total(model)
    rows = {
        "trial": trial_id(config),
        "parameters": f"{total:,}",
        "  without embeddings": f"{flops.params_non_embedding(model):,}",
        "  in matrix products": f"{flops.params_matmul(model):,}",
        "  effective, FLOP / 6 tokens": f"{flops.params_effective(model):,}",
        "tokens": f"{tokens:,} ({tokens / total:.1f} per parameter)",
        "steps": f"{schedule.steps:,}, the first {warmup_steps(schedule):,} of them warm-up",
        "batch": f"{schedule.batch_tokens:,} tokens, {schedule.batch_tokens // model.block_size} "
        f"sequences of {model.block_size}",
        "FLOP": f"{flops.flops_per_token_exact(model) * tokens:.3e} "
        f"(6 N D: {flops.flops_per_token_6n(model) * tokens:.3e})",
        **_bill(config, machine),
        **_data(config),
        **_initial_weights(config),
    }
    lines = [f"{name:<30}{value}" for name, value in rows.items()]
    return "\n".join([*lines, "learning rate", *drawing(config.optimizer.lr, schedule)])


def _bill(config: TrainConfig, machine: StatedMachine) -> dict[str, str]:
    """Hours of the run on a stated machine, device-hours and their price."""
    ranks = machine.devices or int(os.environ.get("WORLD_SIZE", 1))
    sequences_of_a_rank(config, ranks)
    stated = stated_throughput(machine.device, machine.tflops, config.precision, ranks, 1)
    if stated is None:
        return {"time": "say launcher.device=H200 or launcher.tflops=200; mode=measure times here"}
    seconds = stated.trial_s(config)
    hours, error = ranks * seconds / 3600, stated.error_text
    devices = plural(ranks, "device")
    rows = {
        "time": f"{duration(seconds)}{error} on {devices}",
        "  not measured": stated.basis,
        "device-hours": f"{hours_text(hours)}{error}",
    }
    if price := machine.price_per_hour:
        held = f"{devices} held for {duration(seconds)}"
        rows["price"] = f"{hours * price:.2f}{error}, at {price:g} a device-hour: {held}"
    return rows


def _data(config: TrainConfig) -> dict[str, str]:
    """What the data cost to prepare, where they are not; a plan needs none of them."""
    data_dir = Path(config.runtime.data_dir)
    if not is_absent(config.data, data_dir) and is_prepared(config.data, data_dir):
        return {}
    where = "" if config.data.is_of_the_hub or config.data.path is None else "not here, "
    where = where if is_absent(config.data, data_dir) else ""
    return {"data": f"{where}not prepared: {estimate(config.data).line}"}


def _initial_weights(config: TrainConfig) -> dict[str, str]:
    """Where the first weights come from; BadInput for a path that is not there."""
    source = config.init_from
    if source is None:
        return {}
    if Path(source).exists():
        return {"init_from": source}
    try:
        require_name(source)
    except BadInput as error:
        raise BadInput(f"init_from: {str(error).removeprefix('checkpoint: ')}") from None
    return {"init_from": f"{source}: no such folder here; a model of the hub, to be fetched"}


def measure(config: TrainConfig, ranks: Ranks) -> str:
    """Time steps for some ten seconds and say how fast they are; nothing is written but data.

    On random tokens where the data are not here: speed needs no text.
    """
    with ExitStack() as at_the_end:
        drawn = ranks.broadcast_from_rank0(lambda: _folder_of_random_tokens(config, at_the_end))
        if drawn is None:
            return _measure(config, ranks)
        said = _measure(on_random_tokens(config, Path(drawn)), ranks)
    return f"{said}\n{'data':<30}random tokens: {config.data.name} is not here"


def _folder_of_random_tokens(config: TrainConfig, at_the_end: ExitStack) -> str | None:
    """A new folder where all ranks find it, as they would the data; None where these are here.

    It goes with `at_the_end`, or with the next measurement, should this one be killed.
    """
    data_dir = Path(config.runtime.data_dir)
    if not is_absent(config.data, data_dir):
        return None
    place = next(p for p in (data_dir, *data_dir.absolute().parents) if p.is_dir())
    try:
        return str(at_the_end.enter_context(scratch_folder("random", place)))
    except OSError as error:
        raise BadInput(f"runtime.data_dir: {place}: {error.strerror}") from error


def _measure(config: TrainConfig, ranks: Ranks) -> str:
    data = open_data(config, ranks)
    notes: list[str] = []
    state = build_state(config, ranks, decide(config, ranks, None, notes.append), data)
    autotune(state, lambda _: None)
    environment = state.environment
    first_s = state.autotune_s + _steps(state, 1)
    warm_s = _steps(state, WARMUP_STEPS) / WARMUP_STEPS
    block = ranks.broadcast_from_rank0(lambda: max(1, round(MEASURE_S / 10 / warm_s)))
    blocks: list[float] = []
    while ranks.broadcast_from_rank0(lambda: sum(blocks) < MEASURE_S):
        blocks.append(_steps(state, block))
    steps = block * len(blocks)
    seconds = sum(blocks) / steps
    tokens_per_s = config.schedule.batch_tokens / seconds
    used = utilisation(state, tokens_per_s)
    rows = {
        "device": f"{ranks.world_size} x {environment.device}",
        "tokens/s": f"{tokens_per_s:,.0f}",
        "step": f"{seconds * 1e3:.2f} ms, the mean of {steps}",
        "first step": f"{first_s:.1f} s"
        + (", compilation included" if environment.compile else ""),
        "micro-batch": f"{environment.micro_batch} sequences, {environment.head} loss head, "
        f"{environment.sdpa} attention",
        "MFU": "unknown for this device" if used is None else f"{used:.1%}",
        "memory": f"{peak_memory(ranks.device) / 2**20:,.0f} MiB",
        "whole run": f"{config.schedule.steps * seconds:,.0f} s at this rate",
    }
    if notes:
        rows["note"] = "; ".join(notes)
    return "\n".join(f"{name:<30}{value}" for name, value in rows.items())


def _steps(state: TrainState, count: int) -> float:
    """Seconds of so many steps, each handed over before the last is read, as in training.

    A run shorter than the measurement begins again.
    """
    start = time.perf_counter()
    begun: list[PendingStep] = []
    for _ in range(count):
        state.step %= state.config.schedule.steps
        begun.append(begin_step(state))
        if len(begun) > state.is_async:
            begun.pop(0).result()
    for step in begun:
        step.result()
    return time.perf_counter() - start
