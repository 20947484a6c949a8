"""What the gradient noise and the chunked loss head cost: the same step with and without, in turn.

python -m benchmarks.step_choices cpu-a 3      # a model of benchmarks/cases.py; parts of a step
python -m benchmarks.step_choices 124m 8       # on a GPU, where there is one

The median of the ratios of steps taken in turn, with its quartiles; process time of one thread on a
CPU, the clock on a GPU. Ratios of a busy machine wander by some percent.
"""

import common.start  # noqa: F401

# isort: split
import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from benchmarks.cases import CASES
from benchmarks.measure import OPTIMIZER, SEED
from benchmarks.timing import parser, rounds
from benchmarks.trainee import Batch, autocast, random_batch
from common.errors import ExitStatus
from configs.cli import exit_status
from model.gpt import GPT
from training.device.backends import compiled
from training.gradient_noise import GradientNoiseProbe, NoiseScale
from training.optimizer import Optimizer, build_optimizer
from training.step import accumulate_gradients, gradient_norm

CHOICES = ("plain", "gradient noise", "chunked head")
SECONDS = 60.0


def step(
    model: GPT, network: nn.Module, optimizer: Optimizer, batch: Batch, parts: int, noise: bool
) -> None:
    """One step, with the gradient noise read as training/step.py does, or without."""
    sizes = [len(batch.tokens_BT) // parts] * parts
    if not noise:
        _gradients(model, network, batch, parts)
        optimizer.step()
    else:
        probe = GradientNoiseProbe(list(model.parameters()), sizes, 1, model.config.block_size)
        with probe.gradients():
            norm = _gradients(model, network, batch, parts)
        with probe.update():
            optimizer.step()
        ratio = probe.update_ratio.item()
        probe.values(NoiseScale(), probe.small_square().item(), norm, ratio)
    optimizer.zero_grad()


def _gradients(model: GPT, network: nn.Module, batch: Batch, parts: int) -> float:
    """The gradient's norm, after it was clipped."""
    device = batch.tokens_BT.device
    context = partial(autocast, device, "bf16" if device.type == "cuda" else "float32")
    size = len(batch.tokens_BT) // parts
    accumulate_gradients(network, batch.tokens_BT, batch.targets_BT, size, context)
    return gradient_norm(list(model.parameters()), OPTIMIZER.grad_clip).item()


def main(words: Sequence[str]) -> int:
    """Print a line a choice."""
    arguments = parser("step_choices", __doc__)
    arguments.add_argument("case", nargs="?", choices=list(CASES), default="cpu-a", metavar="MODEL")
    arguments.add_argument("parts", nargs="?", type=int, default=3, help="micro-batches of a step")
    options = arguments.parse_args(words)
    name, parts = options.case, options.parts
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
    for _ in rounds(SECONDS):
        for choice in CHOICES:
            model.chunked_head = choice == "chunked head"
            if device.type == "cuda":
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            start = _now(device)
            step(model, network, optimizer, batch, parts, choice == "gradient noise")
            times[choice].append(_now(device) - start)
            if device.type == "cuda":
                memory[choice] = torch.cuda.max_memory_allocated()
    for choice in CHOICES:
        pairs = zip(times[choice][1:], times["plain"][1:], strict=True)
        low, middle, high = statistics.quantiles((a / b for a, b in pairs), n=4)
        peak = f", {memory[choice] / 2**30:.1f} GiB" if memory else ""
        print(f"{choice:<16}{middle:.3f} ({low:.3f} to {high:.3f}) of {len(times[choice])}{peak}")
    return ExitStatus.DONE


def _now(device: torch.device) -> float:
    if device.type != "cuda":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
