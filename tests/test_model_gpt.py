"""Laws of the network: causality, initialisation, padding that changes nothing."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import GPTConfig
from model.gpt import GPT
from model.network import weights_digest

TINY = GPTConfig(n_layer=2, n_head=2, n_embd=32, block_size=16, vocab_size=250, init_std=0.02)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def windows(config: GPTConfig, count: int = 4) -> tuple[Tensor, Tensor]:
    shape = (count, config.block_size + 1)
    ids = torch.randint(config.vocab_size, shape, generator=seeded(7))
    return ids[:, :-1], ids[:, 1:]


def test_gpt_position_sees_no_later_one() -> None:
    """No position sees a later one."""
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


def test_gpt_loss_is_the_mean_over_positions_in_float32() -> None:
    """Loss is the mean over positions in float32."""
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


@pytest.mark.parametrize("bf16", [False, True])
@pytest.mark.parametrize("vocab_size", [250, 256])
def test_gpt_compiled_has_the_loss_and_gradient_of_eager_mode(bf16: bool, vocab_size: int) -> None:
    """Compiled, loss and gradient are those of eager mode, of padded tables as of others."""
    network = GPT(replace(TINY, vocab_size=vocab_size, init_std=0.2), seeded(0))
    tokens_BT, targets_BT = windows(network.config)
    found = []
    for step in (network, torch.compile(network, fullgraph=True, dynamic=False, backend="eager")):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = step(tokens_BT, targets_BT)
        found.append((loss.detach(), torch.autograd.grad(loss, list(network.parameters()))))
    torch.testing.assert_close(found[1][0], found[0][0], rtol=1e-6, atol=0)
    largest = max(gradient.abs().max().item() for gradient in found[0][1])
    for ours, theirs in zip(found[1][1], found[0][1], strict=True):
        # bf16: a logit's slope is rounded before the mean over positions, or after it
        torch.testing.assert_close(ours, theirs, rtol=0, atol=largest * (1e-2 if bf16 else 1e-6))


def test_gpt_rounds_the_residual_stream_where_asked() -> None:
    """In bf16 every block adds to a stream of bf16; weights and float32 passes are as before."""
    plain = GPT(replace(TINY, init_std=0.2), seeded(0))
    rounded = GPT(replace(plain.config, residual="bf16"), seeded(0))
    assert weights_digest(rounded) == weights_digest(plain)
    torch.testing.assert_close(rounded(*windows(TINY)), plain(*windows(TINY)), rtol=0, atol=0)
    for network, dtype in ((plain, torch.float32), (rounded, torch.bfloat16)):
        seen: list[torch.dtype] = []
        for block in network.h:
            block.register_forward_hook(lambda *given, seen=seen: seen.append(given[-1].dtype))
        with torch.autocast("cpu", torch.bfloat16):
            loss = network(*windows(TINY))
        assert seen == [dtype] * TINY.n_layer and loss.dtype is torch.float32
        assert loss.item() == pytest.approx(plain(*windows(TINY)).item(), abs=0.02)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_gpt_initial_loss_is_that_of_a_uniform_guess() -> None:
    """Initial loss is that of a uniform guess."""
    network = GPT(TINY, seeded(0))
    assert network(*windows(TINY, 32)).item() == pytest.approx(math.log(250), abs=0.05)


@pytest.mark.parametrize(("n_embd", "above"), [(64, 0.05), (768, 0.2)])
def test_gpt_initial_loss_with_the_vocabulary_of_gpt2(n_embd: int, above: float) -> None:
    """Initial loss at gpt2s vocabulary.

    Over all targets alike: ln V and half the logits' variance, n_embd init_std^2 by the norm.
    """
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


def test_gpt_padding_changes_neither_loss_nor_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding changes neither loss nor gradient."""
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


def test_gpt_never_predicts_padded_ids() -> None:
    """Padded ids are never predicted."""
    logits_BTV = GPT(TINY, seeded(0))(windows(TINY)[0])
    assert logits_BTV.shape == (4, TINY.block_size, 256)
    assert (logits_BTV[..., 250:] == -math.inf).all()


def test_gpt_initial_weights_have_the_scales_of_gpt2() -> None:
    """Initial weights have gpt2s scales."""
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


def test_gpt_weights_come_from_the_generator_alone() -> None:
    """Weights come from the generator alone."""
    state = torch.get_rng_state()
    first = weights_digest(GPT(TINY, seeded(3)))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(1)
    assert weights_digest(GPT(TINY, seeded(3))) == first
    assert weights_digest(GPT(TINY, seeded(4))) != first


def test_gpt_head_is_the_embedding_and_stays_so() -> None:
    """Head is the embedding and stays so."""
    network = GPT(TINY, seeded(0))
    assert network.lm_head.weight is network.wte.weight
    other = GPT(TINY, None)
    other.load_state_dict(network.state_dict())
    assert other.lm_head.weight is other.wte.weight
    assert weights_digest(other) == weights_digest(network)


def test_gpt_digest_sees_every_byte() -> None:
    """Digest sees every byte."""
    network = GPT(TINY, seeded(0))
    digests = {weights_digest(network)}
    for parameter in network.parameters():
        with torch.no_grad():
            parameter.view(-1)[-1] += 1
        digests.add(weights_digest(network))
    assert len(digests) == 1 + len(list(network.parameters()))
