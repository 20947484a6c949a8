"""config.json of a GPT-2 in Hugging Face form: which fields this project honours, and which not.

By an allow-list: a field that changes the network is honoured or refused by its name, and so is one
that nobody here knows. Absent fields have transformers' defaults (5.23, GPT2Config).
"""

import re
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import read_json
from configs.schema import build
from model.config import LAYER_NORM_EPS, GPTConfig

# Fields of the shape, with their defaults, and their other names in transformers.
_SHAPE = {"vocab_size": 50257, "n_positions": 1024, "n_embd": 768, "n_layer": 12, "n_head": 12}
_ALIASES = {
    "hidden_size": "n_embd",
    "max_position_embeddings": "n_positions",
    "num_attention_heads": "n_head",
    "num_hidden_layers": "n_layer",
}
# The tanh form of GELU by its names in transformers.
_TANH_GELU = ("gelu_new", "gelu_fast", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_accurate")
_MODELS = ("GPT2LMHeadModel", "GPT2Model", "GPT2DoubleHeadsModel")
# What changes the network, with the one value that gives GPT-2; the first value is written.
_FIXED: dict[str, tuple[Any, ...]] = {
    "model_type": ("gpt2",),
    "activation_function": _TANH_GELU,
    "layer_norm_epsilon": (LAYER_NORM_EPS,),
    "scale_attn_weights": (True,),
    "scale_attn_by_inverse_layer_idx": (False,),
    "add_cross_attention": (False,),
    "tie_word_embeddings": (True,),
    "is_encoder_decoder": (False,),
    "pruned_heads": ({},),
}
# What does not: dropout, of which evaluation has none; how transformers computes or answers (with
# reorder_and_upcast_attn the same product in float32); heads and words that are not read here.
_HARMLESS = re.compile(
    r"(resid|embd|attn)_pdrop|summary_\w+|(\w+_)?token_ids?|initializer_range|dtype|torch_dtype"
    r"|reorder_and_upcast_attn|chunk_size_feed_forward|gradient_checkpointing|use_cache"
    r"|output_\w+|(use_)?return_dict(_in_generate)?|torchscript|use_bfloat16|tf_legacy_loss"
    r"|_?attn_implementation\w*|transformers_version|_name_or_path|_commit_hash|is_decoder"
    r"|id2label|label2id|_?num_labels|problem_type|finetuning_task|task_specific_params"
    r"|prefix|tokenizer(_class|_sha256)?|n_special|tie_encoder_decoder|predict_special_tokens"
    r"|remove_invalid_values"
    # Of text that is generated.
    r"|(max|min)_(length|new_tokens)|do_sample|early_stopping|num_\w+_groups|num_beams"
    r"|num_return_sequences|temperature|top_[kp]|typical_p|\w+_penalty|no_repeat_ngram_size"
    r"|encoder_no_repeat_ngram_size|bad_words_ids|(begin_)?suppress_tokens"
    r"|exponential_decay_length_penalty"
)


def is_harmless(name: str) -> bool:
    """Whether a field of any model's config.json leaves the network as it is."""
    return _HARMLESS.fullmatch(name) is not None


def read_values(path: Path) -> dict[str, Any]:
    """The fields of a config.json; BadInput where it has none."""
    values = read_json(path)
    if not isinstance(values, dict):
        raise BadInput(f"{path}: found no mapping, expected GPT-2's configuration")
    return values


def shape_of(values: dict[str, Any], path: Path) -> GPTConfig:
    """The shape that a config.json describes; BadInput names a field that is not GPT-2's."""
    values = _without_aliases(path, values)
    for name, found in values.items():
        _check(path, name, found, values)
    shape = {name: values.get(name, default) for name, default in _SHAPE.items()}
    shape["block_size"] = shape.pop("n_positions")
    shape["init_std"] = values.get("initializer_range", 0.02)
    return build(GPTConfig, shape, str(path))


def config_values(config: GPTConfig, end_of_text: int) -> dict[str, Any]:
    """config.json for transformers' GPT2LMHeadModel."""
    return {
        "architectures": [_MODELS[0]],
        **{name: values[0] for name, values in _FIXED.items() if name != "pruned_heads"},
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.block_size,
        "n_ctx": config.block_size,
        "vocab_size": config.vocab_size,
        "initializer_range": config.init_std,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float32",
    }


def _without_aliases(path: Path, values: dict[str, Any]) -> dict[str, Any]:
    """The same with GPT-2's names alone, and without what is null, which is as if absent."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = _ALIASES.get(key, key)
        if value is not None and found.setdefault(name, value) != value:
            raise BadInput(f"{path}: {key}: found {value!r}, but {name} {found[name]!r} as well")
    return found


def _check(path: Path, name: str, found: Any, values: dict[str, Any]) -> None:
    if name in _SHAPE or is_harmless(name):
        return
    if name in _FIXED:
        expected = _FIXED[name]
    elif name == "n_inner":
        width = values.get("n_embd", _SHAPE["n_embd"])
        expected = (4 * width,) if isinstance(width, int | float) else ()
    elif name == "n_ctx":
        expected = (values.get("n_positions", _SHAPE["n_positions"]),)
    elif name == "architectures":
        expected = tuple([model] for model in _MODELS)
    else:
        raise BadInput(
            f"{path}: {name}: found {found!r}, a field that GPT-2 here does not have, so that it "
            "might change the network; remove it if it does not"
        )
    kind = type(found) is bool  # which is 0 or 1 otherwise
    if not any(found == value and (type(value) is bool) == kind for value in expected):
        raise BadInput(
            f"{path}: {name}: found {found!r}, expected {' or '.join(map(repr, expected))}: "
            "another network than GPT-2 as it is computed here"
        )
