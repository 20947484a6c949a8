"""What tests share that run on a GPU where there is one, and at a toy's size on the CPU anyway.

So that no line of theirs runs for the first time on a GPU. Mathematics, kernels and memory are the
device's own; on a CPU the compiler only traces: code for it takes minutes to make.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.config import GPTConfig
from model.gpt import GPT
from tests.support.tiny_training import claimed, prepared_config
from training.config import TrainConfig
from training.dataset import open_data
from training.device.backends import choose_sdpa, compiled, set_switches
from training.environment import decide
from training.loop import train
from training.ranks.distributed import Ranks
from training.state import TrainState, build_state
from training.step import StepFunction, begin_step
from training.trial.record import RunRecord

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # asked for by deterministic algorithms

GIB = 2**30


@dataclass(frozen=True)
class Place:
    """A device, and models of sizes that it takes in a moment.

    narrow     a few layers over bytes
    wide_head  the same with a larger vocabulary, padded
    small      GPT-2 small, or what stands for it
    sequences  of a large micro-batch of `small`
    backend    torch.compile's
    """

    device: torch.device
    narrow: GPTConfig
    wide_head: GPTConfig
    small: GPTConfig
    sequences: int
    backend: str

    @property
    def is_gpu(self) -> bool:
        return self.device.type == "cuda"

    def ranks(self) -> Ranks:
        return Ranks(0, 1, 1, self.device, timeout_s=60)

    def compiled(self, network: torch.nn.Module, traced_for: object) -> torch.nn.Module:
        return compiled(network, traced_for, backend=self.backend)


_NARROW = GPTConfig(2, 4, 256, block_size=128, vocab_size=256, init_std=0.02)
_TOY = GPTConfig(1, 2, 32, block_size=64, vocab_size=256, init_std=0.02)
PLACES = {
    "cuda": Place(
        torch.device("cuda", 0),
        narrow=_NARROW,
        wide_head=replace(_NARROW, vocab_size=50257),
        small=GPTConfig(12, 12, 768, block_size=1024, vocab_size=50257, init_std=0.02),
        sequences=64,
        backend="inductor",
    ),
    "cpu": Place(
        torch.device("cpu"),
        narrow=_TOY,
        wide_head=replace(_TOY, vocab_size=50257),
        small=replace(_TOY, n_layer=2),
        sequences=4,
        backend="eager",
    ),
}
ON_GPU = pytest.param(PLACES["cuda"], id="cuda", marks=pytest.mark.needs_gpu)
ON_BOTH = [pytest.param(PLACES["cpu"], id="cpu"), ON_GPU]


def config_of(
    place: Place,
    folder: Path,
    model: GPTConfig | None = None,
    sequences: int = 8,
    steps: int = 6,
    precision: str = "bf16",
    **runtime: Any,
) -> TrainConfig:
    """A run of `steps` steps of `sequences` sequences on the device; eager unless asked for."""
    model = model or place.narrow
    config = prepared_config(folder, steps, precision=precision)
    if model.vocab_size != place.narrow.vocab_size:
        tokens = random_tokens(folder / "random", model.vocab_size)
        config = replace(config, data=replace(config.data, **tokens))
    batch = sequences * model.block_size
    schedule = replace(config.schedule, tokens=batch * steps, batch_tokens=batch, warmup_tokens=0)
    return replace(
        config,
        model=model,
        schedule=schedule,
        evaluation=replace(config.evaluation, tokens=2 * model.block_size),
        runtime=replace(
            config.runtime, **{"device": place.device.type, "compile": False} | runtime
        ),
    )


def random_tokens(folder: Path, vocab_size: int) -> dict[str, Any]:
    """Random ids below the vocabulary's size, in nanoGPT's format."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for name in ("train", "val"):
        random.integers(0, vocab_size, 200_000, dtype=np.uint16).tofile(folder / f"{name}.bin")
    return {"source": "shards", "path": str(folder), "tokenizer": "gpt2"}


def built(place: Place, config: TrainConfig) -> TrainState:
    """The run before its first step."""
    ranks = place.ranks()
    return build_state(config, ranks, decide(config, ranks, None), open_data(config, ranks))


def train_once(
    place: Place, config: TrainConfig, trial: Path, step_function: StepFunction = begin_step
) -> RunRecord:
    """One attempt; nothing is published."""
    attempt = claimed(trial)
    try:
        return train(config, attempt, place.ranks(), None, True, step_function)
    finally:
        attempt.release()


def network_on(place: Place, config: GPTConfig, precision: str, chunked: bool = False) -> GPT:
    """A network on the device, its switches set for the kernel that a run would take."""
    set_switches(1, choose_sdpa(config, precision, place.device, 4, None))
    network = GPT(config, torch.Generator().manual_seed(0)).to(place.device)
    network.chunked_head = chunked
    return network


def loss_and_gradient(
    network: torch.nn.Module, device: torch.device, precision: str, sequences: int = 4
) -> tuple[float, list[torch.Tensor]]:
    """Of one batch of random tokens, the same on every device; the gradient in float64."""
    config: GPTConfig = network.config  # type: ignore[assignment]
    generator = torch.Generator().manual_seed(1)
    shape = (sequences, config.block_size + 1)
    ids = torch.randint(config.vocab_size, shape, generator=generator).to(device)
    network.zero_grad()
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        loss = network(ids[:, :-1].contiguous(), ids[:, 1:].contiguous())
    loss.backward()
    gradients = [p.grad.detach().double().cpu() for p in network.parameters() if p.grad is not None]
    return loss.item(), gradients


def relative_error(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """The length of the difference of two gradients over that of the second."""
    difference = sum((a - b).square().sum().item() for a, b in zip(found, expected, strict=True))
    return (difference / sum(b.square().sum().item() for b in expected)) ** 0.5


@contextmanager
def cramped(place: Place, monkeypatch: pytest.MonkeyPatch, gib: float, most: int) -> Iterator[None]:
    """A GPU of which this process may fill `gib`; a CPU on which `most` sequences fit."""
    if place.is_gpu:
        torch.cuda.empty_cache()
        there = torch.cuda.mem_get_info(place.device)[1]
        torch.cuda.set_per_process_memory_fraction(gib * GIB / there, place.device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, place.device)
        return
    forward = GPT.forward

    def limited(self: GPT, tokens_BT: torch.Tensor, targets_BT: torch.Tensor | None = None):
        if torch.is_grad_enabled() and len(tokens_BT) > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB.")
        return forward(self, tokens_BT, targets_BT)

    with monkeypatch.context() as patch:
        patch.setattr("training.device.micro_batch.TRIED_ON", ("cpu",))
        patch.setattr(GPT, "forward", limited)
        yield


@contextmanager
def traced_by(monkeypatch: pytest.MonkeyPatch, backend: object) -> Iterator[None]:
    """Runs compile by `backend`, whatever a CPU has to make code with."""
    with monkeypatch.context() as patch:
        if not torch.cuda.is_available():
            patch.setattr("training.environment.compiler_trouble", lambda _: None, raising=False)
        patch.setattr("training.state.compiled", partial(compiled, backend=backend))
        yield
