"""Checkpoints of karpathy/llm.c, as gpt2_124M.bin and model_00018865.bin.

256 int32 (magic 20240326, version 3 for float32 or 5 for bfloat16, positions, vocabulary, layers,
heads, width, padded vocabulary), then the weights kind by kind, all layers of a kind together.
"""

import struct
from pathlib import Path

import torch
from torch import Tensor

from common.errors import BadInput
from common.files import require_file
from configs.schema import build
from model.config import GPTConfig
from model.flops import params_allocated
from model.gpt import GPT

_MAGIC, _HEADER_BYTES = 20240326, 1024
_TYPES = {3: torch.float32, 5: torch.bfloat16}
_LAYERED = ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj")


def read(path: Path) -> tuple[GPTConfig, dict[str, Tensor]]:
    """Shape, and float32 weights as `GPT` takes them; BadInput for any other file."""
    size = require_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEADER_BYTES)
    except OSError as error:
        raise BadInput(f"checkpoint: {path}: cannot be read: {error.strerror}") from None
    header = struct.unpack("<8i", head[:32].ljust(32, b"\0"))
    magic, version, block_size, vocab_size, n_layer, n_head, n_embd, _ = header
    if size < _HEADER_BYTES and _MAGIC.to_bytes(4, "little").startswith(head[:4]):
        raise BadInput(
            f"checkpoint: {path}: found {size} bytes, expected a header of {_HEADER_BYTES} "
            "bytes and weights, as llm.c writes them; copy the whole file"
        )
    if size < _HEADER_BYTES or magic != _MAGIC or version not in _TYPES:
        raise BadInput(
            f"checkpoint: {path}: found magic {magic} and version {version}, expected a model of "
            f"llm.c ({_MAGIC}, version 3 or 5)"
        )
    shape = {"n_layer": n_layer, "n_head": n_head, "n_embd": n_embd, "init_std": 0.02}
    shape |= {"block_size": block_size, "vocab_size": vocab_size}
    config = build(GPTConfig, shape, str(path))
    expected = _HEADER_BYTES + params_allocated(config) * _TYPES[version].itemsize
    if size != expected:  # before a network is made of what a damaged header says
        raise BadInput(f"checkpoint: {path}: found {size} bytes, expected {expected}")
    state = GPT(config, None).state_dict()
    names = ["wte.weight", "wpe.weight"]
    for part in _LAYERED:
        for kind in ("weight", "bias"):
            names += [f"h.{layer}.{part}.{kind}" for layer in range(n_layer)]
    sizes = [state[name].numel() for name in (*names, "ln_f.weight", "ln_f.bias")]
    raw = bytearray(path.read_bytes())
    parts = torch.frombuffer(raw, dtype=_TYPES[version], offset=_HEADER_BYTES).float().split(sizes)
    for name, part in zip((*names, "ln_f.weight", "ln_f.bias"), parts, strict=True):
        state[name] = part.view(state[name].shape)
    return config, state | {"lm_head.weight": state["wte.weight"]}
