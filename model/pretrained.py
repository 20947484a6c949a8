"""GPT-2 weights in and out of Hugging Face form: names, transposed layers, vocabulary padding.

transformers prefixes `transformer.` and keeps each linear layer as OpenAI's Conv1D: the weight is
(in, out), the transpose of `nn.Linear`'s.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from configs.errors import BadInput
from model.config import GPTConfig
from model.gpt import GPT

_PREFIX = "transformer."
_HEAD = "lm_head.weight"
_EMBEDDING = "wte.weight"
_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
# Causal masks that old checkpoints keep beside the weights.
_MASKS = (".attn.bias", ".attn.masked_bias")


def to_hugging_face(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of transformers' GPT2LMHeadModel from that of `GPT`, without the padded rows."""
    converted = {
        _PREFIX + name: weight.T.contiguous() if name.endswith(_TRANSPOSED) else weight
        for name, weight in state.items()
        if name != _HEAD
    }
    embedding = state[_EMBEDDING][: config.vocab_size].clone()
    return converted | {_PREFIX + _EMBEDDING: embedding, _HEAD: embedding}


def from_hugging_face(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of `GPT` from that of GPT2LMHeadModel or GPT2Model; padded rows are zero.

    Raises BadInput where a weight is missing, unknown, of another shape, or the head is not tied.
    """
    found = {
        name.removeprefix(_PREFIX): weight
        for name, weight in state.items()
        if not name.endswith(_MASKS)
    }
    head = found.pop(_HEAD, None)
    converted = {
        name: weight.T.contiguous() if name.endswith(_TRANSPOSED) else weight
        for name, weight in found.items()
    }
    if _EMBEDDING in converted:
        embedding = converted[_EMBEDDING]
        if head is not None and not torch.equal(head, embedding):
            raise BadInput(f"{_HEAD}: found weights of its own, expected those of {_EMBEDDING}")
        if embedding.shape[0] == config.vocab_size:
            pads = config.padded_vocab_size - config.vocab_size
            embedding = torch.cat([embedding, embedding.new_zeros(pads, config.n_embd)])
        converted |= {_EMBEDDING: embedding, _HEAD: embedding}
    _check(converted, config)
    return converted


def _check(converted: Mapping[str, Tensor], config: GPTConfig) -> None:
    expected = {name: weight.shape for name, weight in GPT(config, None).named_parameters()}
    for name in sorted(expected.keys() ^ converted.keys() - {_HEAD}):
        problem = "not found" if name in expected else "found, but GPT-2 has no such weight"
        raise BadInput(f"{name}: {problem}")
    for name, shape in expected.items():
        if converted[name].shape != shape:
            raise BadInput(
                f"{name}: found shape {tuple(converted[name].shape)}, expected {tuple(shape)}"
            )
