"""The products of the residual study are autocast's."""

import torch
import torch.nn.functional as F

from benchmarks.residual_loss import product


def test_product_is_that_of_autocast_forwards_and_backwards() -> None:
    """Value and gradients are those of a linear layer under bf16 autocast, rounding aside."""
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(shape, generator=generator) for shape in ((7, 24), (5, 24), (5,))]
    found = []
    for linear in (F.linear, product):
        leaves = [value.clone().requires_grad_() for value in given]
        with torch.autocast("cpu", torch.bfloat16, enabled=linear is F.linear):
            y = linear(*leaves)
        assert y.dtype is torch.bfloat16
        found.append([y, *torch.autograd.grad(y.float().square().sum(), leaves)])
    for theirs, ours in zip(*found, strict=True):
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0.02, atol=0.1)
