"""Checkpoints of karpathy/nanoGPT (out/ckpt.pt) and karpathy/build-nanogpt (log/model_19072.pt).

torch.save of {model, model_args, optimizer, ...} by nanoGPT, and of {model, config, step, val_loss}
by build-nanogpt, whose config is an object of its class GPTConfig. Read by torch's safe loader:
that class becomes a bare holder of fields, any other is refused, and no code of a file runs.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from common.errors import BadInput
from common.file_kinds import why_unreadable
from configs.schema import build
from model.config import GPTConfig
from model.foreign_state import EMBEDDING, HEAD, complete_state

FILE = "ckpt.pt"
NOTE = "GELU in GPT-2's tanh form: nanoGPT's may be the exact one, of which its file does not tell"

_PREFIX = re.compile(r"^(_orig_mod\.|module\.)*(transformer\.)?")  # of torch.compile and of DDP
_SHAPE = ("n_layer", "n_head", "n_embd", "block_size", "vocab_size")
_HARMLESS = ("bias", "dropout")
_GPT2_PADDED, _GPT2 = 50304, 50257


class _Fields:
    """What an object of a checkpoint's own class GPTConfig becomes: its fields and no code."""


def read(path: Path) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Shape, and float32 weights as `GPT` takes them; BadInput for any other file.

    Without biases (nanoGPT's bias=False) they are 0, which is the same function. Of the 50,304 rows
    to which both projects pad GPT-2's vocabulary the last 47 are dropped, which no text uses.
    """
    where = f"checkpoint: {path}"
    values = _load(path, where)
    shape = values.get("model_args", values.get("config"))
    shape = vars(shape) if isinstance(shape, _Fields) else shape
    weights = values.get("model")
    if not isinstance(shape, dict) or not isinstance(weights, dict):
        raise BadInput(
            f"{where}: found {_some(values)}, expected model and model_args as nanoGPT saves them, "
            "or model and config as build-nanogpt does"
        )
    if unknown := [name for name in shape if name not in (*_SHAPE, *_HARMLESS)]:
        raise BadInput(
            f"{where}: {unknown[0]}: found {shape[unknown[0]]!r}, which nanoGPT does not have, so "
            f"that it might change the network; expected {', '.join((*_SHAPE, *_HARMLESS))}"
        )
    sizes = {name: shape[name] for name in _SHAPE if name in shape}
    config = build(GPTConfig, sizes | {"init_std": 0.02}, where)
    if strange := [key for key, value in weights.items() if not isinstance(value, Tensor)]:
        raise BadInput(f"{where}: model: found {strange[0]!r} without a tensor, expected weights")
    found = {_PREFIX.sub("", str(name)): weight for name, weight in weights.items()}
    if not shape.get("bias", True):
        vectors = [n for n in found if n.endswith(".weight") and n.startswith(("h.", "ln_f."))]
        zeros = {n.removesuffix("weight") + "bias": torch.zeros(len(found[n])) for n in vectors}
        found = zeros | found
    try:
        if config.vocab_size == _GPT2_PADDED:
            config = build(GPTConfig, sizes | {"init_std": 0.02, "vocab_size": _GPT2})
            found |= {name: found[name][:_GPT2] for name in (EMBEDDING, HEAD) if name in found}
        return config, complete_state(found, config)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from None


def _load(path: Path, where: str) -> dict[Any, Any]:
    """What torch.save wrote, with nothing but tensors, plain values and `_Fields` in it."""
    try:
        classes = get_unsafe_globals_in_checkpoint(path)
        if other := [name for name in classes if name.rpartition(".")[2] != "GPTConfig"]:
            raise BadInput(
                f"{where}: found an object of {other[0]} in it, which could run code when read, "
                "expected tensors and plain values; where it was written, save it again without: "
                "torch.save({'model': model.state_dict(), 'model_args': {...}}, 'ckpt.pt')"
            )
        with safe_globals([(_Fields, name) for name in classes]):
            values = torch.load(path, map_location="cpu", weights_only=True)
    except BadInput:
        raise
    except Exception as error:  # whatever a damaged archive or pickle raises
        raise BadInput(
            f"{where}: {why_unreadable(path, error)}; expected a checkpoint of nanoGPT or "
            "build-nanogpt, whole"
        ) from None
    if not isinstance(values, dict):
        raise BadInput(f"{where}: found {type(values).__name__}, expected a mapping with model")
    return values


def _some(values: dict[Any, Any]) -> str:
    """A few of the keys."""
    keys = ", ".join(map(str, list(values)[:5])) or "nothing"
    return keys + (", ..." if len(values) > 5 else "")
