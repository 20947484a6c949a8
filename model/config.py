"""The shape of a network; torch-free, so that planning needs no torch."""

from dataclasses import MISSING, dataclass, fields, replace
from typing import Any, Literal

from common.errors import require, require_positive
from model.families import (
    FAMILIES,
    Family,
    matched_inner_width,
    require_base,
    require_own_fields,
    without_family,
)

VOCAB_MULTIPLE = 128
LAYER_NORM_EPS = 1e-5
ROPE_THETA = 10_000.0


@dataclass(frozen=True)
class GPTConfig:
    """Shape and initialisation of one network.

    n_layer     blocks
    n_head      attention heads, a divisor of n_embd; 0 in a family without attention
    n_embd      width
    block_size  context: positions at most
    vocab_size  the tokenizer's; the embedding table has `padded_vocab_size` rows, and those beyond
                `vocab_size` are never predicted
    init_std    standard deviation of every matrix (GPT-2: 0.02); residual output projections get
                init_std / sqrt(2 n_layer)
    residual    what the residual stream is rounded to, where the precision is bf16: bf16 moves
                fewer bytes and rounds each layer's sum, as in karpathy/llm.c
    family      the architecture: gpt2, llama or lstm (model/families.py)
    n_kv_head   llama: heads of keys and values, a divisor of n_head; null: n_head
    n_inner     llama: hidden width of the MLP; null: that with the weights of GPT-2's
    tied_head   llama: whether the head is the token embedding, as in the other families
    parametrization  standard; mup or completep: rates and initial weights are those of the base,
                     and carry over to this width, or to this width and depth
    base_width       of mup and completep: n_embd at which rate and init_std were chosen
    base_depth       of completep: n_layer at which they were
    """

    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    vocab_size: int
    init_std: float
    residual: Literal["float32", "bf16"] = "float32"
    family: str = "gpt2"
    n_kv_head: int | None = None
    n_inner: int | None = None
    tied_head: bool = True
    parametrization: Literal["standard", "mup", "completep"] = "standard"
    base_width: int | None = None
    base_depth: int | None = None

    def __post_init__(self) -> None:
        known = ", ".join(FAMILIES)
        require(self.family in FAMILIES, "model.family", repr(self.family), f"one of {known}")
        require_positive("model", self, "n_layer", "n_embd", "block_size", "vocab_size", "init_std")
        require_own_fields(self)
        if self.architecture.attends:
            require_positive("model", self, "n_head")
            divides = self.n_embd % self.n_head == 0
            require(divides, "model.n_head", self.n_head, f"a divisor of n_embd {self.n_embd}")
            size, multiple = self.n_embd // self.n_head, self.architecture.head_multiple
            expected = f"heads of a multiple of {multiple} with model.family {self.family}"
            require(size % multiple == 0, "model.n_head", f"heads of {size}", expected)
            shares = self.kv_heads > 0 and self.n_head % self.kv_heads == 0
            expected = f"a divisor of n_head {self.n_head}"
            require(shares, "model.n_kv_head", self.n_kv_head, expected)
        require_base(self)
        require(self.inner_width > 0, "model.n_inner", self.n_inner, "more than 0")

    def as_family(self, family: str) -> "GPTConfig":
        """The same shape in another architecture, less what that lacks (its heads, say)."""
        own = FAMILIES[family].fields if family in FAMILIES else frozenset()
        absent = {k: value for k, value in without_family(self).items() if k not in own}
        return replace(self, family=family, **absent)

    @property
    def unsaid(self) -> tuple[str, ...]:
        """The fields with a default that have it: what goes without saying."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) == f.default)

    @property
    def variant(self) -> dict[str, Any]:
        """The fields with a default that have another value: what is not as in GPT-2."""
        unsaid = self.unsaid
        optional = (field.name for field in fields(self) if field.default is not MISSING)
        return {name: getattr(self, name) for name in optional if name not in unsaid}

    @property
    def architecture(self) -> Family:
        """The entry of its family."""
        return FAMILIES[self.family]

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_head if self.n_kv_head is None else self.n_kv_head

    @property
    def inner_width(self) -> int:
        """Hidden width of a gated MLP."""
        return matched_inner_width(self.n_embd) if self.n_inner is None else self.n_inner

    @property
    def padded_vocab_size(self) -> int:
        """Rows of the embedding table: `vocab_size` rounded up to a multiple of 128."""
        return -(-self.vocab_size // VOCAB_MULTIPLE) * VOCAB_MULTIPLE
