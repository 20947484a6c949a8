"""LLaMA: RMSNorm before each half, rotary positions, shared keys and values, SwiGLU, no biases.

Touvron et al. 2023, arXiv 2302.13971; shared keys and values by Ainslie et al. 2023, arXiv
2305.13245. Names are those of transformers' LlamaForCausalLM. With n_inner null the MLP has the
weights of GPT-2's. The head is the token embedding, unless tied_head is false.

Shape key: B sequences, T positions, N = B T positions of all sequences, E embedding, H heads,
G heads of keys and values, K head size, F hidden width, V rows of the vocabulary table, padded.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import LAYER_NORM_EPS, ROPE_THETA, GPTConfig
from model.gpt import attend_heads
from model.network import Network, scaled
from model.parametrization import scales


class RMSNorm(nn.Module):
    """x / rms(x) times a gain, in float32 (Zhang and Sennrich 2019, arXiv 1910.07467)."""

    def __init__(self, n_embd: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_embd))

    def forward(self, x_NE: Tensor) -> Tensor:
        """The normalised stream, in float32."""
        return F.rms_norm(x_NE.float(), self.weight.shape, self.weight, LAYER_NORM_EPS)


def rotation(positions: int, head_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines_TK of the angle of each position and component (Su et al. 2021, eq. 15).

    Component i and i + K/2 turn together, by theta^(-2i/K) a position.
    """
    half_K = torch.arange(0, head_size, 2, device=device, dtype=torch.float32) / head_size
    positions_T = torch.arange(positions, device=device, dtype=torch.float32)
    angles_TK = torch.outer(positions_T, ROPE_THETA**-half_K).repeat(1, 2)
    return angles_TK.cos(), angles_TK.sin()


def rotate(x_BHTK: Tensor, turn_TK: tuple[Tensor, Tensor]) -> Tensor:
    """Each pair of components turned by the angle of its position, in float32."""
    first, second = x_BHTK.float().chunk(2, dim=-1)
    turned_BHTK = torch.cat([-second, first], dim=-1)
    return (x_BHTK * turn_TK[0] + turned_BHTK * turn_TK[1]).to(x_BHTK.dtype)


class Attention(nn.Module):
    """Causal self-attention as GPT-2's; H / G heads of queries share keys and values."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.n_head, self.kv_heads = config.n_head, config.kv_heads
        self.scale = scales(config).attention
        kv_width = config.n_embd // config.n_head * config.kv_heads
        self.q_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)
        self.k_proj = nn.Linear(config.n_embd, kv_width, bias=False)
        self.v_proj = nn.Linear(config.n_embd, kv_width, bias=False)
        self.o_proj = nn.Linear(config.n_embd, config.n_embd, bias=False)

    def forward(self, x_NE: Tensor, positions: int, turn_TK: tuple[Tensor, Tensor]) -> Tensor:
        """Mix the positions of each sequence: each looks at itself and those before it."""

        def heads(x_NE: Tensor, count: int) -> Tensor:
            return x_NE.unflatten(0, (-1, positions)).unflatten(-1, (count, -1)).transpose(1, 2)

        q_BHTK = rotate(heads(self.q_proj(x_NE), self.n_head), turn_TK)
        k_BGTK = rotate(heads(self.k_proj(x_NE), self.kv_heads), turn_TK)
        v_BGTK = heads(self.v_proj(x_NE), self.kv_heads)
        if (sharing := self.n_head // self.kv_heads) > 1:
            k_BGTK = k_BGTK.repeat_interleave(sharing, dim=1)
            v_BGTK = v_BGTK.repeat_interleave(sharing, dim=1)
        y_BTE = attend_heads(q_BHTK, k_BGTK, v_BGTK, self.scale).transpose(1, 2).flatten(-2)
        return self.o_proj(y_BTE.flatten(0, 1))


class MLP(nn.Module):
    """SwiGLU: values gated by the SiLU of a gate (Shazeer 2020, arXiv 2002.05202)."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.n_embd, config.inner_width, bias=False)
        self.up_proj = nn.Linear(config.n_embd, config.inner_width, bias=False)
        self.down_proj = nn.Linear(config.inner_width, config.n_embd, bias=False)

    def forward(self, x_NE: Tensor) -> Tensor:
        """Transform each position by itself."""
        h_NF = F.silu(self.gate_proj(x_NE)) * self.up_proj(x_NE)
        return self.down_proj(h_NF)


class Block(nn.Module):
    """One layer: each half reads a normalised copy of the residual stream and adds to it."""

    def __init__(self, config: GPTConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.n_embd)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.n_embd)
        self.mlp = MLP(config)
        self.scale = scales(config).residual

    def forward(self, x_NE: Tensor, positions: int, turn_TK: tuple[Tensor, Tensor]) -> Tensor:
        """The residual stream after this layer."""
        y_NE = self.self_attn(self.input_layernorm(x_NE), positions, turn_TK)
        x_NE = x_NE + scaled(y_NE, self.scale)
        return x_NE + scaled(self.mlp(self.post_attention_layernorm(x_NE)), self.scale)


class Llama(Network):
    """A LLaMA; without a generator its weights are left unset, for `load_state_dict`."""

    def __init__(self, config: GPTConfig, generator: torch.Generator | None) -> None:
        super().__init__(config)
        with torch.device("meta"):  # torch's own initialisation would draw from global state
            self.embed_tokens = nn.Embedding(config.padded_vocab_size, config.n_embd)
            self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layer))
            self.norm = RMSNorm(config.n_embd)
            self.lm_head = nn.Linear(config.n_embd, config.padded_vocab_size, bias=False)
        self.to_empty(device="cpu")
        if config.tied_head:
            self.lm_head.weight = self.embed_tokens.weight
        if generator is not None:
            self._initialise(generator)

    def forward(self, tokens_BT: Tensor, targets_BT: Tensor | None = None) -> Tensor:
        """Logits_BTV, or with targets their mean loss (model/network.py)."""
        positions = tokens_BT.shape[1]
        head_size = self.config.n_embd // self.config.n_head
        turn_TK = rotation(positions, head_size, tokens_BT.device)
        x_NE = self.residual(self.embed_tokens(tokens_BT).flatten(0, 1))
        for block in self.layers:
            x_NE = block(x_NE, positions, turn_TK)
        return self.logits_or_loss(self.norm(x_NE), positions, targets_BT)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        """Draw the weights, by GPT-2's rule, so that arms begin alike (see model/gpt.py).

        matrices, token embedding and head   N(0, init_std)
        residual output projections          N(0, init_std / sqrt(2 n_layer))
        gains 1; rows beyond the true vocabulary 0
        """
        by_size = scales(self.config)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 1:
                parameter.fill_(1.0)
            elif name in ("embed_tokens.weight", "lm_head.weight"):
                self.draw_rows(parameter, generator)
            elif name.endswith((".o_proj.weight", ".down_proj.weight")):
                parameter.normal_(0, by_size.residual_std, generator=generator)
            else:
                parameter.normal_(0, by_size.hidden_std, generator=generator)
