"""The shape of a GPT-2-style network; torch-free, so that planning needs no torch."""

from dataclasses import dataclass

from configs.errors import BadInput, require_positive

VOCAB_MULTIPLE = 128


@dataclass(frozen=True)
class GPTConfig:
    """Shape and initialisation of one network.

    `vocab_size` is the tokenizer's; the embedding table has `padded_vocab_size` rows and the rows
    beyond `vocab_size` are never predicted. `init_std` is the standard deviation of every matrix
    (GPT-2: 0.02); residual output projections get init_std / sqrt(2 n_layer).
    """

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    init_std: float

    def __post_init__(self) -> None:
        require_positive(
            "model", self, "n_layer", "n_head", "n_embd", "block_size", "vocab_size", "init_std"
        )
        if self.n_embd % self.n_head:
            raise BadInput(
                f"model.n_head: found {self.n_head}, expected a divisor of n_embd {self.n_embd}"
            )

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
