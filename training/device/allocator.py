"""How torch takes a GPU's memory; torch-free, since it counts only before torch starts."""

import os
import platform
from collections.abc import MutableMapping

# As torch 2.11 and 2.13 read them for CUDA, the first that is set (c10/cuda/CUDAAllocatorConfig.h).
VARIABLES = ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")


def let_segments_grow(
    environment: MutableMapping[str, str] = os.environ, system: str = platform.platform()
) -> None:
    """Have what torch takes of a GPU grow in place, unless the user's own settings stand there.

    What is freed then leaves no gaps: a micro-batch that was tried and halved, the last and smaller
    one of a step, an evaluation's. On Linux, but not inside of Windows, whose driver refuses the
    first allocation (PyTorch issue 192330).
    """
    is_own_linux = system.startswith("Linux") and "microsoft" not in system.lower()
    if is_own_linux and not any(name in environment for name in VARIABLES):
        environment[VARIABLES[1]] = "expandable_segments:True"
