"""One model measured: checked, fitted into memory, stepped for a while, raced against a peer."""

import gc
import statistics
from dataclasses import asdict, dataclass, replace
from types import ModuleType
from typing import Any

import torch
from torch import nn

from benchmarks.cases import Case
from benchmarks.checks import TOLERANCE, Check, check_device, mean_loss
from benchmarks.peer import peer_network, peer_trainee
from benchmarks.timing import rounds
from benchmarks.trainee import Batch, StepTime, Trainee, random_batch, timed_step
from common.errors import BadInput
from model import flops
from model.config import GPTConfig
from model.gpt import GPT
from training import environment
from training.config import OptimizerConfig
from training.device import backends, mfu
from training.optimizer import build_optimizer

SEED = 1
# Those of nanoGPT's train.py; speed does not depend on them.
OPTIMIZER = OptimizerConfig("adamw", 6e-4, (0.9, 0.95), 1e-8, weight_decay=0.1, grad_clip=1.0)


@dataclass(frozen=True)
class Settings:
    """How to measure; None leaves a size to the case. `seconds` is the time of each loop."""

    device: torch.device
    precision: str
    compiled: bool
    micro_batch: int | None
    batch_tokens: int | None
    seconds: float


def measure(case: Case, settings: Settings, peer: ModuleType | None) -> dict[str, Any]:
    """The figures of one model, JSON-ready; `status` is ok, wrong (a check failed) or oom."""
    # The peer does not mask padded rows: let both predict every row.
    config = replace(case.config, vocab_size=case.config.padded_vocab_size) if peer else case.config
    figures = {"name": case.name, "config": asdict(config)}
    try:
        return figures | _measure(case, config, settings, peer)
    except torch.OutOfMemoryError as error:
        return figures | {"status": "oom", "reason": str(error).splitlines()[0]}
    finally:
        _free(settings.device)


def _measure(
    case: Case, config: GPTConfig, settings: Settings, peer: ModuleType | None
) -> dict[str, Any]:
    device, precision = settings.device, settings.precision
    batch = random_batch(
        _sequences(case, settings), config.block_size, config.vocab_size, device, SEED
    )
    network = GPT(config, torch.Generator().manual_seed(SEED))
    rival = peer_network(peer, config, network) if peer else None
    checks = check_device(network, device, precision, batch)
    expected = mean_loss(network, batch, precision)
    if rival:
        rival.to(device)
        found = mean_loss(lambda *window: rival(*window)[1], batch, precision)
        checks.append(Check("the peer's loss against ours", expected, found, TOLERANCE[precision]))
        rival.to("cpu")

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    ours, sdpa = own_trainee(network, settings, case.micro_batch)
    ours, loss = _fitted(ours, batch)
    checks.append(
        Check("first step's loss against the uncompiled", expected, loss, TOLERANCE[precision])
    )
    steps = [timed_step(ours, batch)[0] for _ in rounds(settings.seconds)]
    memory = environment.peak_memory(device)
    return {
        "status": "ok" if all(check.passed for check in checks) else "wrong",
        "checks": [check.as_json() for check in checks],
        "micro_batch": ours.micro_batch,
        "sdpa": sdpa,
        "batch_tokens": batch.tokens_BT.numel(),
        "peak_memory_bytes": memory,
        **_speed(config, settings, batch, steps),
        "peer": _race(ours, rival.to(device), batch, settings) if rival else None,
    }


def own_trainee(network: GPT, settings: Settings, micro_batch: int) -> tuple[Trainee, str]:
    """Our network as the trainer steps it, and its attention kernel."""
    device, precision = settings.device, settings.precision
    micro_batch = settings.micro_batch or micro_batch
    sdpa = backends.choose_sdpa(network.config, precision, device, micro_batch, None)
    backends.set_switches(torch.get_num_threads(), sdpa)
    loss: nn.Module = network
    if settings.compiled:
        loss = backends.compiled(network, (network.config, precision, sdpa))
    optimizer = build_optimizer(network, OPTIMIZER)
    return Trainee(loss, network, optimizer, precision, micro_batch, casts_once=True), sdpa


