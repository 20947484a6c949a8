"""What a device is, holds and can do."""

from training.device.data_sheets import gpu_memory, peak_flops

__all__ = ["gpu_memory", "peak_flops"]
