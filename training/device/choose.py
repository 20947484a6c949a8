"""The device of this process: the one that the config names, or the best there is."""

import os
import sys
from pathlib import Path

import torch

from common.errors import BadInput, require

NVIDIA_DRIVER = Path("/dev/nvidiactl")  # there where a driver of NVIDIA's is loaded


class NoSuchGPU(BadInput):
    """Fewer GPUs than ranks of this machine."""


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto`, `cpu`, `cuda` or `mps` as a device; one GPU per local rank. BadInput without one.

    Where a GPU is there that torch cannot use, `auto` takes the CPU and says so.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cpu" and local_rank == 0 and (reason := _why_unusable()):
            print(f"warning: training on the CPU: {reason}", file=sys.stderr)
    if name == "mps" and not torch.backends.mps.is_available():
        raise BadInput(
            "runtime.device: found mps, which torch has not here, expected an Apple machine's GPU; "
            "say runtime.device=cpu"
        )
    if name in ("cpu", "mps"):
        return torch.device(name)
    require(name == "cuda", "device", repr(name), "auto, cpu, cuda or mps")
    count = torch.cuda.device_count()
    if local_rank >= count:
        reason = _why_unusable() if count == 0 else ""
        raise NoSuchGPU(
            f"runtime.device: found {count} GPUs{reason and f' ({reason})'}, expected at least "
            f"{local_rank + 1}; start fewer ranks or say runtime.device=cpu"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device


def _why_unusable() -> str:
    """Why torch sees no GPU though a driver is loaded; empty where none is, or none is wanted."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all").strip() in ("", "-1")
    if hidden or not NVIDIA_DRIVER.exists():
        return ""
    if torch.version.cuda is None:
        return f"{NVIDIA_DRIVER} is there, but torch {torch.__version__} is built without CUDA"
    return f"{NVIDIA_DRIVER} is there, but torch {torch.__version__} finds no GPU by its driver"
