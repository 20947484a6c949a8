"""Laws of the network: causality, initialisation, padding that changes nothing."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import GPTConfig
from model.gpt import GPT, weights_digest

TINY = GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=250, init_std=0.02)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(config: GPTConfig, count: int = 4) -> tuple[Tensor, Tensor]:
    shape = (count, config.block_size + 1)
    ids = torch.randint(config.vocab_size, shape, generator=seeded(7))
    return ids[:, :-1], ids[:, 1:]


def test_no_position_sees_a_later_one() -> None:
    network = GPT(replace(TINY, init_std=0.2), seeded(0))
    seen: list[Tensor] = []
    network.wte.register_forward_hook(lambda _, __, x_BTE: seen.append(x_BTE) or x_BTE)
    tokens_BT, _ = windows(TINY)
    logits_BTV = network(tokens_BT)
    for position in (0, 5, TINY.block_size - 1):
        target = logits_BTV[:, position, : TINY.vocab_size].square().sum()
        (gradient_BTE,) = torch.autograd.grad(target, seen[0], retain_graph=True)
        assert gradient_BTE[:, position + 1 :].abs().sum() == 0
        assert (gradient_BTE[:, : position + 1].abs().sum(dim=(0, 2)) > 0).all()


def test_loss_is_the_mean_over_positions_in_float32() -> None:
    network = GPT(TINY, seeded(0))
    tokens_BT, targets_BT = windows(TINY)
    log_p_BTV = network(tokens_BT)[..., : TINY.vocab_size].log_softmax(-1)
    by_hand = -log_p_BTV.gather(-1, targets_BT[..., None]).mean()
    loss = network(tokens_BT, targets_BT)
    torch.testing.assert_close(loss, by_hand)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(tokens_BT, targets_BT)
    assert rounded.dtype is torch.float32 and rounded.shape == ()
    assert rounded.item() == pytest.approx(loss.item(), abs=0.01)


def test_initial_loss_is_that_of_a_uniform_guess() -> None:
    network = GPT(TINY, seeded(0))
    assert network(*windows(TINY, 32)).item() == pytest.approx(math.log(250), abs=0.05)


@pytest.mark.parametrize(("n_embd", "above"), [(64, 0.05), (768, 0.2)])
def test_initial_loss_at_gpt2s_vocabulary(n_embd: int, above: float) -> None:
    """Over all targets alike: ln V and half the logits' variance, n_embd init_std^2 by the norm."""
    config = replace(TINY, n_layer=1, n_embd=n_embd, vocab_size=50257)
    network = GPT(config, seeded(0))
    tokens_BT, targets_BT = windows(config)
    with torch.no_grad():
        logits_BTV = network(tokens_BT)[..., :50257]
        loss = (logits_BTV.logsumexp(-1) - logits_BTV.mean(-1)).mean().item()
        drawn = network(tokens_BT, targets_BT).item()
    assert 0 < loss - math.log(50257) < above
    assert loss == pytest.approx(math.log(50257) + n_embd * 0.02**2 / 2, abs=0.01)
    assert drawn == pytest.approx(loss, abs=0.5 * above)  # by 64 targets, and those at random


def test_padding_changes_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    padded = GPT(TINY, seeded(0))
    with monkeypatch.context() as patch:
        patch.setattr("model.config.VOCAB_MULTIPLE", 1)
        exact = GPT(TINY, seeded(0))
    assert (padded.wte.num_embeddings, exact.wte.num_embeddings) == (256, 250)

    losses = [network(*windows(TINY)) for network in (padded, exact)]
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-6, atol=0)
    for loss in losses:
        loss.backward()
    twins = dict(exact.named_parameters())
    for name, parameter in padded.named_parameters():
        ours, theirs = parameter.grad, twins[name].grad
        assert ours is not None and theirs is not None
        assert ours[len(theirs) :].abs().sum() == 0
        torch.testing.assert_close(ours[: len(theirs)], theirs, rtol=1e-5, atol=1e-8)


def test_padded_ids_are_never_predicted() -> None:
    logits_BTV = GPT(TINY, seeded(0))(windows(TINY)[0])
    assert logits_BTV.shape == (4, TINY.block_size, 256)
    assert (logits_BTV[..., 250:] == -math.inf).all()


def test_initial_weights_have_gpt2s_scales() -> None:
    config = replace(TINY, n_layer=4, n_embd=128)
    for name, weight in GPT(config, seeded(0)).named_parameters():
        if name.endswith(".bias"):
            assert (weight == 0).all(), name
        elif ".ln_" in name or name.startswith("ln_f"):
            assert (weight == 1).all(), name
        else:
            std = 0.02 / math.sqrt(2 * 4) if name.endswith("c_proj.weight") else 0.02
            drawn = weight[:250] if name == "wte.weight" else weight
            assert drawn.std().item() == pytest.approx(std, rel=0.05), name
            assert abs(drawn.mean().item()) < std / 10, name


def test_weights_come_from_the_generator_alone() -> None:
    state = torch.get_rng_state()
    first = weights_digest(GPT(TINY, seeded(3)))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert weights_digest(GPT(TINY, seeded(3))) == first
    assert weights_digest(GPT(TINY, seeded(4))) != first


def test_head_is_the_embedding_and_stays_so() -> None:
    network = GPT(TINY, seeded(0))
    assert network.lm_head.weight is network.wte.weight
    other = GPT(TINY, None)
    other.load_state_dict(network.state_dict())
    assert other.lm_head.weight is other.wte.weight
    assert weights_digest(other) == weights_digest(network)


def test_digest_sees_every_byte() -> None:
    network = GPT(TINY, seeded(0))
    digests = {weights_digest(network)}
    for parameter in network.parameters():
        with torch.no_grad():
            parameter.view(-1)[-1] += 1
        digests.add(weights_digest(network))
    assert len(digests) == 1 + len(list(network.parameters()))
