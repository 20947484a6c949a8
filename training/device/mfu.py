"""How much of a device's arithmetic a run used. Torch-free."""

from model.config import GPTConfig
from model.flops import flops_per_token_nanogpt
from training.device.data_sheets import peak_flops


def mfu(
    config: GPTConfig, tokens_per_s: float, name: str, precision: str, world_size: int
) -> float | None:
    """Model FLOP utilisation (PaLM, 2204.02311, appendix B) by nanoGPT's count; None if unknown."""
    peak = peak_flops(name, precision)
    if peak is None:
        return None
    return flops_per_token_nanogpt(config) * tokens_per_s / (peak * world_size)
