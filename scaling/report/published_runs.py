"""Loss curves that others logged of recipes here, to set a run beside; docs/reproduce-124m.md."""

from dataclasses import dataclass

from data.config import DataConfig
from model.config import GPTConfig


@dataclass(frozen=True)
class PublishedRun:
    """Held-out losses (nats per token) after so many steps of `batch_tokens`."""

    name: str
    source: str
    batch_tokens: int
    steps: tuple[int, ...]
    losses: tuple[float, ...]

    @property
    def tokens(self) -> tuple[int, ...]:
        """Training tokens at each loss."""
        return tuple(step * self.batch_tokens for step in self.steps)


LLM_C = PublishedRun(
    name="llm.c, October 2024",
    source="KellerJordan/modded-nanogpt, records/track_1_short/2024-10-13_llmc",
    batch_tokens=524_288,
    steps=(0, 250, 500, 1_000, 2_000, 5_000, 10_000, 19_000),
    losses=(11.009, 6.171, 5.374, 4.317, 3.859, 3.554, 3.392, 3.272),
)
_GPT2_SMALL = {"n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "family": "gpt2"}


def published_run(model: GPTConfig, data: DataConfig) -> PublishedRun | None:
    """What was logged of this recipe: GPT-2 small on FineWeb; None of any other."""
    text = str(data).lower()
    is_small = all(getattr(model, name) == value for name, value in _GPT2_SMALL.items())
    return LLM_C if is_small and "fineweb" in text and "edu" not in text else None
