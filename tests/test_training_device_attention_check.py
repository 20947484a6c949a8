"""Attention kernels that compute something else are found out, and none that is right is."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from common.errors import BadInput
from model.config import GPTConfig
from model.gpt import attend
from training.device.attention_check import Attention, is_right
from training.device.backends import attention_by, choose_sdpa

CPU = torch.device("cpu")
MODEL = GPTConfig(n_layer=2, n_head=2, n_embd=64, block_size=64, vocab_size=256, init_std=0.1)


class Rounded(torch.autograd.Function):
    """Attention as flash kernels compute it: their weights and slopes are in bf16 in between.

    `fault` may change what it keeps for the backward pass.
    """

    @staticmethod
    def forward(ctx: Any, q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, fault: Any) -> Tensor:
        weights_BHTT, sums_BHT1 = _weights(q_BHTK, k_BHTK)
        y_BHTK = (weights_BHTT.bfloat16().float() @ v_BHTK.float()).to(q_BHTK)
        ctx.save_for_backward(q_BHTK, k_BHTK, v_BHTK, y_BHTK, sums_BHT1)
        ctx.fault = fault
        return y_BHTK

    @staticmethod
    def backward(ctx: Any, slope_BHTK: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        q_BHTK, k_BHTK, v_BHTK, y_BHTK, sums_BHT1 = ctx.saved_tensors
        weights_BHTT, _ = _weights(q_BHTK, k_BHTK)
        by_weight_BHTT = slope_BHTK.float() @ v_BHTK.float().mT
        mean_BHT1 = (slope_BHTK.float() * y_BHTK.float()).sum(-1, keepdim=True)
        by_logit_BHTT = weights_BHTT * (by_weight_BHTT - mean_BHT1) / q_BHTK.shape[-1] ** 0.5
        by_logit_BHTT = by_logit_BHTT.bfloat16().float()
        by_q_BHTK = ctx.fault(by_logit_BHTT @ k_BHTK.float(), sums_BHT1)
        by_k_BHTK = by_logit_BHTT.mT @ q_BHTK.float()
        by_v_BHTK = weights_BHTT.bfloat16().float().mT @ slope_BHTK.float()
        return by_q_BHTK.to(q_BHTK), by_k_BHTK.to(q_BHTK), by_v_BHTK.to(q_BHTK), None


def _weights(q_BHTK: Tensor, k_BHTK: Tensor) -> tuple[Tensor, Tensor]:
    """The softmax of causal logits, and the logarithm of its sums."""
    length, size = q_BHTK.shape[-2:]
    logits_BHTT = q_BHTK.float() @ k_BHTK.float().mT / size**0.5
    past_TT = torch.ones(length, length, dtype=torch.bool).tril()
    logits_BHTT = logits_BHTT.masked_fill(~past_TT, -torch.inf)
    sums_BHT1 = logits_BHTT.logsumexp(-1, keepdim=True)
    return (logits_BHTT - sums_BHT1).exp(), sums_BHT1


def rounded(fault: Callable[[Tensor, Tensor], Tensor] = lambda by_q, sums: by_q) -> Attention:
    def attention(qkv_BTE: Tensor, n_head: int) -> Tensor:
        parts = (
            part_BTE.unflatten(-1, (n_head, -1)).transpose(1, 2)
            for part_BTE in qkv_BTE.chunk(3, dim=-1)
        )
        return Rounded.apply(*parts, fault).transpose(1, 2).flatten(-2)

    return attention


def nan_where_sums_vanish(by_q_BHTK: Tensor, sums_BHT1: Tensor) -> Tensor:
    """As cuDNN's backward pass does: keys that pad a tile count exp(0 - sum) times a zero."""
    return by_q_BHTK + (-sums_BHT1).exp() * 0.0


