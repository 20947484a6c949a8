"""How much of a device's arithmetic a run used. Torch-free."""

import re

from model.config import GPTConfig
from model.flops import flops_per_token_nanogpt

# Dense peaks of the makers' data sheets in FLOP/s: bf16 with float32 accumulation, and float32
# without TF32. The first pattern found in the device's name counts.
_PEAKS: tuple[tuple[str, float, float], ...] = (
    (r"\bGB200\b", 2.5e15, 80e12),
    (r"\bB200\b", 2.25e15, 75e12),
    (r"\bH200\b", 989.4e12, 66.9e12),
    (r"\bGH200\b", 989.4e12, 66.9e12),
    (r"\bH100 NVL\b", 835e12, 60e12),
    (r"\bH100 PCIe\b", 756e12, 51.2e12),
    (r"\bH100\b", 989.4e12, 66.9e12),
    (r"\bA100\b", 312e12, 19.5e12),
    (r"\bL40S\b", 362e12, 91.6e12),
    (r"\bL4\b", 121e12, 30.3e12),
    (r"\bA10\b", 125e12, 31.2e12),
    (r"\bRTX 4090\b", 165.2e12, 82.6e12),
    (r"\bRTX 3090\b", 71e12, 35.6e12),
)


def peak_flops(name: str, precision: str) -> float | None:
    """Dense FLOP/s of a device by its name; None where the table does not know it."""
    for pattern, bf16, float32 in _PEAKS:
        if re.search(pattern, name):
            return bf16 if precision == "bf16" else float32
    return None


def mfu(
    config: GPTConfig, tokens_per_s: float, name: str, precision: str, world_size: int
) -> float | None:
    """Model FLOP utilisation (PaLM, 2204.02311, appendix B) by nanoGPT's count; None if unknown."""
    peak = peak_flops(name, precision)
    if peak is None:
        return None
    return flops_per_token_nanogpt(config) * tokens_per_s / (peak * world_size)
