"""Whether an attention kernel computes attention: beside torch's plain one, in float32.

A quick kernel may be wrong. cuDNN's backward pass has returned NaN for sequences of 64 more than a
multiple of 128 where all logits of a query were far below 0 (PyTorch issue 196678), and other NaN
on an H100 after thousands of good steps (kyutai-labs/pocket-tts, pull request 264), which no check
at the start can find: training/faults.py has the answer to those.

Shape key: B sequences (one), T positions, E embedding, H heads, K head size.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from model.gpt import attend

Attention = Callable[[Tensor, int], Tensor]  # of qkv_BTE and the number of heads

# Length of the difference over that of the right one, for output and each gradient. Code that
# rounds as a flash kernel does is off by up to 6e-3 in bf16, torch's on a CPU by 3e-5 in float32.
TOLERANCE = {torch.bfloat16: 2e-2, torch.float32: 1e-3}
FAR_BELOW_0 = -120.0  # exp of the logsumexp of such a row is 0 in float32, and 1 over it infinite
_SMALLEST_HEAD = 8  # in less there is no direction to spare; GPUs' quick kernels want 8 or more
_MOST_WEIGHTS = 2**25  # T x T of all heads that are tried: the plain kernel writes them down


def is_right(
    attention: Attention, n_head: int, head_size: int, block_size: int, like: Tensor
) -> bool:
    """Whether output and gradients are right and finite: for random data, and far-negative logits.

    Of one causal sequence, in the dtype and on the device of `like`. What the kernel raises, as
    torch does for one that it lacks, is the caller's.
    """
    length = max(16, block_size)  # of a few positions the query's gradient is mostly rounding
    heads = max(1, min(n_head, _MOST_WEIGHTS // length**2))
    for far_below_0 in (False, True) if head_size >= _SMALLEST_HEAD else (False,):
        qkv_BTE, slope_BTE = _data(heads, head_size, length, far_below_0)
        qkv_BTE, slope_BTE = qkv_BTE.to(like), slope_BTE.to(like)
        right = _results(_plain, qkv_BTE.float(), slope_BTE.float(), heads)
        found = _results(attention, qkv_BTE, slope_BTE, heads)
        for one, other in zip(found, right, strict=True):
            error, most = (one.float() - other).norm(), TOLERANCE[like.dtype] * other.norm()
            if not error <= most:  # nor is a NaN
                return False
    return True


def _plain(qkv_BTE: Tensor, n_head: int) -> Tensor:
    with sdpa_kernel(SDPBackend.MATH):
        return attend(qkv_BTE, n_head)


def _results(
    attention: Attention, qkv_BTE: Tensor, slope_BTE: Tensor, n_head: int
) -> tuple[Tensor, ...]:
    """Output, and gradients by queries, keys and values."""
    leaf_BTE = qkv_BTE.detach().requires_grad_()
    y_BTE = attention(leaf_BTE, n_head)
    (gradient_BTE,) = torch.autograd.grad(y_BTE, leaf_BTE, slope_BTE)
    return y_BTE.detach(), *gradient_BTE.chunk(3, -1)


def _data(n_head: int, head_size: int, length: int, far_below_0: bool) -> tuple[Tensor, Tensor]:
    """Queries, keys and values, and a slope of the output; nothing of torch's random state.

    For logits that are all about FAR_BELOW_0, queries and keys gain opposite components along a
    direction that both else lack. The keys' is no longer than the rest of them: else what bf16
    rounds off would show in the queries' gradient.
    """
    generator = torch.Generator().manual_seed(0)
    parts_BTXHK = torch.randn(1, length, 3, n_head, head_size, generator=generator)
    slope_BTE = torch.randn(1, length, n_head * head_size, generator=generator)
    if far_below_0:
        parts_BTXHK[:, :, :2] -= parts_BTXHK[:, :, :2].mean(-1, keepdim=True)
        parts_BTXHK[:, :, 0] -= FAR_BELOW_0 / head_size**0.5
        parts_BTXHK[:, :, 1] -= 1.0
    return parts_BTXHK.flatten(2), slope_BTE
