"""What exists before step 0: network, optimizer, and the state that an earlier attempt left.

Shape key: B sequences of a rank, T positions.
"""

import hashlib
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from configs.errors import BadInput
from configs.load import build
from data.manifest import Manifest, compare
from model.gpt import GPT
from model.pretrained import Pretrained, read_pretrained
from training import checkpoint, room
from training.attempt import Attempt
from training.config import TrainConfig, differing_fields, science, trial_id
from training.dataset import Data, open_data
from training.distributed import Ranks
from training.hardware import (
    Environment,
    decide,
    earlier_environment,
    write_environment,
)
from training.instruments import NoiseScale, Reading
from training.journal import Journal, utc_now
from training.kernels import compiled, set_switches
from training.optimizer import Optimizer, build_optimizer


@dataclass
class Run:
    """A run in memory; only `step` and what stands below it changes as it trains.

    `model` has the weights, `network` is the same wrapped for speed and for the other ranks.
    """

    config: TrainConfig
    ranks: Ranks
    environment: Environment
    data: Data
    model: GPT
    network: nn.Module
    parameters: list[nn.Parameter]
    optimizer: Optimizer
    step: int = 0
    loss: float | None = None
    train_s: float = 0.0
    bitwise: bool = True
    started: str = field(default_factory=utc_now)
    earlier_wall_s: float = 0.0
    began: float = field(default_factory=time.monotonic)
    noise: NoiseScale = field(default_factory=NoiseScale)
    tried_s: float = 0.0
    first_step_s: float | None = None
    warmed_up: tuple[int, float] | None = None
    seen_at: float = 0.0
    ahead: tuple[int, tuple[Tensor, Tensor]] | None = None

    @property
    def wall_s(self) -> float:
        """Seconds since set-up began, those that led to the checkpoint included."""
        return self.earlier_wall_s + time.monotonic() - self.began

    @property
    def tokens_per_s(self) -> float | None:
        """The rate of this attempt without its first step, which may contain compilation."""
        step, train_s = self.warmed_up or (0, 0.0)
        if self.step <= step or self.train_s <= train_s:
            step, train_s = 0, 0.0
        batch_tokens, seconds = self.config.schedule.batch_tokens, self.train_s - train_s
        return (self.step - step) * batch_tokens / seconds if seconds else None

    @property
    def is_behind(self) -> bool:
        """Whether the device works on what the host has left behind."""
        return self.ranks.device.type == "cuda"

    def autocast(self) -> AbstractContextManager[object]:
        """The precision of a forward pass; weights stay float32."""
        enabled = self.config.precision == "bf16"
        return torch.autocast(self.ranks.device.type, torch.bfloat16, enabled=enabled)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """This rank's tokens_BT and targets_BT of a step, on its device."""
        if self.ahead is not None and self.ahead[0] == step:
            return self.ahead[1]
        sequences = self.config.schedule.batch_tokens // self.config.model.block_size
        parts = self.data.loader.batch(step, sequences, self.ranks.rank, self.ranks.world_size)
        tokens_BT, targets_BT = (torch.from_numpy(part) for part in parts)
        if self.ranks.device.type == "cuda":  # pinned memory is copied while the GPU works
            tokens_BT, targets_BT = tokens_BT.pin_memory(), targets_BT.pin_memory()
        return (
            tokens_BT.to(self.ranks.device, non_blocking=True),
            targets_BT.to(self.ranks.device, non_blocking=True),
        )

    def prefetch(self) -> None:
        """Have the next step's batch ready; data that cannot be read are that step's to tell."""
        if self.step < self.config.schedule.steps:
            with suppress(BadInput):
                self.ahead = self.step, self.batch(self.step)

    def reading(self) -> Reading | None:
        """The instruments for the next step, if it is one whose row has them."""
        runtime = self.config.runtime
        if not runtime.instruments or (self.step + 1) % runtime.log_every_steps:
            return None
        block_size, size = self.config.model.block_size, self.environment.micro_batch
        sequences = self.config.schedule.batch_tokens // block_size // self.ranks.world_size
        parts = [min(size, sequences - start) for start in range(0, sequences, size)]
        return Reading(self.parameters, parts, self.ranks.world_size, block_size)

    def try_passes(self, note: Callable[[str], None]) -> Environment:
        """On a GPU make sure, before the first step, that passes fit; what is so from now on.

        What the config fixes is not tried.
        """
        before, start = self.environment, time.monotonic()
        if self.ranks.device.type in room.TRIED_ON and self.config.runtime.micro_batch is None:
            size = room.sequences_that_fit(
                self.network,
                self.config,
                self.ranks,
                self.autocast,
                before.micro_batch,
                before.head,
            )
            self.environment = replace(before, micro_batch=size)
            self.tried_s = time.monotonic() - start
            note(
                f"{size} sequences a pass fit, of {before.micro_batch} estimated; tried in "
                f"{self.tried_s:.1f} s"
            )
        return self.environment

    def has_finite_weights(self) -> bool:
        """Whether every weight is a number; one wait for the device."""
        verdicts = [parameter.detach().isfinite().all() for parameter in self.parameters]
        return bool(torch.stack(verdicts).all())

    def state(self) -> dict[str, Any]:
        """All that the next step depends on, and what the record adds up."""
        state = {
            "step": self.step,
            "model": dict(self.model.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "loss": self.loss,
            "train_s": self.train_s,
            "wall_s": self.wall_s,
            "started": self.started,
            "noise": asdict(self.noise),
        }
        if self.ranks.device.type == "cuda":
            state["cuda_rng"] = torch.cuda.get_rng_state(self.ranks.device)
        return state

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
        state = found.state
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
        if self.ranks.device.type == "cuda" and "cuda_rng" in state:
            torch.cuda.set_rng_state(state["cuda_rng"], self.ranks.device)
        self.step, self.loss, self.train_s = state["step"], state["loss"], state["train_s"]
        self.earlier_wall_s, self.started = state["wall_s"], state["started"]
        self.noise = NoiseScale(**state.get("noise", {}))  # older checkpoints have none
        self.bitwise = found.meta.bitwise and not self.environment.differences(
            found.meta.environment
        )


def set_up(
    config: TrainConfig, attempt: Attempt, ranks: Ranks, journal: Journal, data: Data | None
) -> Run:
    """Everything up to the first step of this attempt; BadInput, on all ranks, for bad input."""
    data = data or open_data(config, ranks)
    earlier = ranks.from_main(lambda: (e := earlier_environment(attempt)) and asdict(e))
    environment = decide(config, ranks, build(Environment, earlier) if earlier else None)
    run = build_run(config, ranks, environment, data)
    where = {"device": environment.device, "world_size": environment.world_size}
    was_here = ranks.from_main(lambda: bool(earlier) and earlier.items() >= where.items())
    if not was_here:
        environment = run.try_passes(journal.note)
    if ranks.is_main:
        write_environment(attempt, environment)
        checkpoint.remove_leftovers(attempt)
    found = _find_checkpoint(run, attempt, journal)
    if found is not None:
        run.restore(found)
        journal.note(f"resumed at step {run.step} from {found.path}")
        for text in environment.differences(found.meta.environment):
            journal.note(f"the last bits may differ from an uninterrupted run: {text}")
    elif config.init_from is not None:
        initial = ranks.everywhere(lambda: initial_weights(config))
        run.model.load_state_dict(initial.state)
        journal.note(f"began with the weights of {initial.origin}")
    return run


def initial_weights(config: TrainConfig) -> Pretrained:
    """The weights of `init_from`; BadInput where there are none, or of another shape."""
    assert config.init_from is not None
    try:
        found = read_pretrained(config.init_from)
    except BadInput as error:
        raise BadInput(f"init_from: {str(error).removeprefix('checkpoint: ')}") from None
    differing = differing_fields(asdict(found.config), asdict(config.model), "model.")
    differing = [text for text in differing if not text.startswith("model.init_std")]
    if differing:
        raise BadInput(f"init_from: {found.origin}: another model: {'; '.join(differing)}")
    return found


def build_run(config: TrainConfig, ranks: Ranks, environment: Environment, data: Data) -> Run:
    """Network and optimizer at step 0; the only place that touches global state of torch."""
    set_switches(environment.threads, environment.sdpa)
    torch.manual_seed(purpose_seed(config.seed, "torch"))
    generator = torch.Generator().manual_seed(purpose_seed(config.seed, "weights"))
    model = GPT(config.model, generator).to(ranks.device)
    model.chunked_head = environment.head == "chunked"
    network: nn.Module = model
    if environment.compile:
        network = compiled(model, (config.model, config.precision, environment))
    if ranks.world_size > 1:
        network = DistributedDataParallel(
            network,
            device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
            gradient_as_bucket_view=True,
        )
    optimizer = build_optimizer(model, config.optimizer)
    parameters = list(model.parameters())  # once: the walk shows in a small model's step
    run = Run(config, ranks, environment, data, model, network, parameters, optimizer)
    # Gradients of attention and embeddings are summed on a GPU in no fixed order.
    run.bitwise = ranks.device.type == "cpu"
    return run


def purpose_seed(seed: int, purpose: str) -> int:
    """A seed of its own for each use of randomness, so that no use shifts another."""
    return int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:7], "big")


def _find_checkpoint(run: Run, attempt: Attempt, journal: Journal) -> checkpoint.Checkpoint | None:
    """The newest readable checkpoint, if it continues this very trial on this very data."""
    found: list[checkpoint.Checkpoint] = []

    def find() -> str | None:
        newest = checkpoint.newest(attempt.trial, journal.note)
        if newest is None:
            return None
        _require_same_trial(newest, run.config, run.data.manifest)
        found.append(newest)
        return str(newest.path)

    path = run.ranks.from_main(find)
    if path is None:
        return None
    return run.ranks.everywhere(lambda: found[0] if found else checkpoint.read(Path(path)))


def _require_same_trial(
    found: checkpoint.Checkpoint, config: TrainConfig, manifest: Manifest
) -> None:
    """BadInput that lists the fields, or names the shard, in which a checkpoint differs."""
    fields = differing_fields(found.meta.config, science(config))
    if fields:
        raise BadInput(f"{found.path}: of another trial: {'; '.join(fields)}; use another out")
    if difference := compare(build(Manifest, found.meta.data), manifest):
        raise BadInput(f"{found.path}: {difference}")
