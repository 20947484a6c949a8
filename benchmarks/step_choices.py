"""What the instruments and the chunked loss head cost: the same step with and without, in turn.

python -m benchmarks.step_choices cpu-a 3      # a model of benchmarks/cases.py; parts of a step
python -m benchmarks.step_choices 124m 8       # on a GPU, where there is one

The median of the ratios of steps taken in turn, with its quartiles; process time of one thread on a
CPU, the clock on a GPU. Ratios of a busy machine wander by some percent.
"""

import statistics
import sys
import time
from functools import partial

import torch
from torch import nn

from benchmarks.cases import CASES
from benchmarks.measure import OPTIMIZER, SEED
from benchmarks.trainee import Batch, autocast, random_batch
from model.gpt import GPT
from training.instruments import NoiseScale, Reading
from training.kernels import compiled
from training.optimizer import Optimizer, build_optimizer
from training.step import accumulate_gradients

CHOICES = ("plain", "instruments", "chunked head")
SECONDS = 60.0


def step(model: GPT, network: nn.Module, optimizer: Optimizer, batch: Batch, parts: int) -> None:
    """One step with the instruments read, as training/step.py takes it; see `plain_step`."""
    parameters = list(model.parameters())
    size = len(batch.tokens_BT) // parts
    reading = Reading(parameters, [size] * parts, 1, model.config.block_size)
    with reading.gradients():
        norm = _gradients(model, network, batch, parts)
    with reading.update():
        optimizer.step()
    ratio = reading.update_ratio.item()
    reading.values(NoiseScale(), reading.small_square().item(), norm, ratio)
    optimizer.zero_grad()


def plain_step(
    model: GPT, network: nn.Module, optimizer: Optimizer, batch: Batch, parts: int
) -> None:
    """One step without."""
    _gradients(model, network, batch, parts)
    optimizer.step()
    optimizer.zero_grad()


def _gradients(model: GPT, network: nn.Module, batch: Batch, parts: int) -> float:
    """The gradient's norm, after it was clipped."""
    device = batch.tokens_BT.device
    context = partial(autocast, device, "bf16" if device.type == "cuda" else "float32")
    size = len(batch.tokens_BT) // parts
    accumulate_gradients(network, batch.tokens_BT, batch.targets_BT, size, context)
    return nn.utils.clip_grad_norm_(model.parameters(), OPTIMIZER.grad_clip).item()


def main(name: str = "cpu-a", parts: str = "3") -> None:
    """Print a line a choice."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    config = CASES[name].config
    model = GPT(config, torch.Generator().manual_seed(SEED)).to(device)
    network: nn.Module = model
    if device.type == "cuda":
        network = compiled(model, name)
    optimizer = build_optimizer(model, OPTIMIZER)
    sequences = CASES[name].batch_sequences
    batch = random_batch(sequences, config.block_size, config.vocab_size, device, SEED)
    times: dict[str, list[float]] = {choice: [] for choice in CHOICES}
    memory: dict[str, int] = {}
    end = time.monotonic() + SECONDS
    while time.monotonic() < end or len(times["plain"]) < 5:
        for choice in CHOICES:
            model.chunked_head = choice == "chunked head"
            take = step if choice == "instruments" else plain_step
            if device.type == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = _now(device)
            take(model, network, optimizer, batch, int(parts))
            times[choice].append(_now(device) - start)
            if device.type == "cuda":
                memory[choice] = torch.cuda.max_memory_allocated()
    for choice in CHOICES:
        pairs = zip(times[choice][1:], times["plain"][1:], strict=True)
        low, middle, high = statistics.quantiles((a / b for a, b in pairs), n=4)
        peak = f", {memory[choice] / 2**30:.1f} GiB" if memory else ""
        print(f"{choice:<14}{middle:.3f} ({low:.3f} to {high:.3f}) of {len(times[choice])}{peak}")


def _now(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main(*sys.argv[1:])
