"""The loss head computes what torch's does, in half the memory and only once."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.loss import cross_entropy

SHAPES = [(1, 5), (7, 250), (64, 50_000)]  # the last one takes several chunks


def example(shape: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits_NV = 5 * torch.randn(shape, generator=generator).to(dtype)
    logits_NV[:, -1] = -math.inf  # a padded row of the table
    return logits_NV, torch.randint(shape[1] - 1, shape[:1], generator=generator)


def loss_and_gradient(function, logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    leaf_NV = logits_NV.clone().requires_grad_()
    loss = function(leaf_NV * 1, targets_N)
    (3 * loss).backward()
    assert leaf_NV.grad is not None
    return loss.detach(), leaf_NV.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_are_torchs(shape: tuple[int, int], dtype: torch.dtype) -> None:
    logits_NV, targets_N = example(shape, dtype)
    loss, gradient_NV = loss_and_gradient(cross_entropy, logits_NV, targets_N)
    expected, expected_NV = loss_and_gradient(
        lambda z_NV, y_N: F.cross_entropy(z_NV.float(), y_N), logits_NV, targets_N
    )
    assert loss.dtype is torch.float32 and gradient_NV.dtype is dtype
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    rtol = 1e-5 if dtype is torch.float32 else 2e-2  # rounded twice: before and after the factor 3
    torch.testing.assert_close(gradient_NV, expected_NV, rtol=rtol, atol=1e-8)


def test_evaluation_leaves_the_logits_alone() -> None:
    logits_NV, targets_N = example((7, 250), torch.float32)
    before_NV = logits_NV.clone()
    with torch.no_grad():
        loss = cross_entropy(logits_NV, targets_N)
    assert torch.equal(logits_NV, before_NV)
    torch.testing.assert_close(loss, loss_and_gradient(cross_entropy, logits_NV, targets_N)[0])


def test_a_second_backward_is_refused() -> None:
    logits_NV, targets_N = example((7, 250), torch.float32)
    loss = cross_entropy(logits_NV.requires_grad_() * 1, targets_N)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
