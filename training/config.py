"""One complete run as a frozen value, and the digest that names it; torch-free."""

from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Literal

from configs.errors import BadInput, require_positive
from configs.files import digest
from data.config import DataConfig
from model.config import GPTConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer by name (training/optimizer.py); decay acts on matrices only.

    `lr` is the peak rate, `grad_clip` the global norm, `betas` and `eps` are AdamW's.
    """

    name: Literal["adamw", "muon"]
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    grad_clip: float

    def __post_init__(self) -> None:
        require_positive("optimizer", self, "lr", "eps", "grad_clip")
        if self.weight_decay < 0:
            raise BadInput(f"optimizer.weight_decay: found {self.weight_decay}, expected >= 0")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise BadInput(f"optimizer.betas: found {list(self.betas)}, expected each in [0, 1)")


@dataclass(frozen=True)
class ScheduleConfig:
    """Token budget and learning-rate schedule; all horizons in tokens.

    name               what follows the warm-up: a cosine, or a constant rate and a cool-down,
                       linear or as one minus a square root
    cosine_tokens      where the cosine reaches its floor; null: at `tokens`. Larger is the mistake
                       that a control may make on purpose: the run stops before the rate has fallen
    cooldown_fraction  the share of all steps that the cool-down takes
    """

    name: Literal["cosine", "constant_linear", "constant_sqrt"]
    tokens: int
    batch_tokens: int
    warmup_tokens: int
    final_lr_fraction: float
    cosine_tokens: int | None = None
    cooldown_fraction: float | None = None

    def __post_init__(self) -> None:
        require_positive("schedule", self, "tokens", "batch_tokens")
        if not 0 <= self.warmup_tokens < self.tokens:
            raise BadInput(
                f"schedule.warmup_tokens: found {self.warmup_tokens}, expected at least 0 and "
                f"less than schedule.tokens {self.tokens}"
            )
        if not 0 <= self.final_lr_fraction <= 1:
            raise BadInput(
                f"schedule.final_lr_fraction: found {self.final_lr_fraction}, expected 0 to 1"
            )
        if self.cosine_tokens is not None and self.cosine_tokens < self.tokens:
            raise BadInput(
                f"schedule.cosine_tokens: found {self.cosine_tokens}, expected null or at least "
                f"schedule.tokens {self.tokens}"
            )
        cools = self.name != "cosine"
        if cools and self.cosine_tokens is not None:
            raise BadInput(
                f"schedule.cosine_tokens: found {self.cosine_tokens} with schedule.name "
                f"{self.name}, expected null"
            )
        share = self.cooldown_fraction
        if cools and (share is None or not 0 < share <= 1):
            raise BadInput(
                f"schedule.cooldown_fraction: found {share}, expected more than 0 and at most 1"
            )
        if not cools and share is not None:
            raise BadInput(
                f"schedule.cooldown_fraction: found {share} with schedule.name cosine, "
                "expected null; name constant_linear or constant_sqrt"
            )

    @property
    def steps(self) -> int:
        """Optimizer steps: the budget rounded to whole batches, at least one."""
        return max(1, round(self.tokens / self.batch_tokens))

    @property
    def tokens_seen(self) -> int:
        """Training tokens of the whole run: steps times the batch."""
        return self.steps * self.batch_tokens


@dataclass(frozen=True)
class EvaluationConfig:
    """The held-out set: so many tokens of the validation split.

    windows  spread: evenly over the split; first: its beginning, as llm.c and modded-nanogpt take
             the first 10,485,760 tokens of FineWeb's
    """

    tokens: int
    windows: Literal["spread", "first"] = "spread"

    def __post_init__(self) -> None:
        require_positive("evaluation", self, "tokens")


@dataclass(frozen=True)
class RuntimeConfig:
    """Where and how to run; nothing here may change the science, so no id digests it.

    device                cpu, cuda, or auto: a GPU where there is one
    threads               CPU threads of a rank; null: cores / ranks, one for little work
    compile               torch.compile; null: on a GPU only
    micro_batch           sequences per forward pass and rank; null: by rule, tried on a GPU
    loss_head             plain, or chunked: without all logits at once; null: by rule
    sdpa                  attention kernel: flash, efficient, cudnn or math; null: on a GPU the
                          quickest by trial, on a CPU flash
    log_every_steps       steps between lines of metrics.jsonl
    evaluate_every_steps  steps between held-out losses on the way; 0: at the end only
    checkpoint_every_s    seconds between checkpoints; 0: after every step
    keep_checkpoints      how many of them stay, the newest
    data_dir              folder in which prepared shards are kept
    timeout_s             longest wait of one rank for another
    tracking              wandb: a process of its own sends the rows (training/tracking.py)
    stage                 folder on a disk of each node, to which shards are copied once; null: none
    instruments           logged rows tell the size of the update, the gradient's noise scale, MFU
                          and memory
    """

    device: str
    threads: int | None
    compile: bool | None
    micro_batch: int | None
    log_every_steps: int
    evaluate_every_steps: int
    checkpoint_every_s: float
    data_dir: str
    timeout_s: float
    tracking: Literal["none", "wandb"] = "none"
    stage: str | None = None
    instruments: bool = False
    loss_head: Literal["plain", "chunked"] | None = None
    keep_checkpoints: int = 2
    sdpa: Literal["flash", "efficient", "cudnn", "math"] | None = None

    def __post_init__(self) -> None:
        require_positive("runtime", self, "log_every_steps", "timeout_s", "keep_checkpoints")
        for name in ("threads", "micro_batch"):
            if getattr(self, name) is not None:
                require_positive("runtime", self, name)
        for name in ("evaluate_every_steps", "checkpoint_every_s"):
            if getattr(self, name) < 0:
                raise BadInput(f"runtime.{name}: found {getattr(self, name)}, expected >= 0")
        if self.device not in ("auto", "cpu", "cuda"):
            raise BadInput(f"runtime.device: found {self.device!r}, expected auto, cpu or cuda")


@dataclass(frozen=True)
class TrainConfig:
    """A trial: everything that decides the weights, and `runtime`, which must not.

    init_from  weights to begin with instead of random ones, as model/pretrained.py reads them
    """

    model: GPTConfig
    data: DataConfig
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    evaluation: EvaluationConfig
    runtime: RuntimeConfig
    seed: int
    precision: Literal["float32", "bf16"]
    init_from: str | None = None

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise BadInput(f"seed: found {self.seed}, expected 0 or more")
        batch, block = self.schedule.batch_tokens, self.model.block_size
        if batch % block:
            raise BadInput(
                f"schedule.batch_tokens: found {batch}, expected a multiple of "
                f"model.block_size {block}"
            )


def as_mapping(config: Any) -> dict[str, Any]:
    """A config dataclass as plain, JSON-ready containers."""
    return {name: _plain(getattr(config, name)) for name in _names(type(config))}  # type: ignore[arg-type]


def _plain(value: Any) -> Any:
    """As JSON would give it back: lists for tuples, text for the keys of mappings."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return as_mapping(value)


