"""Laws of the counts: published sizes, the built network, torch's own FLOP counter."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from model import flops
from model.config import GPTConfig
from model.network import build_network

GPT2 = {
    124_439_808: GPTConfig(12, 12, 768, 1024, 50257, 0.02),
    354_823_168: GPTConfig(24, 16, 1024, 1024, 50257, 0.02),
    774_030_080: GPTConfig(36, 20, 1280, 1024, 50257, 0.02),
    1_557_611_200: GPTConfig(48, 25, 1600, 1024, 50257, 0.02),
}
SMALL = GPT2[124_439_808]
SHAPES = [
    *GPT2.values(),
    GPTConfig(1, 1, 16, 64, 256, 0.1),
    GPTConfig(2, 1, 16, 64, 250, 0.1),
    GPTConfig(3, 4, 48, 7, 1000, 0.1),
    GPTConfig(6, 6, 384, 256, 50304, 0.02),
    GPTConfig(12, 12, 768, 1024, 50257, 0.02, family="llama"),
    GPTConfig(3, 4, 48, 7, 1000, 0.1, family="llama", n_kv_head=2, tied_head=False),
    GPTConfig(2, 2, 16, 64, 250, 0.1, family="llama", n_inner=24),
    GPTConfig(3, 0, 48, 7, 1000, 0.1, family="lstm"),
]


@pytest.mark.parametrize(("published", "config"), GPT2.items())
def test_flops_meet_published_sizes_exactly(published: int, config: GPTConfig) -> None:
    """Published sizes are met exactly."""
    assert flops.params_total(config) == published


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_flops_counts_equal_the_built_network(config: GPTConfig) -> None:
    """Counts equal the built network."""
    network = build_network(config, None)
    shapes = {name: weight.shape for name, weight in network.named_parameters()}
    allocated = sum(shape.numel() for shape in shapes.values())
    assert flops.params_allocated(config) == allocated
    pads = config.padded_vocab_size - config.vocab_size
    tables = [part.weight for part in network.modules() if isinstance(part, torch.nn.Embedding)]
    outside = {id(weight) for weight in (*tables, network.lm_head.weight)}
    padded = {id(tables[0]), id(network.lm_head.weight)}
    assert flops.params_total(config) == allocated - len(padded) * pads * config.n_embd
    matrices = sum(
        weight.numel()
        for weight in network.parameters()
        if weight.ndim == 2 and id(weight) not in outside
    )
    assert flops.params_non_embedding(config) == matrices


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_flops_of_matrix_products_equal_the_counter_of_torch(config: GPTConfig) -> None:
    """Matrix products equal torchs counter."""
    # Meta tensors have shapes and no numbers, so that 1.6B parameters cost nothing.
    # Flash kernels count the scores twice (they recompute them); the plain kernel counts once.
    network = build_network(config, None).to("meta")
    tokens_BT = torch.zeros(2, config.block_size, dtype=torch.int64, device="meta")
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        network(tokens_BT, tokens_BT).backward()
    computed = replace(config, vocab_size=config.padded_vocab_size)
    expected = flops.flops_per_token_exact_full(computed) * tokens_BT.numel()
    if config.family == "lstm":  # nobody asks for the gradient of the zeros it begins with
        expected -= len(tokens_BT) * 2 * config.n_layer * 4 * config.n_embd**2
    assert counter.get_total_flops() == expected


def test_flops_of_attention_count_half_of_its_square() -> None:
    """Attention counts half of its square."""
    attention = 12 * SMALL.n_layer * SMALL.n_embd * SMALL.block_size
    full, causal = flops.flops_per_token_exact_full(SMALL), flops.flops_per_token_exact(SMALL)
    assert full - causal == attention // 2
    assert full == pytest.approx(8.544e8, rel=1e-4)
    assert causal == pytest.approx(7.978e8, rel=1e-4)


@pytest.mark.parametrize("config", SHAPES, ids=str)
def test_flops_by_effective_parameters_make_6nd_exact(config: GPTConfig) -> None:
    """Effective parameters make 6nd exact."""
    assert 6 * flops.params_effective(config) == flops.flops_per_token_exact(config)


def test_flops_of_gpt2_small_by_every_convention() -> None:
    """Conventions of gpt2 small."""
    assert flops.params_non_embedding(SMALL) == 84_934_656
    assert flops.params_matmul(SMALL) == 84_934_656 + 50257 * 768
    assert flops.flops_per_token_6n(SMALL) == 6 * 124_439_808
    assert flops.flops_per_token_kaplan(SMALL) == 6 * 84_934_656
    assert flops.flops_per_token_porian(SMALL) == 6 * flops.params_matmul(SMALL)
    assert flops.flops_per_token_full_attention(SMALL) == pytest.approx(8.599e8, rel=1e-4)
    assert flops.flops_per_token_kaplan_forward(SMALL) == 2 * 84_934_656 + 2 * 12 * 1024 * 768


def test_flops_of_nanogpt_omit_the_positions() -> None:
    """Nanogpts count omits the positions."""
    counted = 124_439_808 - 1024 * 768
    assert flops.flops_per_token_nanogpt(SMALL) == 6 * counted + 12 * 12 * 768 * 1024


@pytest.mark.parametrize(
    ("n_layer", "n_head", "n_embd", "printed"),
    [
        (10, 10, 640, 1.03),
        (20, 16, 1024, 1.10),
        (24, 10, 1280, 1.08),
        (26, 14, 1792, 1.04),
        (28, 16, 2048, 1.03),
        (40, 28, 3584, 0.99),
    ],
)
def test_flops_reproduce_table_a4_of_chinchilla(
    n_layer: int, n_head: int, n_embd: int, printed: float
) -> None:
    """Chinchillas table a4."""
    config = GPTConfig(n_layer, n_head, n_embd, 2048, 32000, 0.02)
    # Their models have relative positions, a matrix per layer, in place of learned ones.
    positions = n_layer * n_embd**2 - config.block_size * n_embd
    params = flops.params_total(config) + positions
    assert round(flops.flops_per_token_chinchilla_a4(config) / (6 * params), 2) == printed


def test_flops_of_mfu_omit_a_table_that_is_only_looked_up() -> None:
    """With a head of its own the token embedding is no more work than learned positions are."""
    tied = GPTConfig(2, 2, 16, 64, 250, 0.1, family="llama")
    untied = replace(tied, tied_head=False)
    assert flops.params_total(untied) - flops.params_total(tied) == 250 * 16
    assert flops.flops_per_token_nanogpt(untied) == flops.flops_per_token_nanogpt(tied)
    assert flops.flops_per_token_nanogpt(tied) == flops.flops_per_token_full_attention(tied)


def test_flops_of_chinchilla_in_full_add_both_embeddings() -> None:
    """Chinchillas full form adds both embeddings."""
    embeddings = 3 * 2 * (2 * SMALL.vocab_size * SMALL.n_embd)
    layers = flops.flops_per_token_chinchilla_a4(SMALL)
    assert flops.flops_per_token_chinchilla(SMALL) == layers + embeddings


def test_flops_are_counted_without_torch() -> None:
    """Counting needs no torch."""
    check = "import sys, model.config, model.flops; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
