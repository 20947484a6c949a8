"""The loss head computes what torch's does, in half the memory and only once."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import model.loss
from model.config import GPTConfig
from model.gpt import GPT
from model.loss import compute_in_chunks, cross_entropy, head_and_cross_entropy

# The last row of the table is padding.
SHAPES = [(1, 5), (7, 250), (64, 50_000)]  # the last one takes several chunks


def example(shape: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits_NV = 5 * torch.randn(shape, generator=generator).to(dtype)
    return logits_NV, torch.randint(shape[1] - 1, shape[:1], generator=generator)


def ours(logits_NV: Tensor, targets_N: Tensor) -> Tensor:
    return cross_entropy(logits_NV, targets_N, logits_NV.shape[1] - 1)


def loss_and_gradient(function, logits_NV: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    leaf_NV = logits_NV.clone().requires_grad_()
    loss = function(leaf_NV * 1, targets_N)
    (3 * loss).backward()
    assert leaf_NV.grad is not None
    return loss.detach(), leaf_NV.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_loss_and_gradient_are_those_of_torch(shape: tuple[int, int], dtype: torch.dtype) -> None:
    """Loss and gradient are torchs."""
    logits_NV, targets_N = example(shape, dtype)
    loss, gradient_NV = loss_and_gradient(ours, logits_NV, targets_N)
    expected, expected_NV = loss_and_gradient(
        lambda z_NV, y_N: F.cross_entropy(z_NV[:, :-1].float(), y_N), logits_NV, targets_N
    )
    assert loss.dtype is torch.float32 and gradient_NV.dtype is dtype
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    rtol = 1e-5 if dtype is torch.float32 else 2e-2  # rounded twice: before and after the factor 3
    torch.testing.assert_close(gradient_NV, expected_NV, rtol=rtol, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_loss_compiled_is_the_eager_one_and_fills_no_pads(dtype: torch.dtype) -> None:
    """The compiled loss is the eager one, without a pass that fills the pads' logits."""
    logits_NV, targets_N = example((7, 250), dtype)
    graphs = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> object:
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(ours, fullgraph=True, dynamic=False, backend=backend)
    leaf_NV = logits_NV.clone().requires_grad_()
    loss = compiled(leaf_NV, targets_N)
    (gradient_NV,) = torch.autograd.grad(3 * loss, leaf_NV)
    expected, expected_NV = loss_and_gradient(ours, logits_NV, targets_N)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    rtol = 1e-5 if dtype is torch.float32 else 2e-2
    torch.testing.assert_close(gradient_NV, expected_NV, rtol=rtol, atol=1e-8)
    assert (gradient_NV[:, -1] == 0).all()
    assert len(graphs) == 1 and "setitem" not in graphs[0].code


def test_loss_in_evaluation_changes_the_pads_alone() -> None:
    """Evaluation changes the logits of the pads alone."""
    logits_NV, targets_N = example((7, 250), torch.float32)
    before_NV = logits_NV.clone()
    with torch.no_grad():
        loss = ours(logits_NV, targets_N)
    assert torch.equal(logits_NV[:, :-1], before_NV[:, :-1])
    torch.testing.assert_close(loss, loss_and_gradient(ours, logits_NV, targets_N)[0])


def test_loss_refuses_a_second_backward() -> None:
    """A second backward is refused."""
    logits_NV, targets_N = example((7, 250), torch.float32)
    loss = cross_entropy(logits_NV.requires_grad_() * 1, targets_N, 249)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def head_example(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    """37 positions, 12 wide, over 256 rows of which 250 are words; chunks of 8 positions."""
    generator = torch.Generator().manual_seed(0)
    x_NE = torch.randn((37, 12), generator=generator, dtype=dtype)
    weight_VE = torch.randn((256, 12), generator=generator, dtype=dtype)
    return x_NE, weight_VE, torch.randint(250, (37,), generator=generator)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.loss, "CHUNK_LOGITS", 8 * 256)


def plain_head(x_NE: Tensor, weight_VE: Tensor, targets_N: Tensor) -> Tensor:
    logits_NV = F.linear(x_NE, weight_VE)
    return F.cross_entropy(logits_NV[:, :250].float(), targets_N)


@pytest.mark.parametrize("bf16", [False, True])
def test_loss_of_the_chunked_head_is_that_of_the_plain_one(small_chunks: None, bf16: bool) -> None:
    """The chunked head is the plain one."""
    found = []
    for head in (plain_head, lambda *given: head_and_cross_entropy(*given, 250)):
        x_NE, weight_VE, targets_N = head_example()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = head(x_NE.requires_grad_(), weight_VE.requires_grad_(), targets_N)
        (3 * loss).backward()
        assert loss.dtype is torch.float32 and weight_VE.grad is not None
        found.append((loss.detach(), x_NE.grad, weight_VE.grad))
    for ours, theirs in zip(found[1], found[0], strict=True):
        # bf16: eight bits of each product, in another order
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0.02 if bf16 else 1e-5)
    assert abs(found[0][0] - found[1][0]) < (0.002 if bf16 else 1e-5)


def test_loss_of_the_chunked_head_has_its_own_gradient(small_chunks: None) -> None:
    """The chunked heads gradient is that of its loss.

    By central differences, in each direction of a random few.
    """
    x_NE, weight_VE, targets_N = head_example(torch.float64)
    _, gradient_NE, gradient_VE = compute_in_chunks(x_NE, weight_VE, targets_N, 250)
    for value, gradient in ((x_NE, gradient_NE), (weight_VE, gradient_VE)):
        direction = torch.randn(value.shape, generator=torch.Generator().manual_seed(1))
        ends = []
        for sign in (1, -1):
            value += sign * 1e-2 * direction
            ends.append(plain_head(x_NE, weight_VE, targets_N).item())
            value -= sign * 1e-2 * direction
        slope = (ends[0] - ends[1]) / 2e-2
        assert slope == pytest.approx((gradient * direction).sum().item(), rel=1e-3)


def test_loss_of_the_chunked_head_never_holds_all_logits(small_chunks: None) -> None:
    """The chunked head never holds all logits."""
    sizes = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            sizes.extend([result.numel()] if isinstance(result, Tensor) else [])
            return result

    with Watch():
        compute_in_chunks(*head_example(), 250)
    assert max(sizes) == 256 * 12 and 8 * 256 in sizes  # the table's gradient; a chunk


def test_loss_of_the_chunked_head_is_one_operator_to_the_compiler(small_chunks: None) -> None:
    """The chunked head is one operator to the compiler."""
    inputs = [value.requires_grad_() for value in head_example()[:2]]
    operator = torch.ops.gpt2.head_and_cross_entropy
    torch.library.opcheck(operator, (*inputs, head_example()[2], 250))
    config = GPTConfig(n_layer=1, n_head=2, n_embd=16, block_size=8, vocab_size=250, init_std=0.1)
    network = GPT(config, torch.Generator().manual_seed(0))
    ids_BT = torch.randint(250, (5, 9), generator=torch.Generator().manual_seed(1))
    window = ids_BT[:, :-1], ids_BT[:, 1:]
    plain = network(*window)
    expected = torch.autograd.grad(plain, list(network.parameters()))
    network.chunked_head = True
    compiled = torch.compile(network, fullgraph=True, dynamic=False, backend="aot_eager")
    loss = compiled(*window)
    torch.testing.assert_close(loss, plain, rtol=0, atol=1e-5)
    found = torch.autograd.grad(loss, list(network.parameters()))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
