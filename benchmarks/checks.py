"""Whether a device computes what it should, asked before anything is timed.

The reference is the same network in float32, uncompiled, on the CPU.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.trainee import Batch, Loss, autocast
from model.gpt import GPT

# Enough to meet every kernel; the largest model takes seconds on a CPU.
CHECK_TOKENS = 256
CHECK_SEQUENCES = 8

# Largest difference of a mean loss near log V, and of the cosine between gradients from 1: float32
# sums in another order; bf16 keeps 8 bits, whose errors mostly cancel in a mean over tokens.
TOLERANCE = {"float32": 1e-4, "bf16": 2e-2}


@dataclass(frozen=True)
class Check:
    """One comparison; `passed` where |found - expected| is at most `tolerance`."""

    name: str
    expected: float
    found: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """False for a NaN too."""
        return abs(self.found - self.expected) <= self.tolerance

    def as_json(self) -> dict[str, Any]:
        """Its fields and verdict; a number that is not finite becomes null, as JSON has no NaN."""
        values = asdict(self)
        for side in ("expected", "found"):
            values[side] = values[side] if math.isfinite(values[side]) else None
        return values | {"passed": self.passed}


def check_device(network: GPT, device: torch.device, precision: str, batch: Batch) -> list[Check]:
    """Loss and gradient of one short window on `device` against the float32 CPU reference.

    `network` comes on the CPU and is left on `device`, without gradients.
    """
    length = min(CHECK_TOKENS, network.config.block_size)
    window = [ids_BT[:1, :length].cpu() for ids_BT in (batch.tokens_BT, batch.targets_BT)]
    reference = network(*window)
    expected = _gradient(reference, network)
    network.to(device)
    with autocast(device, precision):
        loss = network(*(ids_BT.to(device) for ids_BT in window))
    found = _gradient(loss, network)

    tolerance = TOLERANCE[precision]
    broken = sum(int((~gradient.isfinite()).sum()) for gradient in found)
    return [
        Check("loss against float32 on the CPU", reference.item(), loss.item(), tolerance),
        Check(
            "cosine of the gradient with the reference", 1.0, _cosine(expected, found), tolerance
        ),
        Check("gradient entries that are not finite", 0, broken, 0),
    ]


@torch.no_grad()
def mean_loss(loss: Loss, batch: Batch, precision: str) -> float:
    """An uncompiled network's loss over a whole batch, a few sequences at a time."""
    sequences = len(batch.tokens_BT)
    losses = []
    for tokens_BT, targets_BT in batch.micro(math.gcd(sequences, CHECK_SEQUENCES)):
        with autocast(tokens_BT.device, precision):
            losses.append(loss(tokens_BT, targets_BT))
    return torch.stack(losses).mean().item()


def _gradient(loss: Tensor, network: nn.Module) -> list[Tensor]:
    gradients = torch.autograd.grad(loss, list(network.parameters()))
    return [gradient.cpu() for gradient in gradients]


def _cosine(a: list[Tensor], b: list[Tensor]) -> float:
    def dot(xs: list[Tensor], ys: list[Tensor]) -> float:
        pairs = zip(xs, ys, strict=True)
        return sum((x.double().flatten() @ y.double().flatten()).item() for x, y in pairs)

    return dot(a, b) / (dot(a, a) * dot(b, b)) ** 0.5
