"""Parameter and FLOP counts by every convention in use; exact integers, torch-free.

A count is meaningless without its convention: they differ by up to 3x at small sizes and move a
fitted exponent by 0.2 (Porian et al. 2024, arXiv 2406.19146; Pearce and Song 2024, 2406.12907).
`V` is the tokenizer's vocabulary, since padding is an artefact of speed. A multiply-accumulate
is 2 FLOP; training costs three forward passes; FLOP are per trained token.

Formulas are GPT-2's; another family has its own weights of a layer in place of 12 d^2 and 13 d
(model/families.py), and one without attention no L d T.

Symbols: L n_layer, d n_embd, T block_size, V vocab_size, D trained tokens.
"""

from model.config import GPTConfig


def params_total(config: GPTConfig) -> int:
    """All trained weights, the tied head once: V d + T d + L (12 d^2 + 13 d) + 2 d.

    Hoffmann et al. 2022 (2203.15556) call this N, nanoGPT `get_num_params(False)`.
    """
    family, tables = config.architecture, 1 if config.tied_head else 2
    layers = config.n_layer * (family.matrices(config) + family.vectors(config))
    return tables * config.vocab_size * config.n_embd + layers + family.ends(config)


def params_allocated(config: GPTConfig) -> int:
    """`params_total` with the padded rows of the embedding: what occupies memory."""
    tables = 1 if config.tied_head else 2
    pads = config.padded_vocab_size - config.vocab_size
    return params_total(config) + tables * pads * config.n_embd


def params_non_embedding(config: GPTConfig) -> int:
    """The matrices of the layers: 12 L d^2 (Kaplan et al. 2020, 2001.08361, eq. 2.1)."""
    return config.n_layer * config.architecture.matrices(config)


def params_matmul(config: GPTConfig) -> int:
    """Weights that multiply: 12 L d^2 + V d, the head but no lookup (Porian et al. 2024)."""
    return params_non_embedding(config) + config.vocab_size * config.n_embd


def params_effective(config: GPTConfig) -> int:
    """N with C = 6 N D exactly: `flops_per_token_exact` / 6 = 12 L d^2 + V d + L d T."""
    return params_matmul(config) + _attention(config)


def flops_per_token_exact(config: GPTConfig) -> int:
    """Matrix products with the causal half of attention: 6 (12 L d^2 + V d) + 6 L d T.

    The default of this project: the work that the mathematics asks for (Porian et al. 2024, whose
    attention is three times Kaplan's table 1). Norms, GELU, softmax and biases add less than 1%
    from 100M parameters up.
    """
    return 6 * params_effective(config)


def flops_per_token_exact_full(config: GPTConfig) -> int:
    """`flops_per_token_exact` with all of attention: 6 (12 L d^2 + V d) + 12 L d T.

    What a kernel without a mask executes, and what torch's FlopCounterMode counts.
    """
    return 6 * params_matmul(config) + 12 * _attention(config)


def flops_per_token_full_attention(config: GPTConfig) -> int:
    """6 P + 12 L d T with P all weights (PaLM, Chowdhery et al. 2022, 2204.02311, appendix B)."""
    return 6 * params_total(config) + 12 * _attention(config)


def flops_per_token_nanogpt(config: GPTConfig) -> int:
    """6 P + 12 L d T with P less what is only looked up: what published MFU figures mean.

    karpathy/nanoGPT, model.py, `estimate_mfu`, with V unpadded: less the learned positions, and
    the token embedding where the head is another one.
    """
    family = config.architecture
    looked_up = config.block_size if family.learns_positions else 0
    looked_up += 0 if config.tied_head else config.vocab_size
    return flops_per_token_full_attention(config) - 6 * looked_up * config.n_embd


def flops_per_token_6n(config: GPTConfig) -> int:
    """6 P with P all weights, attention ignored: the C = 6 N D of Hoffmann et al. 2022."""
    return 6 * params_total(config)


def flops_per_token_kaplan(config: GPTConfig) -> int:
    """6 N with N = 12 L d^2, no head and no attention (Kaplan et al. 2020, section 2.1)."""
    return 6 * params_non_embedding(config)


def flops_per_token_kaplan_forward(config: GPTConfig) -> int:
    """One forward pass, 2 N + 2 L d T (Kaplan et al. 2020, table 1: C_forward)."""
    return 2 * params_non_embedding(config) + 2 * _attention(config)


def flops_per_token_porian(config: GPTConfig) -> int:
    """6 (12 L d^2 + V d), the head but no attention (Porian et al. 2024, section 3)."""
    return 6 * params_matmul(config)


def flops_per_token_chinchilla(config: GPTConfig) -> int:
    """Hoffmann et al. 2022, appendix F, as written: with both embeddings and the softmax.

    Per token 3 (2 V d + L (24 d^2 + 4 T d + 3 h T) + 2 V d), h = n_head. The FLOP ratios printed
    in their table A4 leave out both V d terms: `flops_per_token_chinchilla_a4`.
    """
    embedding = 2 * config.vocab_size * config.n_embd
    return flops_per_token_chinchilla_a4(config) + 3 * (embedding + embedding)


def flops_per_token_chinchilla_a4(config: GPTConfig) -> int:
    """The layers of Hoffmann et al. 2022, appendix F, alone: the form behind their table A4."""
    softmax = 3 * config.n_layer * config.n_head * config.block_size
    return 3 * (2 * params_non_embedding(config) + 4 * _attention(config) + softmax)


def _attention(config: GPTConfig) -> int:
    """L d T, where there is attention."""
    is_there = config.architecture.attends
    return config.n_layer * config.n_embd * config.block_size if is_there else 0
