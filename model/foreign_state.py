"""Weights under other projects' names, as our networks' `load_state_dict` takes them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from common.errors import BadInput
from model.config import GPTConfig
from model.network import build_network

HEAD = "lm_head.weight"
EMBEDDING = "wte.weight"
_POSITIONS = "wpe.weight"
# By family: in words, its token embedding and what its layers are called.
_NAMES = {"gpt2": ("GPT-2", EMBEDDING, "h"), "llama": ("LLaMA", "embed_tokens.weight", "layers")}
# Causal masks that old checkpoints keep beside the weights.
_MASKS = (".attn.bias", ".attn.masked_bias")


def complete_state(found: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of a network from weights by its names, in float32; padded rows are zero.

    Raises BadInput where a weight is missing, unknown, not finite, of another shape or kind of
    number, or the head is not tied that should be.
    """
    _, table, _ = _NAMES[config.family]
    state = {name: weight for name, weight in found.items() if not name.endswith(_MASKS)}
    for name, weight in state.items():
        if not weight.is_floating_point():
            raise BadInput(f"{name}: found {weight.dtype}, expected floating-point weights")
        if not weight.isfinite().all():
            raise BadInput(f"{name}: found nan or inf, expected finite weights; its run diverged")
    state = {name: weight.float() for name, weight in state.items()}
    if config.tied_head:
        head = state.pop(HEAD, None)
        if head is not None and table in state and not torch.equal(head, state[table]):
            raise BadInput(f"{HEAD}: found weights of its own, expected those of {table}")
    shape = {"vocab_size": config.vocab_size, "n_embd": config.n_embd}
    for name in {table, HEAD} & state.keys():
        _require_shape(name, state[name], shape)
        pads = config.padded_vocab_size - config.vocab_size
        state[name] = torch.cat([state[name], state[name].new_zeros(pads, config.n_embd)])
    if config.tied_head and table in state:
        state[HEAD] = state[table]
    _check(state, config)
    return state


def _check(state: Mapping[str, Tensor], config: GPTConfig) -> None:
    words, _, blocks = _NAMES[config.family]
    layers = {name.split(".")[1] for name in state if name.startswith(f"{blocks}.")}
    if len(layers) != config.n_layer:
        text = f"found weights of {len(layers)} layers, expected n_layer {config.n_layer}"
        raise BadInput(f"{blocks}: {text}")
    if _POSITIONS in state:
        positions = {"n_positions": config.block_size, "n_embd": config.n_embd}
        _require_shape(_POSITIONS, state[_POSITIONS], positions)
    # Now what a wrong config says makes no network that is larger than the weights.
    network = build_network(config, None)
    expected = {name: weight.shape for name, weight in network.named_parameters()}
    given = state.keys() - {HEAD} if config.tied_head else state.keys()
    for name in sorted(expected.keys() ^ given):
        problem = "not found" if name in expected else f"found, but {words} has no such weight"
        raise BadInput(f"{name}: {problem}")
    for name, shape in expected.items():
        _require_shape(name, state[name], dict(enumerate(shape)))


def _require_shape(name: str, weight: Tensor, expected: Mapping[Any, int]) -> None:
    """Refuse another shape than `expected`, which is by the names of the config where they tell."""
    found, wanted = tuple(weight.shape), tuple(expected.values())
    if found != wanted:
        names = [key for key in expected if isinstance(key, str)]
        by = f" by {' and '.join(names)} of the config" if names else ""
        raise BadInput(f"{name}: found shape {found}, expected {wanted}{by}")