@cache
def _names(cls: Any) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


def science(config: TrainConfig) -> dict[str, Any]:
    """A trial's mapping without `runtime`: what its id digests and a resume may not change.

    What a schedule does not have, and no weights to begin with, go without saying, so that no id
    changes when a config gains a field.
    """
    values = as_mapping(config)
    del values["runtime"]
    if config.init_from is None:
        del values["init_from"]
    values["schedule"] = {k: v for k, v in values["schedule"].items() if v is not None}
    return values


def differing_fields(before: dict[str, Any], now: dict[str, Any], where: str = "") -> list[str]:
    """One text per field in which two mappings differ: `schedule.tokens: 768, now 1024`."""
    found = []
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += differing_fields(old, new, f"{where}{key}.")
        elif old != new:
            found.append(f"{where}{key}: {old!r}, now {new!r}")
    return found


def trial_id(config: TrainConfig) -> str:
    """The name of a trial: a digest of everything in it but `runtime`."""
    return digest(science(config))


def setting_digest(config: TrainConfig) -> str:
    """What all trials of one sweep share: data, tokenizer, evaluation and model family."""
    return digest(
        {
            "data": asdict(config.data),
            "evaluation": asdict(config.evaluation),
            "block_size": config.model.block_size,
            "vocab_size": config.model.vocab_size,
        }
    )
