"""The architectures that a trial may have: one entry each, with all that is not its network.

Torch-free, so that planning counts any of them. A network is the class that `network` names;
model/flops.py makes every convention's count of these three: weights of a layer that multiply,
those that do not, and what stands outside the layers beside the token embedding and the head.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Protocol

from common.errors import require


class Shape(Protocol):
    """What an entry may ask of a shape (model/config.py)."""

    @property
    def n_layer(self) -> int:
        """Blocks."""

    @property
    def n_head(self) -> int:
        """Attention heads."""

    @property
    def n_embd(self) -> int:
        """Width."""

    @property
    def block_size(self) -> int:
        """Context."""

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""

    @property
    def inner_width(self) -> int:
        """Hidden width of a gated MLP."""


@dataclass(frozen=True)
class Family:
    """One architecture.

    network   its class, as module:class (model/network.py says what it must do)
    matrices  weights of a layer that multiply: 2 FLOP a token each, forwards
    vectors   weights of a layer that do not: gains and biases
    ends      weights outside the layers, beside the token embedding and the head
    kept      bytes of a token's activations that a layer keeps for the backward pass, in bf16
              (compiled) and in float32
    fields    what it has of the shape's fields that not all families have
    head_multiple     what the size of a head must be a multiple of
    learns_positions  whether `ends` has a vector for each position
    compiles  whether torch.compile takes it whole
    deepest   the most layers that a ladder gives it; None: as many as it gives GPT-2
    """

    network: str
    matrices: Callable[[Shape], int]
    vectors: Callable[[Shape], int]
    ends: Callable[[Shape], int]
    kept: Callable[[Shape], tuple[int, int]]
    fields: frozenset[str] = frozenset()
    head_multiple: int = 1
    learns_positions: bool = False
    compiles: bool = True
    deepest: int | None = None

    @property
    def attends(self) -> bool:
        """Whether its layers attend, so that FLOP grow with context."""
        return "n_head" in self.fields


def matched_inner_width(n_embd: int) -> int:
    """Width of a gated MLP with the weights of GPT-2's: 8 d / 3, to the nearest multiple of 8.

    Three matrices of d x 8d/3 for two of d x 4d (Shazeer 2020, arXiv 2002.05202, section 2).
    """
    return 8 * max(1, round(n_embd / 3))


def _llama_matrices(shape: Shape) -> int:
    """Queries and output d x d, keys and values as wide as their heads, three of the MLP."""
    d, head = shape.n_embd, shape.n_embd // shape.n_head
    return 2 * d * d + 2 * d * head * shape.kv_heads + 3 * d * shape.inner_width


_OF_A_TRANSFORMER = frozenset({"n_head", "residual", "parametrization", "base_width", "base_depth"})

# Bytes kept by a layer of width d and hidden width F, in bf16 and in float32 (counted by
# tests/test_training_device_memory.py). GPT-2, compiled, by torch 2.13: the normalised input of
# both LayerNorms (2 x 4; 2 x 4), what the products read of them (2 x 2; 2 x 4), queries, keys and
# values (6; 12), attention's output (2; 4), the hidden layer before and after GELU (2 x 8; 2 x
# 16). Eager mode keeps the residual stream in place of the normalised inputs: as much. LLaMA: the
# same with gate, values and their product (3 F) for the hidden layer; eager mode has the gate
# twice and parts of norms and rotations, so this stands between both. LSTM: what its CPU kernel
# was seen to keep at a width of 128 in 1 to 3 layers, 54 to 55 and 67 to 69; cuDNN's was not
# measured.
FAMILIES: dict[str, Family] = {
    "gpt2": Family(
        network="model.gpt:GPT",
        matrices=lambda s: 12 * s.n_embd**2,
        vectors=lambda s: 13 * s.n_embd,
        ends=lambda s: s.block_size * s.n_embd + 2 * s.n_embd,
        kept=lambda s: (36 * s.n_embd, 64 * s.n_embd),
        fields=_OF_A_TRANSFORMER,
        learns_positions=True,
    ),
    "llama": Family(
        network="model.llama:Llama",
        matrices=_llama_matrices,
        vectors=lambda s: 2 * s.n_embd,
        ends=lambda s: s.n_embd,
        kept=lambda s: (
            22 * s.n_embd + 7 * s.inner_width,
            36 * s.n_embd + 14 * s.inner_width,
        ),
        fields=_OF_A_TRANSFORMER | {"n_kv_head", "n_inner", "tied_head"},
        head_multiple=2,  # components turn in pairs
    ),
    "lstm": Family(
        network="model.lstm:LSTM",
        matrices=lambda s: 8 * s.n_embd**2,
        vectors=lambda s: 8 * s.n_embd,
        ends=lambda s: 0,
        kept=lambda s: (56 * s.n_embd, 70 * s.n_embd),
        compiles=False,
        deepest=2,  # Kaplan's had 1 to 4 layers; nothing leads past a layer here
    ),
}


def without_family(shape: Any) -> dict[str, Any]:
    """The fields that only some families have, with their values in the others."""
    owned = frozenset().union(*(family.fields for family in FAMILIES.values()))
    known = {field.name: field.default for field in fields(shape)} | {"n_head": 0}
    return {name: value for name, value in known.items() if name in owned}


def require_own_fields(shape: Any) -> None:
    """BadInput for what only other families have, unless as in those that lack it."""
    for name, value in without_family(shape).items():
        owners = [key for key, family in FAMILIES.items() if name in family.fields]
        fits = shape.family in owners or getattr(shape, name) == value
        found = f"{_yaml(getattr(shape, name))} with model.family {shape.family}"
        expected = f"{_yaml(value)}: it is a field of {' and '.join(owners)} alone"
        require(fits, f"model.{name}", found, expected)


def require_base(shape: Any) -> None:
    """BadInput for a parametrization without the base that it is relative to, or with another."""
    name = shape.parametrization
    for field, owners in (("base_width", ("mup", "completep")), ("base_depth", ("completep",))):
        value = getattr(shape, field)
        found = f"{_yaml(value)} with model.parametrization {name}"
        fits = value is not None and value > 0 if name in owners else value is None
        expected = "more than 0" if name in owners else "null"
        require(fits, f"model.{field}", found, expected)


def _yaml(value: Any) -> str:
    """A value as it is typed."""
    return "null" if value is None else str(value).lower()
