"""Networks in and out of Hugging Face form: names, transposed layers, vocabulary padding, files.

For GPT-2 transformers prefixes `transformer.` and keeps each linear layer as OpenAI's Conv1D: the
weight is (in, out), the transpose of `nn.Linear`'s. LLaMA's names: model/hugging_face_llama.py.
"""

import base64
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from common.errors import BadInput
from common.file_kinds import why_unreadable
from common.files import read_json, require_file, to_json
from model import hugging_face_config, hugging_face_llama
from model.config import GPTConfig
from model.foreign_state import EMBEDDING, HEAD, complete_state
from model.own_tokenizer import END_OF_TEXT, TOKENIZER, OwnTokenizer

_PREFIX = "transformer."
_TRANSPOSED = ("c_attn.weight", "c_proj.weight", "c_fc.weight")

_WEIGHTS, _CONFIG = "model.safetensors", "config.json"
_NEEDS = "needs `pip install safetensors transformers` (the extra hf)"


def to_hugging_face(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of transformers' model from that of ours, without the padded rows."""
    if config.family == "llama":
        return hugging_face_llama.to_llama(state, config)
    converted = {
        _PREFIX + name: weight.T.contiguous() if name.endswith(_TRANSPOSED) else weight
        for name, weight in state.items()
        if name != HEAD
    }
    embedding = state[EMBEDDING][: config.vocab_size].clone()
    return converted | {_PREFIX + EMBEDDING: embedding, HEAD: embedding}


def from_hugging_face(state: Mapping[str, Tensor], config: GPTConfig) -> dict[str, Tensor]:
    """The state of our network from that of transformers' model, with or without its head.

    Padded rows are zero. Raises BadInput where a weight is missing, unknown, of another shape, or a
    head is not tied that should be.
    """
    if config.family == "llama":
        return hugging_face_llama.from_llama(state, config)
    found = {name.removeprefix(_PREFIX): weight for name, weight in state.items()}
    converted = {
        name: weight.T.contiguous() if name.endswith(_TRANSPOSED) else weight
        for name, weight in found.items()
    }
    return complete_state(converted, config)


def stated_tokenizer(folder: Path) -> OwnTokenizer | None:
    """The tokenizer that config.json states, as `write` leaves it; None in other projects'."""
    values = read_json(folder / _CONFIG)
    kind, sha256 = values.get("tokenizer"), values.get("tokenizer_sha256")
    if kind is None:
        return None
    if kind not in ("bytes", "gpt2", "bpe") or not isinstance(sha256, str | None):
        raise BadInput(
            f"{folder / _CONFIG}: tokenizer: found {kind!r} of sha256 {sha256!r}, expected bytes, "
            "gpt2 or bpe, and text"
        )
    return OwnTokenizer(kind, sha256)


def require_name(name: str) -> None:
    """BadInput for what can be no model's name on the hub, and so is a path that is not there."""
    if name.count("/") > 1 or name.startswith((".", "/")):
        raise BadInput(f"checkpoint: {name}: not found")


def download(name: str) -> Path:
    """The folder of a model of the hub; BadInput where it is neither cached nor reachable."""
    require_name(name)
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


def read_config(path: Path) -> GPTConfig:
    """The shape that a config.json describes; BadInput names a field of another network."""
    values = hugging_face_config.read_values(path)
    if values.get("model_type") == hugging_face_llama.MODEL_TYPE:
        return hugging_face_llama.shape_of(values, path)
    return hugging_face_config.shape_of(values, path)


def read(folder: Path) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Shape and weights from config.json and model.safetensors; BadInput for another network."""
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise BadInput(f"checkpoint: {folder}: reading it {_NEEDS}") from None
    config = read_config(folder / _CONFIG)
    require_file(folder / _WEIGHTS)
    try:
        weights = load_file(folder / _WEIGHTS)
    except Exception as error:  # a missing file, a cut header, a bad offset
        path = folder / _WEIGHTS
        raise BadInput(f"{path}: {why_unreadable(path, error)}") from None
    return config, weights


def write(
    folder: Path,
    state: Mapping[str, Tensor],
    config: GPTConfig,
    end_of_text: int,
    own: OwnTokenizer | None = None,
) -> None:
    """config.json and model.safetensors, as transformers reads them.

    BadInput for an architecture that it does not have.
    """
    forms = {"gpt2": hugging_face_config, "llama": hugging_face_llama}
    if config.family not in forms:
        expected = f"{' or '.join(forms)}: transformers has no other of ours"
        raise BadInput(f"checkpoint: found model.family {config.family}, expected {expected}")
    if config.parametrization != "standard":
        expected = "standard: transformers has no multipliers"
        found = f"found model.parametrization {config.parametrization}"
        raise BadInput(f"checkpoint: {found}, expected {expected}")
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise BadInput(f"export {_NEEDS}") from None
    weights = to_hugging_face(state, config)
    if config.tied_head:
        del weights[HEAD]  # transformers takes it from the embedding
    save_file(weights, folder / _WEIGHTS, metadata={"format": "pt"})
    values = forms[config.family].config_values(config, end_of_text)
    if own is not None:
        values |= {"tokenizer": own.kind, "tokenizer_sha256": own.sha256}
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


def copy_tokenizer(file: Path, folder: Path, config: GPTConfig) -> None:
    """A tokenizer.json beside the weights, as transformers finds it."""
    shutil.copyfile(file, folder / TOKENIZER)
    _describe_tokenizer(folder, config)


def _describe_tokenizer(folder: Path, config: GPTConfig) -> None:
    values = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.block_size,
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
    }
    (folder / "tokenizer_config.json").write_text(to_json(values))
