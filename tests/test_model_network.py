"""Laws of every family's network: causality, initialisation, padding that changes nothing."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from model.config import GPTConfig
from model.families import FAMILIES
from model.network import Network, build_network, weights_digest

TINY = GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=250, init_std=0.02)
LLAMA = replace(TINY, family="llama")
SHAPES = {
    "gpt2": TINY,
    "llama": LLAMA,
    "llama_shared": replace(LLAMA, n_kv_head=1, n_inner=40, tied_head=False),
    "lstm": TINY.as_family("lstm"),
}
every_shape = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(config: GPTConfig, count: int = 4) -> tuple[Tensor, Tensor]:
    shape = (count, config.block_size + 1)
    ids = torch.randint(config.vocab_size, shape, generator=seeded(7))
    return ids[:, :-1], ids[:, 1:]


def embedding(network: Network) -> nn.Embedding:
    """The token embedding: the first of all, where there is one of positions too."""
    return next(part for part in network.modules() if isinstance(part, nn.Embedding))


def test_network_of_every_family_is_tested_here() -> None:
    """A family without its laws is no family."""
    assert {config.family for config in SHAPES.values()} == set(FAMILIES)


@every_shape
def test_network_position_sees_no_later_one_and_all_before(config: GPTConfig) -> None:
    """The gradient of a logit is 0 at every later token, and at no earlier one."""
    network = build_network(replace(config, init_std=0.2), seeded(0))
    seen: list[Tensor] = []
    embedding(network).register_forward_hook(lambda _, __, x_BTE: seen.append(x_BTE) or x_BTE)
    logits_BTV = network(windows(config)[0])
    for position in (0, 5, config.block_size - 1):
        target = logits_BTV[:, position, : config.vocab_size].square().sum()
        (gradient_BTE,) = torch.autograd.grad(target, seen[0], retain_graph=True)
        assert gradient_BTE[:, position + 1 :].abs().sum() == 0
        assert (gradient_BTE[:, : position + 1].abs().sum(dim=(0, 2)) > 0).all()


@every_shape
def test_network_initial_loss_is_that_of_a_uniform_guess(config: GPTConfig) -> None:
    """ln V: no family begins with a preference."""
    loss = build_network(config, seeded(0))(*windows(config, 32)).item()
    assert loss == pytest.approx(math.log(config.vocab_size), abs=0.05)


@every_shape
def test_network_loss_is_the_mean_over_positions_in_float32(config: GPTConfig) -> None:
    """By hand from the logits; by the chunked head; in bf16 within its rounding."""
    network = build_network(config, seeded(0))
    tokens_BT, targets_BT = windows(config)
    log_p_BTV = network(tokens_BT)[..., : config.vocab_size].log_softmax(-1)
    by_hand = -log_p_BTV.gather(-1, targets_BT[..., None]).mean()
    loss = network(tokens_BT, targets_BT)
    torch.testing.assert_close(loss, by_hand)
    network.chunked_head = True
    torch.testing.assert_close(network(tokens_BT, targets_BT), by_hand)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(tokens_BT, targets_BT)
    assert rounded.dtype is torch.float32 and rounded.shape == ()
    assert rounded.item() == pytest.approx(loss.item(), abs=0.01)


@every_shape
def test_network_padding_changes_neither_loss_nor_gradient(
    config: GPTConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows beyond the vocabulary are drawn as nothing, never predicted, and get no gradient."""
    padded = build_network(config, seeded(0))
    with monkeypatch.context() as patch:
        patch.setattr("model.config.VOCAB_MULTIPLE", 1)
        exact = build_network(config, seeded(0))
    losses = [network(*windows(config)) for network in (padded, exact)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    for loss in losses:
        loss.backward()
    twins = dict(exact.named_parameters())
    for name, parameter in padded.named_parameters():
        ours, theirs = parameter.grad, twins[name].grad
        assert ours is not None and theirs is not None
        assert ours[len(theirs) :].abs().sum() == 0
        torch.testing.assert_close(ours[: len(theirs)], theirs, rtol=1e-5, atol=1e-8)
    assert (padded(windows(config)[0])[..., config.vocab_size :] == -math.inf).all()


@every_shape
def test_network_weights_come_from_the_generator_alone(config: GPTConfig) -> None:
    """Whatever torch drew before; and a state loaded into a blank one is the same network."""
    state = torch.get_rng_state()
    first = build_network(config, seeded(3))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert weights_digest(build_network(config, seeded(3))) == weights_digest(first)
    assert weights_digest(build_network(config, seeded(4))) != weights_digest(first)
    other = build_network(config, None)
    other.load_state_dict(first.state_dict())
    assert weights_digest(other) == weights_digest(first)
    assert (other.lm_head.weight is embedding(other).weight) == config.tied_head


@every_shape
def test_network_compiled_has_the_loss_and_gradient_of_eager_mode(config: GPTConfig) -> None:
    """As one graph, where its family says that torch takes it."""
    if not config.architecture.compiles:
        pytest.skip("not compiled")
    network = build_network(replace(config, init_std=0.2), seeded(0))
    found = []
    for step in (network, torch.compile(network, fullgraph=True, dynamic=False, backend="eager")):
        loss = step(*windows(config))
        found.append((loss.detach(), torch.autograd.grad(loss, list(network.parameters()))))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-6, atol=0)
    largest = max(gradient.abs().max().item() for gradient in found[0][1])
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=largest * 1e-6)
