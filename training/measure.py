"""What train.py says without training, or after a few steps: sizes and cost, speed and memory."""

import time

from model import flops
from training.config import TrainConfig, trial_id
from training.dataset import open_data
from training.distributed import Ranks
from training.hardware import decide, peak_memory
from training.loop import utilisation
from training.run import Run, build_run
from training.schedule import drawing, warmup_steps
from training.step import Begun, begin_step

WARMUP_STEPS = 3
MEASURE_S = 10.0


def plan(config: TrainConfig) -> str:
    """Parameters by each convention, steps, tokens and FLOP of a trial, and its schedule drawn."""
    model, schedule = config.model, config.schedule
    tokens, total = schedule.tokens_seen, flops.params_total(model)
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
    }
    lines = [f"{name:<30}{value}" for name, value in rows.items()]
    return "\n".join([*lines, "learning rate", *drawing(config.optimizer.lr, schedule)])


def measure(config: TrainConfig, ranks: Ranks) -> str:
    """Time steps for some ten seconds and say how fast they are; nothing is written but data."""
    data = open_data(config, ranks)
    run = build_run(config, ranks, decide(config, ranks, None), data)
    environment = run.try_passes(lambda _: None)
    first_s = run.tried_s + _steps(run, 1)
    warm_s = _steps(run, WARMUP_STEPS) / WARMUP_STEPS
    block = ranks.from_main(lambda: max(1, round(MEASURE_S / 10 / warm_s)))
    blocks: list[float] = []
    while ranks.from_main(lambda: sum(blocks) < MEASURE_S):
        blocks.append(_steps(run, block))
    steps = block * len(blocks)
    seconds = sum(blocks) / steps
    tokens_per_s = config.schedule.batch_tokens / seconds
    used = utilisation(run, tokens_per_s)
    rows = {
        "device": f"{ranks.world_size} x {environment.device}",
        "tokens/s": f"{tokens_per_s:,.0f}",
        "step": f"{seconds * 1e3:.2f} ms, the mean of {steps}",
        "first step": f"{first_s:.1f} s"
        + (", compilation included" if environment.compile else ""),
        "pass": f"{environment.micro_batch} sequences, {environment.head} loss head, "
        f"{environment.sdpa} attention",
        "MFU": "unknown for this device" if used is None else f"{used:.1%}",
        "memory": f"{peak_memory(ranks.device) / 2**20:,.0f} MiB",
        "whole run": f"{config.schedule.steps * seconds:,.0f} s at this rate",
    }
    return "\n".join(f"{name:<30}{value}" for name, value in rows.items())


def _steps(run: Run, count: int) -> float:
    """Seconds of so many steps, each handed over before the last is read, as in training.

    A run shorter than the measurement begins again.
    """
    start = time.perf_counter()
    begun: list[Begun] = []
    for _ in range(count):
        run.step %= run.config.schedule.steps
        begun.append(begin_step(run))
        if len(begun) > run.is_behind:
            begun.pop(0).result()
    for step in begun:
        step.result()
    return time.perf_counter() - start
