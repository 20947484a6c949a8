"""The shape of a GPT-2-style network; torch-free, so that planning needs no torch."""

from dataclasses import dataclass
from typing import Literal

from common.errors import require, require_positive

VOCAB_MULTIPLE = 128
LAYER_NORM_EPS = 1e-5


@dataclass(frozen=True)
class GPTConfig:
    """Shape and initialisation of one network.

    n_layer     transformer blocks
    n_head      attention heads, a divisor of n_embd
    n_embd      width
    block_size  context: positions at most
    vocab_size  the tokenizer's; the embedding table has `padded_vocab_size` rows, and those beyond
                `vocab_size` are never predicted
    init_std    standard deviation of every matrix (GPT-2: 0.02); residual output projections get
                init_std / sqrt(2 n_layer)
    residual    what the residual stream is rounded to, where the precision is bf16: bf16 moves
                fewer bytes and rounds each layer's sum, as in karpathy/llm.c
    """

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    init_std: float
    residual: Literal["float32", "bf16"] = "float32"

    def __post_init__(self) -> None:
        require_positive(
            "model", self, "n_layer", "n_head", "n_embd", "block_size", "vocab_size", "init_std"
        )
        divides = self.n_embd % self.n_head == 0
        require(divides, "model.n_head", self.n_head, f"a divisor of n_embd {self.n_embd}")

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
