"""A run in memory: what the next step depends on, and what a checkpoint keeps of it.

Shape key: B sequences of a rank, T positions.
"""

import hashlib
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from common.errors import BadInput
from model.network import Network, build_network
from training.config import TrainConfig
from training.dataset import Data
from training.device.backends import compiled, set_switches
from training.environment import Environment, limit_memory
from training.gradient_noise import GradientNoiseProbe, NoiseScale
from training.optimizer import Optimizer, build_optimizer
from training.ranks.distributed import Ranks
from training.trial import checkpoint
from training.trial.identity import science, trial_id
from training.trial.logger import utc_now

# Of gradients that ranks exchange at once. A compiled graph is cut at each bucket's end and fuses
# nothing across, in every micro-batch: at torch's 25 MB about once in each layer of GPT-2 small.
_BUCKET_MB = 128


@dataclass
class TrainState:
    """A run in memory; only `environment`, `step` and what stands below it change as it trains.

    `model` has the weights, `network` is the same wrapped for speed and for the other ranks.
    """

    config: TrainConfig
    ranks: Ranks
    environment: Environment
    data: Data
    model: Network
    network: nn.Module
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    bitwise: bool
    step: int = 0
    loss: float | None = None
    loss_by_position: tuple[tuple[int, float], ...] | None = None
    train_s: float = 0.0
    started: str = field(default_factory=utc_now)
    earlier_wall_s: float = 0.0
    began: float = field(default_factory=time.monotonic)
    noise: NoiseScale = field(default_factory=NoiseScale)
    autotune_s: float = 0.0
    first_step_s: float | None = None
    branched_at: int = 0
    timing_start: tuple[int, float] = (0, 0.0)
    last_read_s: float = 0.0
    prefetched: tuple[int, tuple[Tensor, Tensor]] | None = None

    @property
    def wall_s(self) -> float:
        """Seconds since set-up began, those that led to the checkpoint included."""
        return self.earlier_wall_s + time.monotonic() - self.began

    @property
    def tokens_per_s(self) -> float | None:
        """Throughput of this attempt without its first step, which may contain compilation."""
        step, train_s = self.timing_start
        if self.step <= step or self.train_s <= train_s:
            step, train_s = 0, 0.0
        batch_tokens, seconds = self.config.schedule.batch_tokens, self.train_s - train_s
        return (self.step - step) * batch_tokens / seconds if seconds else None

    @property
    def is_async(self) -> bool:
        """Whether the device works on what the host has left behind."""
        return self.ranks.device.type == "cuda"

    @property
    def rank_sequences(self) -> int:
        """Sequences of a step that fall to each rank."""
        schedule = self.config.schedule
        return schedule.batch_tokens // self.config.model.block_size // self.ranks.world_size

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of a forward pass; weights stay float32."""
        enabled = self.config.precision == "bf16"
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=enabled)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """This rank's tokens_BT and targets_BT of a step, on its device."""
        if self.prefetched is not None and self.prefetched[0] == step:
            return self.prefetched[1]
        ranks = self.ranks
        sequences = self.rank_sequences * ranks.world_size
        read = self.data.loader.batch_windows(step, sequences, ranks.rank, ranks.world_size)
        # One token more than T, in four bytes and not twice in eight: a quarter goes to the device.
        windows_BT = torch.from_numpy(read.astype(np.int32))
        if ranks.device.type == "cuda":  # pinned memory is copied while the GPU works
            windows_BT = windows_BT.pin_memory()
        windows_BT = windows_BT.to(ranks.device, non_blocking=True).long()
        return windows_BT[:, :-1].contiguous(), windows_BT[:, 1:].contiguous()

    def prefetch(self) -> None:
        """Have the next step's batch ready; data that cannot be read are that step's to report."""
        if self.step < self.config.schedule.steps:
            with suppress(BadInput):
                self.prefetched = self.step, self.batch(self.step)

    def noise_probe(self) -> GradientNoiseProbe | None:
        """The instruments for the next step, if it is one whose row has them."""
        runtime = self.config.runtime
        if not runtime.instruments or (self.step + 1) % runtime.log_every_steps:
            return None
        size, sequences = self.environment.micro_batch, self.rank_sequences
        parts = [min(size, sequences - start) for start in range(0, sequences, size)]
        block_size = self.config.model.block_size
        return GradientNoiseProbe(self.parameters, parts, self.ranks.world_size, block_size)

    def has_finite_weights(self) -> bool:
        """Whether every weight is a number; one wait for the device."""
        verdicts = [parameter.detach().isfinite().all() for parameter in self.parameters]
        return bool(torch.stack(verdicts).all())

    def snapshot(self) -> dict[str, Any]:
        """All that the next step depends on, and what the record adds up."""
        values = {
            "step": self.step,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "loss": self.loss,
            "loss_by_position": self.loss_by_position,
            "train_s": self.train_s,
            "wall_s": self.wall_s,
            "started": self.started,
            "noise": asdict(self.noise),
        }
        if self.branched_at:
            values["branched_at"] = self.branched_at
        if self.ranks.device.type == "cuda":
            values["cuda_rng"] = torch.cuda.get_rng_state(self.ranks.device)
        return values

    def meta(self) -> checkpoint.Meta:
        """What a checkpoint of this moment continues."""
        return checkpoint.Meta(
            step=self.step,
            id=trial_id(self.config),
            config=science(self.config),
            data=asdict(self.data.manifest),
            environment=asdict(self.environment),
            bitwise=self.bitwise,
        )

    def restore(self, found: checkpoint.Checkpoint) -> None:
        """Go on from a checkpoint of the same trial."""
        values = found.state
        self.model.load_state_dict(values["model"])
        self.optimizer.load_state_dict(values["optimizer"])
        torch.set_rng_state(values["rng"])
        if self.ranks.device.type == "cuda" and "cuda_rng" in values:
            torch.cuda.set_rng_state(values["cuda_rng"], self.ranks.device)
        self.step, self.loss, self.train_s = values["step"], values["loss"], values["train_s"]
        self.earlier_wall_s, self.started = values["wall_s"], values["started"]
        self.loss_by_position = values.get("loss_by_position")
        self.noise = NoiseScale(**values.get("noise", {}))  # older checkpoints have none
        self.branched_at = values.get("branched_at", 0)
        changes = self.environment.changes_since(found.meta.environment)
        self.bitwise &= found.meta.bitwise and not changes


