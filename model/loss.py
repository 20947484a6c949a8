"""Next-token cross entropy in float32, without a second copy of the logits where that is dear.

Shape key: N positions of all sequences, E embedding, V rows of the vocabulary table.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

# Logits worked on at a time: 4 MB in float32 stay in a core's cache.
_CHUNK_ELEMENTS = 2**20
# Logits that the chunked head holds at a time: 0.5 GB in bf16, 1 GB in float32.
CHUNK_LOGITS = 2**28


def forbid_pads(logits_NV: Tensor, vocab_size: int) -> Tensor:
    """The logits with those of rows from `vocab_size` on at -inf, in place.

    Autograd need not see this: the softmax of -inf is 0 and so is its gradient.
    """
    logits_NV.detach()[..., vocab_size:] = -math.inf
    return logits_NV


def cross_entropy(logits_NV: Tensor, targets_N: Tensor, vocab_size: int) -> Tensor:
    """Mean loss in nats over the true vocabulary, a float32 scalar; `logits_NV` may be overwritten.

    A GPU gets torch's own form, which torch.compile fuses: of a view without the pads, since to a
    compiler the fill is a new tensor, and it would write all of it. In eager mode the fill touches
    the pads alone, and on a CPU torch's form passes over memory about ten times, so there the
    gradient replaces the logits chunk by chunk, as in karpathy/llm.c's fused classifier.
    """
    if torch.compiler.is_compiling():
        return F.cross_entropy(logits_NV[:, :vocab_size].float(), targets_N)
    logits_NV = forbid_pads(logits_NV, vocab_size)
    if logits_NV.device.type == "cpu" and logits_NV.requires_grad:
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


def head_and_cross_entropy(
    x_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, vocab_size: int
) -> Tensor:
    """Mean loss in nats of the logits x_NE weight_VE^T, which never exist all at once.

    Chunk by chunk of positions the loss and the gradients of both factors are computed together,
    so the backward pass only scales them: little memory at about the plain head's arithmetic, but
    one more product's worth of traffic on the weight's float32 gradient per chunk. Products are
    taken in autocast's precision. Rows from `vocab_size` on are never predicted. To torch.compile
    it is one opaque operator. (Cf. Hsu et al. 2024, Liger Kernel, arXiv 2410.10989, section 3.2.)
    """
    device = x_NE.device.type
    if torch.is_autocast_enabled(device):
        x_NE = x_NE.to(torch.get_autocast_dtype(device))
    return _loss_and_gradients(x_NE, weight_VE, targets_N, vocab_size)[0]


@torch.library.custom_op("gpt2::head_and_cross_entropy", mutates_args=())
def _loss_and_gradients(
    x_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The mean loss, its gradient for x_NE, and for weight_VE."""
    return compute_in_chunks(x_NE, weight_VE, targets_N, vocab_size)


def compute_in_chunks(
    x_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """The arithmetic of `head_and_cross_entropy`, without autograd."""
    positions, rows = len(x_NE), len(weight_VE)
    table_VE = weight_VE.to(x_NE.dtype)
    loss = torch.zeros((), device=x_NE.device)
    gradient_NE = torch.empty_like(x_NE)
    gradient_VE = torch.zeros_like(weight_VE)
    size = max(1, CHUNK_LOGITS // rows)
    for x, target, gradient in zip(
        x_NE.split(size), targets_N.split(size), gradient_NE.split(size), strict=True
    ):
        logits = x @ table_VE.T
        logits[:, vocab_size:] = -math.inf
        log_p = logits.log_softmax(-1, dtype=torch.float32)
        index = target[:, None]
        loss -= log_p.gather(1, index).sum()
        softmax = log_p.exp_()
        softmax.scatter_add_(1, index, softmax.new_full(index.shape, -1.0))
        slope = softmax.div_(positions).to(x.dtype)
        gradient.copy_(slope @ table_VE)
        gradient_VE += slope.T @ x
    return loss / positions, gradient_NE, gradient_VE


@_loss_and_gradients.register_fake
def _(
    x_NE: Tensor, weight_VE: Tensor, targets_N: Tensor, vocab_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    loss = x_NE.new_empty((), dtype=torch.float32)
    return loss, torch.empty_like(x_NE), torch.empty_like(weight_VE)


def _keep_gradients(ctx: Any, inputs: Any, output: tuple[Tensor, Tensor, Tensor]) -> None:
    ctx.set_materialize_grads(False)  # or the unused ones would be tables of zeros
    ctx.save_for_backward(*output[1:])


def _scale_gradients(ctx: Any, scale: Tensor, *_: None) -> tuple[Tensor, Tensor, None, None]:
    gradient_NE, gradient_VE = ctx.saved_tensors
    return gradient_NE * scale, gradient_VE * scale, None, None


_loss_and_gradients.register_autograd(_scale_gradients, setup_context=_keep_gradients)
