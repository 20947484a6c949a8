"""LLaMA's own: scales of its weights, rotary positions, heads that share keys and values."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from model.config import GPTConfig
from model.families import matched_inner_width
from model.flops import params_non_embedding
from model.llama import Llama, RMSNorm, rotate, rotation

TINY = GPTConfig(2, 4, 32, 16, 250, 0.02, family="llama")


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_llama_initial_weights_have_the_scales_of_gpt2() -> None:
    """init_std; on what is added to the residual stream, less by sqrt(2 n_layer)."""
    config = replace(TINY, n_layer=4, n_embd=128, tied_head=False)
    network = Llama(config, seeded(0))
    assert not any(name.endswith("bias") for name, _ in network.named_parameters())
    for name, weight in network.named_parameters():
        if weight.ndim == 1:
            assert (weight == 1).all(), name
            continue
        is_added = name.endswith(("o_proj.weight", "down_proj.weight"))
        std = 0.02 / math.sqrt(2 * 4) if is_added else 0.02
        drawn = weight[:250] if name in ("embed_tokens.weight", "lm_head.weight") else weight
        assert drawn.std().item() == pytest.approx(std, rel=0.05), name


@pytest.mark.parametrize("n_embd", [16, 64, 96, 768, 1600])
def test_llama_mlp_has_the_weights_of_gpt2s(n_embd: int) -> None:
    """Within what a multiple of 8 allows, so that sizes of both families are comparable."""
    width = matched_inner_width(n_embd)
    assert width % 8 == 0 and abs(3 * width - 8 * n_embd) <= 12
    config = replace(TINY, n_embd=n_embd, n_head=2)
    gpt2 = params_non_embedding(replace(config, family="gpt2"))
    assert params_non_embedding(config) == pytest.approx(gpt2, rel=0.07)


def test_llama_rotation_keeps_lengths_and_sees_distances_only() -> None:
    """The product of a rotated query and key depends on how far apart they stand."""
    turn_TK = rotation(40, 8, torch.device("cpu"))
    q_K, k_K = torch.randn(2, 8, generator=seeded(0))

    def product(query_at: int, key_at: int) -> Tensor:
        q_TK, k_TK = (rotate(x_K.expand(1, 1, 40, 8), turn_TK)[0, 0] for x_K in (q_K, k_K))
        assert torch.allclose(q_TK.norm(dim=1), q_K.norm())
        return q_TK[query_at] @ k_TK[key_at]

    torch.testing.assert_close(product(5, 2), product(35, 32), rtol=1e-4, atol=1e-5)
    assert abs(product(5, 2) - product(5, 4)) > 0.1


def test_llama_shared_keys_are_copies_for_each_head() -> None:
    """One head of keys and values equals as many with the same weights."""
    shared = Llama(replace(TINY, n_kv_head=2, init_std=0.2), seeded(0))
    whole = Llama(replace(TINY, init_std=0.2), None)
    state = dict(shared.state_dict())
    for name, weight in shared.state_dict().items():
        if name.endswith(("k_proj.weight", "v_proj.weight")):
            heads = weight.unflatten(0, (2, -1))
            state[name] = heads.repeat_interleave(2, dim=0).flatten(0, 1)
    whole.load_state_dict(state)
    tokens_BT = torch.arange(16).expand(2, 16)
    torch.testing.assert_close(shared(tokens_BT), whole(tokens_BT), rtol=1e-5, atol=1e-5)


def test_llama_rms_norm_is_as_written_in_float32() -> None:
    """x / sqrt(mean x^2 + eps) times the gain, whatever the stream is rounded to."""
    norm = RMSNorm(8)
    torch.nn.init.normal_(norm.weight, generator=seeded(0))
    x_NE = torch.randn(3, 8, generator=seeded(1)).bfloat16()
    x_NE = x_NE.float()
    expected = norm.weight * x_NE / (x_NE.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(norm(x_NE.bfloat16()), expected)
