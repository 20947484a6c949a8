"""What the child process is told to compile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Built:
    """A network on the CPU, sizes and types of what it is called with, and how it is compiled."""

    network: nn.Module
    inputs: Sequence[tuple[tuple[int, ...], torch.dtype]]
    compiled: Callable[[nn.Module, Any], nn.Module]
    sdpa: str = "flash"


def compiled_whole(network: nn.Module, backend: Any) -> nn.Module:
    """As one graph of one shape."""
    return torch.compile(network, dynamic=False, fullgraph=True, backend=backend)  # type: ignore
