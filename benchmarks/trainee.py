"""One training step as it is timed: forward, backward, clip and update, each by the device's clock.

Batches are random ids kept on the device, so reading data is not part of any figure.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.optimizer import Optimizer

GRAD_CLIP = 1.0

Loss = Callable[[Tensor, Tensor], Tensor]
Moment = float | torch.cuda.Event


@dataclass(frozen=True)
class Trainee:
    """Something that learns: a loss, its weights and the optimizer, in one precision.

    `loss` maps tokens_BT and targets_BT to the mean loss. `micro_batch` is B. `casts_once`: weights
    are cast once a step, as ours are, where nothing is compiled (training/step.py).
    """

    loss: Loss
    network: nn.Module
    optimizer: Optimizer
    precision: str
    micro_batch: int
    casts_once: bool = False


@dataclass(frozen=True)
class Batch:
    """The tokens and targets of one optimizer step, B sequences in all."""

    tokens_BT: Tensor
    targets_BT: Tensor

    def micro(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Micro-batches of `size` sequences."""
        return zip(self.tokens_BT.split(size), self.targets_BT.split(size), strict=True)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step, and of its parts summed over micro-batches.

    `cpu_s` is the process's CPU time: where a machine is shared it repeats better than a clock.
    """

    step_s: float
    forward_s: float
    backward_s: float
    update_s: float
    cpu_s: float


def random_batch(
    sequences: int, block_size: int, vocab_size: int, device: torch.device, seed: int
) -> Batch:
    """Uniform ids drawn on the CPU, the same for every device."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocab_size, (sequences, block_size + 1), generator=generator).to(device)
    return Batch(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context of a forward pass: bf16 products, or float32 throughout."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def timed_step(trainee: Trainee, batch: Batch) -> tuple[StepTime, Tensor]:
    """Take one step; its times, and the mean loss before it (on the device, not yet read)."""
    device = batch.tokens_BT.device
    micro_batches = list(batch.micro(trainee.micro_batch))
    losses, forwards, backwards = [], [], []
    _wait(device)
    cpu_start = time.process_time()
    start = _now(device)
    with autocast(device, trainee.precision if trainee.casts_once else "float32"):
        for tokens_BT, targets_BT in micro_batches:
            before = _now(device)
            with autocast(device, trainee.precision):
                loss = trainee.loss(tokens_BT, targets_BT) / len(micro_batches)
            between = _now(device)
            with autocast(device, "float32"):
                loss.backward()
            after = _now(device)
            losses.append(loss.detach())
            forwards.append((before, between))
            backwards.append((between, after))
    update = _now(device)
    torch.nn.utils.clip_grad_norm_(trainee.network.parameters(), GRAD_CLIP)
    trainee.optimizer.step()
    trainee.optimizer.zero_grad(set_to_none=True)
    end = _now(device)
    _wait(device)
    return StepTime(
        step_s=_seconds(start, end),
        forward_s=sum(_seconds(*pair) for pair in forwards),
        backward_s=sum(_seconds(*pair) for pair in backwards),
        update_s=_seconds(update, end),
        cpu_s=time.process_time() - cpu_start,
    ), torch.stack(losses).sum()


def _now(device: torch.device) -> Moment:
    """A moment in the device's own order of work, so that timing waits for nothing."""
    if device.type != "cuda":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _seconds(start: Any, end: Any) -> float:
    """Between two moments that have passed."""
    return end - start if isinstance(start, float) else start.elapsed_time(end) / 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
