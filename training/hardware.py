"""What the machine is and how much of it a run used: device, memory, peak FLOP/s, MFU."""

import platform
import re
import resource
from pathlib import Path

import torch

from model.config import GPTConfig
from model.flops import flops_per_token_nanogpt, params_allocated

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


def device_name(device: torch.device) -> str:
    """The maker's name of a GPU, or of the CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    except OSError:
        model = None
    return f"CPU {model[1].strip()}" if model else f"CPU {platform.processor()}".strip()


def peak_memory(device: torch.device) -> int:
    """The most bytes this process held: on the GPU for a GPU, else resident in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if platform.system() == "Darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


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


def micro_batch_sequences(config: GPTConfig, rank_batch: int, device: torch.device) -> int:
    """Sequences per forward pass, by rule and never by a clock, so that a repeat does the same.

    A CPU takes little at a time, a GPU what is estimated to fit. The parts of a batch are equal if
    that costs less than twice as many, since each new shape is compiled anew; else nearly equal.
    """
    if device.type == "cuda":
        limit_tokens = _tokens_that_fit(config, torch.cuda.mem_get_info(device)[1])
    else:
        limit_tokens = small_pass_tokens(config, device)
    limit = max(1, limit_tokens // config.block_size)
    fewest = -(-rank_batch // limit)
    equal = (parts for parts in range(fewest, 2 * fewest) if rank_batch % parts == 0)
    return -(-rank_batch // next(equal, fewest))


def small_pass_tokens(config: GPTConfig, device: torch.device) -> int:
    """Tokens of a pass that any machine of the kind holds, as are their logits.

    CPU: 16k tokens, 2^27 logits (0.5 GB in float32); GPU: 64k tokens, 2^30 logits (4 GB).
    """
    tokens, logits = (65_536, 2**30) if device.type == "cuda" else (16_384, 2**27)
    return min(tokens, logits // config.padded_vocab_size)


def _tokens_that_fit(config: GPTConfig, memory_bytes: int) -> int:
    """Tokens whose activations fit in half of what weights, gradients and AdamW's moments leave.

    Per token: about 34 bytes per layer and width kept for backward (Korthikanti et al. 2022,
    2205.05198, eq. 2, attention recomputed) and the logits in bf16, in float32 and their gradient.
    The other half is for what is not compiled, for float32 and for the estimate's error.
    """
    states = 4 * 4 * params_allocated(config)
    per_token = 34 * config.n_layer * config.n_embd + 12 * config.padded_vocab_size
    return max(0, (memory_bytes - states) // (2 * per_token))