def build_state(
    config: TrainConfig, ranks: Ranks, environment: Environment, data: Data
) -> TrainState:
    """Network and optimizer at step 0; the only place that touches global state of torch."""
    set_switches(environment.threads, environment.sdpa)
    limit_memory(ranks.device, config.runtime.memory_share)
    torch.manual_seed(purpose_seed(config.seed, "torch"))
    generator = torch.Generator().manual_seed(purpose_seed(config.seed, "weights"))
    model = build_network(config.model, generator).to(ranks.device)
    model.chunked_head = environment.head == "chunked"
    network: nn.Module = model
    if environment.compile:
        network = compiled(model, (config.model, config.precision, environment))
    if ranks.world_size > 1:
        network = data_parallel(network, ranks.device)
    return TrainState(
        config=config,
        ranks=ranks,
        environment=environment,
        data=data,
        model=model,
        network=network,
        parameters=list(model.parameters()),  # once: the walk shows in a small model's step
        optimizer=build_optimizer(model, config.optimizer),
        bitwise=environment.is_deterministic,
    )


def data_parallel(network: nn.Module, device: torch.device) -> DistributedDataParallel:
    """`network` with gradients averaged over the ranks of the process group."""
    return DistributedDataParallel(
        network,
        device_ids=[device] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        bucket_cap_mb=_BUCKET_MB,
    )


def purpose_seed(seed: int, purpose: str) -> int:
    """A seed of its own for each use of randomness, so that no use shifts another."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")
