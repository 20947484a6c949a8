"""What makers' data sheets say of GPUs, by the device's name. Torch-free."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Gpu:
    """Dense peaks in FLOP/s, bf16 with float32 accumulation and float32 without TF32; memory.

    `name` is looked for as words of what the driver or a user calls the device, in any case. Where
    it has variants, `memory_gib` is that of the largest.
    """

    name: str
    bf16_flops: float
    float32_flops: float
    memory_gib: int


# The first whose name is found counts.
GPUS = (
    Gpu("GB200", 2.5e15, 80e12, 192),
    Gpu("B200", 2.25e15, 75e12, 192),
    Gpu("H200", 989.4e12, 66.9e12, 141),
    Gpu("GH200", 989.4e12, 66.9e12, 144),
    Gpu("H100 NVL", 835e12, 60e12, 94),
    Gpu("H100 PCIe", 756e12, 51.2e12, 80),
    Gpu("H100", 989.4e12, 66.9e12, 80),
    Gpu("A100", 312e12, 19.5e12, 80),
    Gpu("L40S", 362e12, 91.6e12, 48),
    Gpu("L4", 121e12, 30.3e12, 24),
    Gpu("A10", 125e12, 31.2e12, 24),
    Gpu("RTX 4090", 165.2e12, 82.6e12, 24),
    Gpu("RTX 3090", 71e12, 35.6e12, 24),
)


def _words(name: str) -> str:
    """`name` in lower case, its words divided by one blank each, as ` a100 sxm4 40gb `."""
    return f" {' '.join(re.findall(r'[a-z0-9]+', name.lower()))} "


def _find(name: str) -> Gpu | None:
    words = _words(name)
    forms = [(gpu, _words(gpu.name)) for gpu in GPUS]
    # A user may write h100pcie and rtx4090.
    return next((g for g, f in forms if f in words or f" {f.replace(' ', '')} " in words), None)


def are_different(one: str, other: str) -> bool:
    """Whether two names are of two GPUs that are known here; H100 may be an H100 NVL."""
    found = [gpu and _words(gpu.name) for gpu in (_find(one), _find(other))]
    return None not in found and found[0] not in found[1] and found[1] not in found[0]  # type: ignore


def peak_flops(name: str, precision: str) -> float | None:
    """Dense FLOP/s of a device by its name; None where no data sheet is known."""
    if (gpu := _find(name)) is None:
        return None
    return gpu.bf16_flops if precision == "bf16" else gpu.float32_flops


def gpu_memory(name: str) -> int | None:
    """Memory of a GPU by its name, A100-40GB's as it says; None where no data sheet is known."""
    if (gpu := _find(name)) is None:
        return None
    stated = re.search(r" (\d+) ?gb ", _words(name))  # GH200 480GB tells its processor's
    gib = min(gpu.memory_gib, int(stated[1])) if stated else gpu.memory_gib
    return gib * 2**30
