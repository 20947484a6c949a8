"""GPT-2 and its loss head: pre-norm blocks, tanh GELU, learned positions, a tied head, SDPA.

Radford et al. 2019; names are those of OpenAI's checkpoint.

Shape key: B sequences, T positions, N = B T positions of all sequences, E embedding, H heads,
K head size, F hidden width 4E, V rows of the vocabulary table, padded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import LAYER_NORM_EPS, GPTConfig
from model.network import Network, scaled
from model.parametrization import scales


class Attention(nn.Module):
    """Causal self-attention with scale 1/sqrt(K), or another parametrization's."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head = config.n_head
        self.scale = scales(config).attention
        self.c_attn = nn.Linear(config.n_embd, 3 * config.n_embd)
        self.c_proj = nn.Linear(config.n_embd, config.n_embd)

    def forward(self, x_NE: Tensor, positions: int) -> Tensor:
        """Mix the positions of each sequence: each looks at itself and those before it."""
        qkv_BTE = self.c_attn(x_NE).unflatten(0, (-1, positions))
        return self.c_proj(attend(qkv_BTE, self.n_head, self.scale).flatten(0, 1))


def attend(qkv_BTE: Tensor, n_head: int, scale: float | None = None) -> Tensor:
    """Causal attention of `n_head` heads; queries, keys and values side by side in the last axis.

    By the kernel that torch's switches allow (training/device/backends.py).
    """
    q_BHTK, k_BHTK, v_BHTK = (
        part_BTE.unflatten(-1, (n_head, -1)).transpose(1, 2)
        for part_BTE in qkv_BTE.chunk(3, dim=-1)
    )
    return attend_heads(q_BHTK, k_BHTK, v_BHTK, scale).transpose(1, 2).flatten(-2)


def attend_heads(
    q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, scale: float | None = None
) -> Tensor:
    """Causal attention; in float32 on a CPU, whose bf16 kernel is the slower one backwards."""
    if q_BHTK.device.type == "cpu" and q_BHTK.dtype is torch.bfloat16:
        with torch.autocast("cpu", enabled=False):
            parts = q_BHTK.float(), k_BHTK.float(), v_BHTK.float()
            return attend_heads(*parts, scale).bfloat16()
    return F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, is_causal=True, scale=scale)


class MLP(nn.Module):
    """Two linear layers with OpenAI's GELU, the tanh form, between them."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.c_fc = nn.Linear(config.n_embd, 4 * config.n_embd)
        self.c_proj = nn.Linear(4 * config.n_embd, config.n_embd)

    def forward(self, x_NE: Tensor) -> Tensor:
        """Transform each position by itself."""
        h_NF = F.gelu(self.c_fc(x_NE), approximate="tanh")
        return self.c_proj(h_NF)


class Block(nn.Module):
    """One layer: each half reads a normalised copy of the residual stream and adds to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPS)
        self.attn = Attention(config)
        self.ln_2 = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPS)
        self.mlp = MLP(config)
        self.scale = scales(config).residual

    def forward(self, x_NE: Tensor, positions: int) -> Tensor:
        """The residual stream after this layer."""
        x_NE = x_NE + scaled(self.attn(self.ln_1(x_NE), positions), self.scale)
        return x_NE + scaled(self.mlp(self.ln_2(x_NE)), self.scale)


class GPT(Network):
    """GPT-2; without a generator its weights are left unset, for `load_state_dict`."""

    def __init__(self, config: GPTConfig, generator: torch.Generator | None) -> None:
        super().__init__(config)
        with torch.device("meta"):  # torch's own initialisation would draw from global state
            self.wte = nn.Embedding(config.padded_vocab_size, config.n_embd)
            self.wpe = nn.Embedding(config.block_size, config.n_embd)
            self.h = nn.ModuleList(Block(config) for _ in range(config.n_layer))
            self.ln_f = nn.LayerNorm(config.n_embd, eps=LAYER_NORM_EPS)
            self.lm_head = nn.Linear(config.n_embd, config.padded_vocab_size, bias=False)
        self.to_empty(device="cpu")
        self.lm_head.weight = self.wte.weight
        if generator is not None:
            self._initialise(generator)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        """Logits_BTV, or with targets their mean loss (model/network.py)."""
        positions = tokens_BT.shape[1]
        positions_T = torch.arange(positions, device=tokens_BT.device)
        x_NE = self.residual((self.wte(tokens_BT) + self.wpe(positions_T)).flatten(0, 1))
        for block in self.h:
            x_NE = block(x_NE, positions)
        return self.logits_or_loss(self.ln_f(x_NE), positions, targets_BT)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Draw the weights (GPT-2, section 2.3; other scales: model/parametrization.py).

        matrices and both embeddings   N(0, init_std)
        residual output projections    N(0, init_std / sqrt(2 n_layer))
        gains 1; biases and rows beyond the true vocabulary 0
        """
        std, by_size = self.config.init_std, scales(self.config)
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                parameter.zero_()
            elif parameter.ndim == 1:
                parameter.fill_(1.0)
            elif name.endswith(".c_proj.weight"):
                parameter.normal_(0, by_size.residual_std, generator=generator)
            elif name == "wte.weight":
                self.draw_rows(parameter, generator)
            elif name == "wpe.weight":
                parameter.normal_(0, std, generator=generator)
            else:
                parameter.normal_(0, by_size.hidden_std, generator=generator)
