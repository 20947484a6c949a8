"""One complete run as a frozen value; torch-free."""

from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Literal

from common.errors import require, require_positive
from data.config import DataConfig
from model.config import GPTConfig


@dataclass(frozen=True)
class OptimizerConfig:
    """An optimizer by name (training/optimizer.py).

    name          AdamW, or Muon for the matrices of the linear layers
    lr            peak learning rate
    betas, eps    AdamW's
    weight_decay  on matrices only
    grad_clip     the largest global norm of the gradient; null: no clipping
    """

    name: Literal["adamw", "muon"]
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    grad_clip: float | None

    def __post_init__(self) -> None:
        require_positive("optimizer", self, "lr", "eps")
        decay, betas, clip = self.weight_decay, self.betas, self.grad_clip
        expected = "more than 0, or null: no clipping"
        require(clip is None or clip > 0, "optimizer.grad_clip", clip, expected)
        require(decay >= 0, "optimizer.weight_decay", decay, ">= 0")
        below_one = all(0 <= beta < 1 for beta in betas)
        require(below_one, "optimizer.betas", list(betas), "each in [0, 1)")


@dataclass(frozen=True)
class ScheduleConfig:
    """Token budget and learning-rate schedule; all horizons in tokens.

    name               what follows the warm-up: a cosine, or a constant rate and a cool-down,
                       linear or as one minus a square root
    tokens             the budget: training tokens of the whole run
    batch_tokens       tokens of one optimizer step, over all ranks
    warmup_tokens      while which the rate rises to its peak
    final_lr_fraction  of the peak, at the end
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
        tokens, share, horizon = self.tokens, self.cooldown_fraction, self.cosine_tokens
        warmup, floor = self.warmup_tokens, self.final_lr_fraction
        require(tokens <= 2**53, "schedule.tokens", tokens, "at most 9e15, 2^53: steps are exact")
        below = f"at least 0 and less than schedule.tokens {tokens}"
        require(0 <= warmup < tokens, "schedule.warmup_tokens", warmup, below)
        require(0 <= floor <= 1, "schedule.final_lr_fraction", floor, "0 to 1")
        expected = f"null or at least schedule.tokens {tokens}"
        require(horizon is None or horizon >= tokens, "schedule.cosine_tokens", horizon, expected)
        if self.name == "cosine":
            found = f"{share} with schedule.name cosine"
            expected = "null; name constant_linear or constant_sqrt"
            require(share is None, "schedule.cooldown_fraction", found, expected)
        else:
            found = f"{horizon} with schedule.name {self.name}"
            require(horizon is None, "schedule.cosine_tokens", found, "null")
            is_share = share is not None and 0 < share <= 1
            expected = "more than 0 and at most 1, as schedule.cooldown_fraction=0.2"
            require(is_share, "schedule.cooldown_fraction", share, expected)

    @property
    def steps(self) -> int:
        """Optimizer steps: the budget rounded to whole batches, at least one."""
        return max(1, round(self.tokens / self.batch_tokens))

    @property
    def tokens_planned(self) -> int:
        """Training tokens of the whole run: steps times the batch."""
        return self.steps * self.batch_tokens


@dataclass(frozen=True)
class EvaluationConfig:
    """The held-out set: so many tokens of the validation split.

    tokens   how many
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

    device                cpu, cuda, or auto: a GPU where there is one; mps: an Apple machine's, by
                          one rank in float32, not compiled; untested
    threads               CPU threads of a rank; null: cores / ranks, one for little work, at most
                          OMP_NUM_THREADS; cores by affinity, container and Slurm
    compile               torch.compile; null: on a GPU, for trials that take longer than it does
    micro_batch           sequences per forward pass and rank; null: by rule, tried on a GPU
    loss_head             plain, or chunked: without all logits at once; null: by rule
    memory_share          of a GPU's memory that a rank may take; a sweep that trains several trials
                          at once on a GPU divides it among them
    sdpa                  attention kernel: flash, efficient, cudnn or math; null: on a GPU the
                          quickest that computes it rightly, by trial, on a CPU flash
    log_every_steps       steps between lines of metrics.jsonl
    evaluate_every_steps  steps between held-out losses on the way; 0: at the end only
    checkpoint_every_s    seconds between checkpoints; 0: after every step
    keep_checkpoints      how many of them stay, the newest
    keep_steps            steps of which they stay for good: a list, or log2 for 1, 2, 4, 8, ...
    data_dir              folder in which prepared shards are kept
    timeout_s             longest wait of one rank for another
    tracking              wandb: a process of its own sends the rows (training/tracking.py)
    stage                 folder on a disk of each node, to which shards are copied once; null: none
    instruments           logged rows tell the update's size, gradient noise scale, MFU and memory
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
    keep_steps: tuple[int, ...] | Literal["log2"] = ()
    sdpa: Literal["flash", "efficient", "cudnn", "math"] | None = None
    memory_share: float = 1.0

    def __post_init__(self) -> None:
        require_positive("runtime", self, "log_every_steps", "timeout_s", "keep_checkpoints")
        for name in ("threads", "micro_batch"):
            if getattr(self, name) is not None:
                require_positive("runtime", self, name)
        for name in ("evaluate_every_steps", "checkpoint_every_s"):
            value = getattr(self, name)
            require(value >= 0, f"runtime.{name}", value, ">= 0")
        share = self.memory_share
        require(0 < share <= 1, "runtime.memory_share", share, "more than 0 and at most 1")
        known = self.device in ("auto", "cpu", "cuda", "mps")
        require(known, "runtime.device", repr(self.device), "auto, cpu, cuda or mps")
        can_compile = not (self.compile and self.device == "mps")
        require(can_compile, "runtime.compile", "true with runtime.device=mps", "null or false")
        for step in self.keep_steps if self.keep_steps != "log2" else ():
            require(step > 0, "runtime.keep_steps", step, "steps of 1 or more")


@dataclass(frozen=True)
class TrainConfig:
    """A trial: everything that decides the weights, and `runtime`, which must not.

    seed       of the weights and of the order of data
    precision  float32, or bf16: autocast with float32 master weights
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
        require(self.seed >= 0, "seed", self.seed, "0 or more")
        batch, block = self.schedule.batch_tokens, self.model.block_size
        is_known = not (self.precision == "bf16" and self.runtime.device == "mps")
        require(is_known, "precision", "bf16 with runtime.device=mps", "float32")
        rounds = self.model.residual == "bf16" and self.precision == "float32"
        require(not rounds, "model.residual", "bf16 with precision=float32", "float32")
        parametrization = self.model.parametrization
        holds = parametrization == "standard" or self.optimizer.name == "adamw"
        found = f"{self.optimizer.name} with model.parametrization {parametrization}"
        require(holds, "optimizer.name", found, "adamw: Muon's rate carries over by other rules")
        can_compile = self.model.architecture.compiles or not self.runtime.compile
        found = f"true with model.family {self.model.family}"
        expected = "null or false: torch does not compile it"
        require(can_compile, "runtime.compile", found, expected)
        multiple = f"a multiple of model.block_size {block}"
        require(batch % block == 0, "schedule.batch_tokens", batch, multiple)

    @property
    def kept_steps(self) -> frozenset[int]:
        """The steps of this run whose checkpoints stay for good."""
        steps, asked = self.schedule.steps, self.runtime.keep_steps
        powers = (2**power for power in range(steps.bit_length()))
        return frozenset(step for step in (powers if asked == "log2" else asked) if step <= steps)


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
