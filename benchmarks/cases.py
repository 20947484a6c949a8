"""The models that are timed, by name."""

from dataclasses import dataclass

from model.config import GPTConfig


@dataclass(frozen=True)
class Case:
    """A model and its usual optimizer step: sequences in all, and at most so many at a time."""

    name: str
    config: GPTConfig
    batch_sequences: int
    micro_batch: int


def _gpu(name: str, n_layer: int, n_head: int, n_embd: int) -> Case:
    """GPT-2's context and vocabulary; 524,288 tokens a step, of which 65,536 at a time."""
    return Case(name, GPTConfig(n_layer, n_head, n_embd, 1024, 50257, 0.02), 512, 64)


CASES = {
    case.name: case
    for case in (
        Case("3m", GPTConfig(6, 3, 192, 1024, 4096, 0.02), 16, 16),
        _gpu("10m", 6, 4, 256),
        _gpu("52m", 8, 8, 512),
        _gpu("124m", 12, 12, 768),
        _gpu("350m", 24, 16, 1024),
        _gpu("774m", 36, 20, 1280),
        _gpu("1558m", 48, 25, 1600),
        Case("cpu-a", GPTConfig(4, 4, 128, 256, 256, 0.02), 12, 12),
        Case("cpu-b", GPTConfig(6, 6, 384, 256, 50304, 0.02), 8, 8),
        Case("cpu-c", GPTConfig(2, 4, 64, 128, 256, 0.02), 32, 32),
        Case("tiny", GPTConfig(1, 1, 16, 16, 120, 0.02), 4, 2),
    )
}
GPU_CASES = ("10m", "52m", "124m", "350m", "774m", "1558m")
CPU_CASES = ("cpu-a", "cpu-b", "cpu-c")