def _sequences(case: Case, settings: Settings) -> int:
    """Sequences of a step."""
    block = case.config.block_size
    if settings.batch_tokens is None:
        sequences = case.batch_sequences
    else:
        sequences, rest = divmod(settings.batch_tokens, block)
        if rest or not sequences:
            raise BadInput(
                f"--batch-tokens: found {settings.batch_tokens}, expected a multiple of {block}, "
                f"the context of {case.name}"
            )
    micro_batch = settings.micro_batch or 1
    if sequences % micro_batch:
        raise BadInput(
            f"--micro-batch: found {micro_batch}, expected a divisor of the {sequences} sequences "
            f"of a step of {case.name}"
        )
    return sequences


def _fitted(trainee: Trainee, batch: Batch) -> tuple[Trainee, float]:
    """Warm up with the largest micro-batch that fits, halving from the one given; its first loss.

    Raises OutOfMemoryError where one sequence is too much.
    """
    sequences = len(batch.tokens_BT)
    fitting = [n for n in range(1, trainee.micro_batch + 1) if sequences % n == 0]
    while True:
        trainee = replace(trainee, micro_batch=fitting[-1])
        try:
            _, loss = timed_step(trainee, batch)
            timed_step(trainee, batch)  # the optimizer's state is there from now on
            return trainee, loss.item()
        except torch.OutOfMemoryError:
            fitting = [n for n in fitting if 2 * n <= trainee.micro_batch]
            if not fitting:
                raise
        trainee.optimizer.zero_grad(set_to_none=True)
        _free(batch.tokens_BT.device)


def _speed(
    config: GPTConfig, settings: Settings, batch: Batch, steps: list[StepTime]
) -> dict[str, Any]:
    """Medians over steps, and what follows from that of the whole step."""
    step_s = statistics.median(step.step_s for step in steps)
    tokens_per_s = batch.tokens_BT.numel() / step_s
    name = environment.device_name(settings.device)
    return {
        "steps": len(steps),
        "tokens_per_s": tokens_per_s,
        "mfu": mfu.mfu(config, tokens_per_s, name, settings.precision, world_size=1),
        "flops_per_s": flops.flops_per_token_nanogpt(config) * tokens_per_s,
        "seconds": {
            part: statistics.median(asdict(step)[part] for step in steps)
            for part in asdict(steps[0])
        },
        "step_s_min": min(step.step_s for step in steps),
        "step_s_max": max(step.step_s for step in steps),
    }


def _race(
    ours: Trainee, rival: torch.nn.Module, batch: Batch, settings: Settings
) -> dict[str, Any]:
    """Steps of both in turn, each pair in the other order; ratios above 1 say that ours is faster.

    On a CPU the ratio is also given in CPU time, which other processes hardly disturb.
    """
    theirs = peer_trainee(rival, settings.precision, settings.compiled, ours.micro_batch)
    theirs, _ = _fitted(theirs, batch)
    pairs: list[tuple[StepTime, StepTime]] = []
    for index in rounds(2 * settings.seconds):
        order = (ours, theirs) if index % 2 else (theirs, ours)
        times = {id(trainee): timed_step(trainee, batch)[0] for trainee in order}
        pairs.append((times[id(ours)], times[id(theirs)]))
    return {
        "name": "karpathy/nanoGPT",
        "precision": theirs.precision,
        "micro_batch": theirs.micro_batch,
        "pairs": len(pairs),
        "tokens_per_s": batch.tokens_BT.numel() / statistics.median(b.step_s for _, b in pairs),
        "ratio": _spread([b.step_s / a.step_s for a, b in pairs]),
        "ratio_cpu_time": (
            _spread([b.cpu_s / a.cpu_s for a, b in pairs])
            if settings.device.type == "cpu"
            else None
        ),
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def _free(device: torch.device) -> None:
    """Give memory back before the next try; compiled graphs and failed steps hold cycles."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
