"""Next-token cross entropy in float32, without a second copy of the logits where that is dear.

Shape key: N positions of all sequences, V rows of the vocabulary table.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits worked on at a time: 4 MB in float32 stay in a core's cache.
_CHUNK_ELEMENTS = 2**20


def cross_entropy(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    """Mean loss in nats, a float32 scalar; `logits_NV` may be overwritten.

    A GPU gets torch's own form, which torch.compile fuses. On a CPU in eager mode that form passes
    over memory about ten times, so there the gradient replaces the logits chunk by chunk, as in
    karpathy/llm.c's fused classifier.
    """
    in_place = logits_NV.device.type == "cpu" and logits_NV.requires_grad
    if in_place and not torch.compiler.is_compiling():
        return _InPlace.apply(logits_NV, targets_N)
    return F.cross_entropy(logits_NV.float(), targets_N)


class _InPlace(torch.autograd.Function):
    """Computes the gradient together with the loss, in the memory of the logits."""

    @staticmethod
    def forward(ctx: Any, logits_NV: Tensor, targets_N: Tensor) -> Tensor:
        gradient_NV = logits_NV.detach()
        positions, rows = gradient_NV.shape
        losses_N = torch.empty(positions)
        size = max(1, _CHUNK_ELEMENTS // rows)
        for gradient, target, loss in zip(
            gradient_NV.split(size), targets_N.split(size), losses_N.split(size), strict=True
        ):
            log_p = gradient.float().log_softmax(-1)
            index = target[:, None]
            loss.copy_(-log_p.gather(1, index)[:, 0])
            softmax = log_p.exp_()
            softmax.scatter_add_(1, index, softmax.new_full(index.shape, -1.0))
            gradient.copy_(softmax.div_(positions))
        ctx.save_for_backward(gradient_NV)
        return losses_N.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor, None]:
        # In place again: torch notices, and refuses a second pass through the graph.
        (gradient_NV,) = ctx.saved_tensors
        return gradient_NV.mul_(scale), None
