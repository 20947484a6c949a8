"""An H200 that is not there, for torch's compiler; the whole process is spoilt for others.

With inductor.py the only file that uses torch's private names: written for torch 2.13.
"""

import ctypes
from pathlib import Path

import torch
import torch._dynamo.device_interface as device_interface
import torch._inductor.runtime.triton_helpers as triton_helpers
import torch._subclasses.fake_tensor as fake_tensor
import torch.utils._triton
import triton
from triton.backends.compiler import GPUTarget

TORCH = "2.13"


class H200:
    """What torch.cuda.get_device_properties tells of one, as far as Inductor reads it."""

    name = "NVIDIA H200"
    major, minor = 9, 0
    multi_processor_count = 132
    total_memory = 141 * 2**30
    regs_per_multiprocessor = 65536
    max_threads_per_multi_processor = 2048
    max_threads_per_block = 1024
    warp_size = 32
    shared_memory_per_block = 48 * 2**10
    shared_memory_per_block_optin = 227 * 2**10
    shared_memory_per_multiprocessor = 228 * 2**10
    L2_cache_size = 60 * 2**20
    gcnArchName = ""  # AMD's
    uuid = "pretended"


class _Driver:
    """Triton's view of the device."""

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", 10 * H200.major + H200.minor, H200.warp_size)

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, index: int = 0) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cuda", 0)


def pretend() -> None:
    """Make torch believe in the device, in this process and for good."""
    no_state = torch.zeros(16, dtype=torch.uint8)
    answers = {
        "is_available": True,
        "is_initialized": False,
        "device_count": 1,
        "current_device": 0,
        "get_device_properties": H200,
        "get_device_capability": (H200.major, H200.minor),
        "get_device_name": H200.name,
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "mem_get_info": (H200.total_memory, H200.total_memory),
        "get_rng_state": no_state,
        "set_rng_state": None,
        "synchronize": None,
        "set_device": None,
        "_lazy_init": None,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
    }
    for name, value in answers.items():
        setattr(torch.cuda, name, _always(value))
    for name in ("get_rng_state", "set_rng_state"):
        setattr(torch.cuda.random, name, _always(answers[name]))
    torch.version.cuda = "13.0"
    torch._C._cuda_getCurrentRawStream = _always(0)
    torch._C._cuda_isCurrentStreamCapturing = _always(False)
    interface = device_interface.CudaInterface
    for name, value in {
        "get_device_properties": H200,
        "get_compute_capability": 10 * H200.major + H200.minor,
        "is_available": True,
        "current_device": 0,
        "is_triton_capable": True,
        "raise_if_triton_unavailable": None,
    }.items():
        setattr(interface, name, staticmethod(_always(value)))
    for name, value in {"get_device_properties": H200, "current_device": 0}.items():
        setattr(interface.Worker, name, staticmethod(_always(value)))
    fake_tensor.init_gpu_context = _always(None)
    triton_helpers.set_driver_to_gpu = _always(None)
    torch.utils._triton.has_triton = _always(True)
    triton.runtime.driver.set_active(_Driver())
    _register_guard()


def _register_guard() -> None:
    """Give CUDA the device guard of tensors without memory, which does nothing.

    Autograd asks a device's guard for a stream where it records an operation, and a CPU build has
    none for CUDA. DeviceType (c10/core/DeviceType.h) numbers the entries.
    """
    cuda, meta, entries = 1, 14, 21
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    name = "_ZN3c104impl26device_guard_impl_registryE"
    registry = (ctypes.c_void_p * entries).in_dll(library, name)
    registry[cuda] = registry[meta]


def _always(value):
    return lambda *_, **__: value
