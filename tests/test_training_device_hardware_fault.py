"""Which errors of CUDA are a device's own fault, and pass, and which are the program's."""

import pytest
import torch

from training.device.hardware_fault import is_hardware_fault
from training.ranks.distributed import RanksLost

HINTS = """
CUDA kernel errors might be asynchronously reported at some other API call.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Compile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.
"""


def accelerator_error(text: str, code: int) -> torch.AcceleratorError:
    """As torch raises it: with CUDA's code beside the text."""
    error = torch.AcceleratorError(f"CUDA error: {text}{HINTS}")
    error.error_code = code  # type: ignore[attr-defined]
    return error


def caused_by(error: Exception) -> Exception:
    outer = RuntimeError("the compiled graph failed")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize(
    "error",
    [
        accelerator_error("unspecified launch failure", 719),
        accelerator_error("uncorrectable ECC error encountered", 214),
        accelerator_error("hardware stack error", 714),
        accelerator_error("CUDA-capable device(s) is/are busy or unavailable", 46),
        accelerator_error("a text of another driver", 220),
        caused_by(accelerator_error("unspecified launch failure", 719)),
        RuntimeError("Triton Error [CUDA]: unspecified launch failure"),
        RuntimeError(f"CUDA error: unknown error{HINTS}"),
        torch.distributed.DistBackendError(
            "NCCL error in: NCCLUtils.hpp:328, remote process exited or there was a network error"
        ),
        torch.distributed.DistBackendError("ncclSystemError: System call (e.g. socket) failed"),
        RanksLost("rank 1, after step 9: AcceleratorError: CUDA error: unspecified launch failure"),
    ],
)
def test_hardware_fault_is_known_by_code_or_text(error):
    """In each form in which torch, Triton, NCCL or another rank tells of it."""
    assert is_hardware_fault(error)


@pytest.mark.parametrize(
    "error",
    [
        accelerator_error("device-side assert triggered", 710),
        accelerator_error("an illegal memory access was encountered", 700),
        accelerator_error("invalid argument", 1),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError(f"CUDA error: device-side assert triggered{HINTS}"),
        RuntimeError("unknown error"),
        ValueError("something strange"),
    ],
)
def test_hardware_fault_is_no_fault_of_a_program(error):
    """Neither a bad index nor memory that runs out passes by itself."""
    assert not is_hardware_fault(error)
