"""The training step's network as the product builds and compiles it, for the child process."""

from typing import Any

import torch
from torch import nn

from benchmarks.gpu_code.built import Built
from model.config import GPTConfig
from model.network import build_network
from training.device.backends import compiled, set_switches


def training_step(model: dict[str, Any], sequences: int, sdpa: str) -> Built:
    """Loss and gradients of `sequences` sequences in bf16, by attention kernel `sdpa`."""
    config = GPTConfig(**model)
    set_switches(1, sdpa)
    ids = ((sequences, config.block_size), torch.int64)

    def compile_as_product(network: nn.Module, backend: Any) -> nn.Module:
        return compiled(network, "gpu_code", backend)

    return Built(build_network(config, None), (ids, ids), compile_as_product, sdpa)