def not_causal(qkv_BTE: Tensor, n_head: int) -> Tensor:
    q_BHTK, k_BHTK, v_BHTK = (
        part_BTE.unflatten(-1, (n_head, -1)).transpose(1, 2)
        for part_BTE in qkv_BTE.chunk(3, dim=-1)
    )
    y_BHTK = torch.nn.functional.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK)
    return y_BHTK.transpose(1, 2).flatten(-2)


def scaled_gradient(qkv_BTE: Tensor, n_head: int) -> Tensor:
    """The right output, its gradient 3% too large."""
    y_BTE = attend(qkv_BTE, n_head)
    return y_BTE.detach() + 1.03 * (y_BTE - y_BTE.detach())


WRONG: dict[str, Attention] = {
    "output 3% too large": lambda qkv_BTE, n_head: 1.03 * attend(qkv_BTE, n_head),
    "gradient 3% too large": scaled_gradient,
    "queries' gradient 3% too large": rounded(lambda by_q, sums: 1.03 * by_q),
    "gradient NaN": rounded(lambda by_q, sums: by_q * torch.nan),
    "gradient NaN for logits far below 0": rounded(nan_where_sums_vanish),
    "one query's gradient infinite": rounded(
        lambda by_q, sums: by_q.index_fill(2, torch.tensor([63]), torch.inf)
    ),
    "every position seen": not_causal,
    "heads mixed": lambda qkv_BTE, n_head: attend(qkv_BTE, n_head // 2),
}


def right(attention: Attention, dtype: torch.dtype, head_size: int = 32, length: int = 64) -> bool:
    return is_right(attention, 2, head_size, length, torch.empty(0, dtype=dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fault", WRONG)
def test_attention_check_finds_a_wrong_kernel(fault, dtype):
    """Off by a few percent, not finite, or only so where logits are far below 0."""
    assert not right(WRONG[fault], dtype)


@pytest.mark.parametrize("head_size", [1, 8, 64, 128])
@pytest.mark.parametrize("length", [1, 16, 200])
def test_attention_check_passes_the_rounding_of_each_precision(head_size, length):
    """Torch's own kernels, in either precision, and in bf16 what flash kernels round off."""
    for name in ("flash", "math"):
        for dtype in (torch.float32, torch.bfloat16):
            assert right(attention_by(name), dtype, head_size, length)
    assert right(rounded(), torch.bfloat16, head_size, length)


def test_attention_check_leaves_torchs_random_state():
    before = torch.get_rng_state()
    right(attend, torch.float32)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_attention_check_decides_which_kernels_are_chosen_from(precision):
    """A wrong kernel is not taken, nor where it is asked for."""

    def kernel(name: str) -> Attention:
        return rounded(nan_where_sums_vanish) if name == "flash" else attention_by(name)

    assert choose_sdpa(MODEL, precision, CPU, 1, None) == "flash"
    assert choose_sdpa(MODEL, precision, CPU, 1, None, kernel) == "math"
    with pytest.raises(BadInput, match="^runtime.sdpa: found flash, expected math: "):
        choose_sdpa(MODEL, precision, CPU, 1, "flash", kernel)


def test_attention_check_keeps_cudnn_from_sequences_that_do_not_fill_its_tiles():
    """On a machine where it is right, at least as far as it is tried."""

    def kernel(name: str) -> Attention:
        return attend if name == "cudnn" else attention_by(name)

    for block_size in (128, 1024):
        model = replace(MODEL, block_size=block_size)
        assert choose_sdpa(model, "bf16", CPU, 1, "cudnn", kernel) == "cudnn"
    for block_size in (64, 192, 1000):
        with pytest.raises(BadInput, match="found cudnn, expected flash or math"):
            choose_sdpa(replace(MODEL, block_size=block_size), "bf16", CPU, 1, "cudnn", kernel)


def test_attention_check_takes_lack_of_memory_for_no_verdict():
    def hungry(qkv_BTE: Tensor, n_head: int) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        choose_sdpa(MODEL, "float32", CPU, 1, None, lambda _: hungry)
