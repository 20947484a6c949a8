"""LLaMA in and out of Hugging Face form: config.json and the names of LlamaForCausalLM's weights.

By an allow-list, as GPT-2's (model/hugging_face_config.py): a field that changes the network is
honoured or refused by its name. Absent fields have transformers' defaults (5.23, LlamaConfig).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from common.errors import BadInput
from configs.schema import build
from model.config import LAYER_NORM_EPS, ROPE_THETA, GPTConfig
from model.families import matched_inner_width
from model.foreign_state import HEAD, complete_state
from model.hugging_face_config import is_harmless

MODEL_TYPE = "llama"
_PREFIX = "model."
_TABLE = "embed_tokens.weight"
_INVERSE_FREQUENCIES = ".rotary_emb.inv_freq"  # which old checkpoints keep beside the weights
# Fields of the shape, with transformers' defaults, and our names for them.
_SHAPE: dict[str, tuple[str, Any]] = {
    "vocab_size": ("vocab_size", 32000),
    "max_position_embeddings": ("block_size", 2048),
    "hidden_size": ("n_embd", 4096),
    "intermediate_size": ("n_inner", 11008),
    "num_hidden_layers": ("n_layer", 32),
    "num_attention_heads": ("n_head", 32),
    "num_key_value_heads": ("n_kv_head", None),
    "tie_word_embeddings": ("tied_head", False),
    "initializer_range": ("init_std", 0.02),
}
_ROPE = {"rope_type": "default", "rope_theta": ROPE_THETA}
# What changes the network: the values that give the one of model/llama.py, the first of which is
# written, and transformers' default.
_FIXED: dict[str, tuple[tuple[Any, ...], Any]] = {
    "hidden_act": (("silu", "swish"), "silu"),
    "rms_norm_eps": ((LAYER_NORM_EPS,), 1e-6),
    "rope_theta": ((ROPE_THETA,), 10_000.0),
    "rope_parameters": ((_ROPE, {"rope_theta": ROPE_THETA}), _ROPE),
    "attention_bias": ((False,), False),
    "mlp_bias": ((False,), False),
}
_HARMLESS = ("attention_dropout", "pretraining_tp", "model_type", "keys_to_ignore_at_inference")
_MODELS = ("LlamaForCausalLM", "LlamaModel")


def shape_of(values: Mapping[str, Any], path: Path) -> GPTConfig:
    """The shape that a config.json of this type describes; BadInput names a field that is not ours.

    Null is as if absent; a hidden width and heads that go without saying here are left unsaid.
    """
    values = {name: value for name, value in values.items() if value is not None}
    shape = {ours: values.get(name, default) for name, (ours, default) in _SHAPE.items()}
    for name, (allowed, default) in _FIXED.items():
        _require(path, name, values.get(name, default), allowed)
    for name, found in values.items():
        if name == "head_dim":
            product = found * shape["n_head"] if isinstance(found, int) else None
            _require(path, f"{name} times num_attention_heads", product, (shape["n_embd"],))
        elif name == "architectures":
            _require(path, name, found, tuple([model] for model in _MODELS))
        elif name not in (*_SHAPE, *_FIXED, *_HARMLESS) and not is_harmless(name):
            raise BadInput(
                f"{path}: {name}: found {found!r}, a field that LLaMA here does not have, so that "
                "it might change the network; remove it if it does not"
            )
    if shape["n_kv_head"] == shape["n_head"]:
        shape["n_kv_head"] = None
    if isinstance(shape["n_embd"], int) and shape["n_inner"] == matched_inner_width(
        shape["n_embd"]
    ):
        shape["n_inner"] = None
    return build(GPTConfig, {**shape, "family": "llama"}, str(path))


def config_values(config: GPTConfig, end_of_text: int) -> dict[str, Any]:
    """config.json for transformers' LlamaForCausalLM."""
    ours = {"n_inner": config.inner_width, "n_kv_head": config.kv_heads}
    shape = {name: ours.get(field, getattr(config, field)) for name, (field, _) in _SHAPE.items()}
    return {
        "architectures": [_MODELS[0]],
        "model_type": MODEL_TYPE,
        **shape,
        "head_dim": config.n_embd // config.n_head,
        **{name: allowed[0] for name, (allowed, _) in _FIXED.items()},
        "attention_dropout": 0.0,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float32",
    }


def to_llama(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of LlamaForCausalLM from that of `Llama`, without the padded rows."""
    converted = {_PREFIX + name: weight for name, weight in state.items() if name != HEAD}
    table = state[_TABLE][: config.vocab_size].clone()
    head = table if config.tied_head else state[HEAD][: config.vocab_size].clone()
    return converted | {_PREFIX + _TABLE: table, HEAD: head}


def from_llama(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of `Llama` from that of LlamaForCausalLM or LlamaModel; padded rows are zero.

    Raises BadInput where a weight is missing, unknown or of another shape.
    """
    found = {
        name.removeprefix(_PREFIX): weight
        for name, weight in state.items()
        if not name.endswith(_INVERSE_FREQUENCIES)
    }
    return complete_state(found, config)


def _require(path: Path, name: str, found: Any, allowed: tuple[Any, ...]) -> None:
    if not any(found == value and type(found) is type(value) for value in allowed):
        raise BadInput(
            f"{path}: {name}: found {found!r}, expected {' or '.join(map(repr, allowed))}: "
            "another network than LLaMA as it is computed here"
        )
