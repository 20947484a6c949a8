"""GPT-2 in and out of Hugging Face form: names, transposed layers, vocabulary padding, files.

transformers prefixes `transformer.` and keeps each linear layer as OpenAI's Conv1D: the weight is
(in, out), the transpose of `nn.Linear`'s.
"""

import base64
import dataclasses
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from configs.errors import BadInput
from configs.files import read_json, to_json
from configs.load import build
from model.config import GPTConfig
from model.gpt import GPT, LAYER_NORM_EPS

_PREFIX = "transformer."
_HEAD = "lm_head.weight"
_EMBEDDING = "wte.weight"
_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
# Causal masks that old checkpoints keep beside the weights.
_MASKS = (".attn.bias", ".attn.masked_bias")

TOKENIZER = "tokenizer.json"
_END_OF_TEXT = "<|endoftext|>"
_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_WANTED = {"model_type": "gpt2", "activation_function": "gelu_new"}
_NEEDS = "needs `pip install safetensors transformers` (the extra hf)"


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


def tokenizer_of(config: GPTConfig) -> str:
    """The tokenizer of weights that do not say theirs: by its size, else a learnt one."""
    return {256: "bytes", 50257: "gpt2"}.get(config.vocab_size, "bpe")


def download(name: str) -> Path:
    """The folder of a model of the hub; BadInput where it is neither cached nor reachable."""
    if name.count("/") > 1 or name.startswith((".", "/")):
        raise BadInput(f"checkpoint: {name}: not found")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, allow_patterns=[_WEIGHTS, _CONFIG]))
    except ImportError:
        raise BadInput(f"checkpoint: {name}: no such folder, and the hub {_NEEDS}") from None
    except Exception as error:  # whatever a network, a proxy or a missing repository raises
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BadInput(
            f"checkpoint: {name}: no such folder, and not to be had from the hub ({reason}); "
            f"give a folder with {_CONFIG} and {_WEIGHTS}"
        ) from None


def read(folder: Path) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Shape and weights from config.json and model.safetensors; BadInput if not GPT-2's."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise BadInput(f"checkpoint: {folder}: reading it {_NEEDS}") from None
    values = read_json(folder / _CONFIG)
    if not isinstance(values, dict):
        raise BadInput(f"{folder / _CONFIG}: found no mapping, expected GPT-2's configuration")
    for name, wanted in _WANTED.items():
        if (found := values.get(name, wanted)) != wanted:
            raise BadInput(f"{folder / _CONFIG}: {name}: found {found!r}, expected {wanted!r}")
    names = {"block_size": "n_positions", "init_std": "initializer_range"}
    fields = [field.name for field in dataclasses.fields(GPTConfig)]
    shape = {name: values.get(names.get(name, name)) for name in fields}
    if shape["init_std"] is None:
        shape["init_std"] = 0.02
    config = build(GPTConfig, shape, str(folder / _CONFIG))
    try:
        weights = load_file(folder / _WEIGHTS)
    except Exception as error:  # a missing file, a cut header, a bad offset
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise BadInput(f"{folder / _WEIGHTS}: cannot be read: {reason}") from None
    return config, {name: weight.float() for name, weight in weights.items()}


def write(folder: Path, state: Mapping[str, Tensor], config: GPTConfig, end_of_text: int) -> None:
    """config.json and model.safetensors, as transformers' GPT2LMHeadModel reads them."""
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise BadInput(f"export {_NEEDS}") from None
    weights = to_hugging_face(state, config)
    del weights[_HEAD]  # tied: transformers takes it from the embedding
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    values = {
        "architectures": ["GPT2LMHeadModel"],
        **_WANTED,
        "n_layer": config.n_layer,
        "n_head": config.n_head,
        "n_embd": config.n_embd,
        "n_positions": config.block_size,
        "n_ctx": config.block_size,
        "vocab_size": config.vocab_size,
        "initializer_range": config.init_std,
        "layer_norm_epsilon": LAYER_NORM_EPS,
        "resid_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "attn_pdrop": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": end_of_text,
        "eos_token_id": end_of_text,
        "torch_dtype": "float32",
    }
    (folder / _CONFIG).write_text(to_json(values))


def write_gpt2_tokenizer(folder: Path, config: GPTConfig) -> None:
    """GPT-2's tokenizer as transformers reads it, made from tiktoken's."""
    try:
        import tiktoken
        from transformers.convert_slow_tokenizer import TikTokenConverter
    except ImportError:
        raise BadInput(f"export of the tokenizer {_NEEDS}") from None
    encoding = tiktoken.get_encoding("gpt2")
    with tempfile.NamedTemporaryFile("wb", suffix=".tiktoken") as ranks:
        for token, rank in encoding._mergeable_ranks.items():
            ranks.write(base64.b64encode(token) + f" {rank}\n".encode())
        ranks.flush()
        converter = TikTokenConverter(
            vocab_file=ranks.name,
            pattern=encoding._pat_str,
            extra_special_tokens=encoding._special_tokens,
        )
        converter.converted().save(str(folder / TOKENIZER))
    _describe_tokenizer(folder, config)


def copy_tokenizer(source: Path, folder: Path, config: GPTConfig) -> None:
    """A learnt tokenizer.json, or that of a folder, beside the weights; BadInput if not theirs."""
    file = source / TOKENIZER if source.is_dir() else source
    if not file.is_file():
        raise BadInput(f"tokenizer: {file}: not found, expected a tokenizer.json")
    try:
        size = len({*read_json(file)["model"]["vocab"], _END_OF_TEXT})  # ours has that apart
    except (KeyError, TypeError):
        raise BadInput(f"tokenizer: {file}: found no vocabulary in it") from None
    if size != config.vocab_size:
        raise BadInput(
            f"tokenizer: {file}: found {size} ids, expected the model's {config.vocab_size}"
        )
    shutil.copyfile(file, folder / TOKENIZER)
    _describe_tokenizer(folder, config)


def _describe_tokenizer(folder: Path, config: GPTConfig) -> None:
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.block_size,
        "bos_token": _END_OF_TEXT,
        "eos_token": _END_OF_TEXT,
        "unk_token": _END_OF_TEXT,
    }
    (folder / "tokenizer_config.json").write_text(to_json(values))
