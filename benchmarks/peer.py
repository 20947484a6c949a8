"""karpathy/nanoGPT as a peer: its own model and optimizer, set to the mathematics of ours.

Its model.py is imported from a checkout that the user names; nothing of it is kept here. Biases
on, dropout 0, GELU in the tanh form, and the same weights. Otherwise it trains as its train.py
does: bf16 on a GPU and float32 on a CPU, torch.compile on a GPU, AdamW fused on a GPU only.
"""

import contextlib
import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.trainee import Trainee
from common.errors import BadInput
from model.config import GPTConfig
from model.gpt import GPT

SHAPE = ("block_size", "vocab_size", "n_layer", "n_head", "n_embd")


def load_peer(checkout: Path) -> ModuleType:
    """Import model.py of a checkout; BadInput where there is none."""
    path = checkout / "model.py"
    if not path.is_file():
        raise BadInput(f"--peer: {path} not found, expected a checkout of karpathy/nanoGPT")
    spec = importlib.util.spec_from_file_location("peer_model", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["peer_model"] = module  # dataclasses look their own module up
    spec.loader.exec_module(module)
    for name in ("GPT", "GPTConfig"):
        if not hasattr(module, name):
            raise BadInput(f"--peer: {path} has no {name}, expected nanoGPT's model.py")
    return module


def peer_network(module: ModuleType, config: GPTConfig, ours: GPT) -> nn.Module:
    """The peer's network with our weights, on the CPU.

    It has no masked rows, so `config.vocab_size` must need no padding.
    """
    assert config.vocab_size == config.padded_vocab_size
    with _quiet():
        shape = {name: getattr(config, name) for name in SHAPE}
        network = module.GPT(module.GPTConfig(**shape, dropout=0.0, bias=True))
    for block in network.transformer.h:
        block.mlp.gelu = nn.GELU(approximate="tanh")
    names = {name: f"transformer.{name}" for name in ours.state_dict()}
    names["lm_head.weight"] = "lm_head.weight"
    network.load_state_dict({names[name]: weight for name, weight in ours.state_dict().items()})
    return network


def peer_trainee(network: Any, precision: str, compiled: bool, micro_batch: int) -> Trainee:
    """What the peer's train.py would make of `network` on the device where it is."""
    device = next(network.parameters()).device
    with _quiet():
        optimizer = network.configure_optimizers(0.1, 6e-4, (0.9, 0.95), device.type)
    forward = torch.compile(network) if compiled else network

    def loss(tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        return forward(tokens_BT, targets_BT)[1]

    own_rule = "float32" if device.type == "cpu" else precision
    return Trainee(loss, network, optimizer, own_rule, micro_batch)


def _quiet() -> contextlib.redirect_stdout:
    """The peer prints its sizes."""
    return contextlib.redirect_stdout(io.StringIO())
