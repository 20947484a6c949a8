"""The smallest honest run: a model of 16 wide over bytes, on text made up in a test's folder."""

import itertools
import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from common.errors import BadInput
from data.config import DataConfig
from model.config import GPTConfig
from tests.support.kill_harness import Child, fork_ranks
from training.config import (
    EvaluationConfig,
    OptimizerConfig,
    RuntimeConfig,
    ScheduleConfig,
    TrainConfig,
)
from training.dataset import open_data
from training.environment import decide
from training.loop import train
from training.ranks.distributed import Ranks, joined
from training.state import TrainState, build_state
from training.step import PendingStep, StepFunction, begin_step
from training.trial.attempt import Attempt, Claimed, Watch, claim
from training.trial.record import RunRecord, publish

WORDS = "def return self import for in if else while not None True value index range"


def write_text(folder: Path, n_words: int = 6000, seed: int = 0) -> Path:
    """A folder of documents with some structure to learn."""
    folder.mkdir(parents=True, exist_ok=True)
    words = random.Random(seed)
    for index in range(24):
        text = " ".join(words.choice(WORDS.split()) for _ in range(n_words // 24))
        path = folder / f"{index:02d}.txt"
        if not path.exists() or path.read_text() != text:  # else its shards would be made again
            path.write_text(text)
    return folder


def tiny_config(folder: Path, steps: int = 6, **changes: Any) -> TrainConfig:
    """A trial of `steps` steps of 8 sequences of 16 bytes; `changes` as group__field=value."""
    config = TrainConfig(
        model=GPTConfig(
            n_layer=2, n_head=2, n_embd=16, block_size=16, vocab_size=256, init_std=0.1
        ),
        data=DataConfig(
            source="files",
            path=str(folder / "text"),
            tokenizer="bytes",
            val_fraction=0.2,
            max_epochs=1000.0,
        ),
        optimizer=OptimizerConfig(
            name="adamw", lr=1e-2, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1, grad_clip=1.0
        ),
        schedule=ScheduleConfig(
            name="cosine",
            tokens=128 * steps,
            batch_tokens=128,
            warmup_tokens=128 * steps // 3,
            final_lr_fraction=0.1,
        ),
        evaluation=EvaluationConfig(tokens=37 * 16),
        runtime=RuntimeConfig(
            device="cpu",
            threads=1,
            compile=None,
            micro_batch=None,
            log_every_steps=1,
            evaluate_every_steps=0,
            checkpoint_every_s=0,
            data_dir=str(folder / "shards"),
            timeout_s=60,
        ),
        seed=0,
        precision="float32",
    )
    for name, value in changes.items():
        group, _, field = name.rpartition("__")
        change = {group: replace(getattr(config, group), **{field: value})} if group else {}
        config = replace(config, **(change or {name: value}))
    return config


def prepared_config(folder: Path, steps: int = 6, **changes: Any) -> TrainConfig:
    """`tiny_config` with its text written."""
    write_text(folder / "text")
    return tiny_config(folder, steps, **changes)


def alone() -> Ranks:
    """One process on the CPU."""
    return Ranks(0, 1, 1, torch.device("cpu"), timeout_s=60)


def built_state(config: TrainConfig) -> TrainState:
    """A run of one process before its first step."""
    return build_state(config, alone(), decide(config, alone(), None), open_data(config, alone()))


def claimed(trial: Path) -> Attempt:
    """A claim that must succeed; a folder without an owner is waited for on a quick clock."""
    watch = Watch(clock=itertools.count(step=10.0).__next__)
    attempt = claim(trial, watch)
    if isinstance(attempt, Claimed) and not attempt.certain:
        attempt = claim(trial, watch)
    assert isinstance(attempt, Attempt), attempt
    return attempt


def train_once(
    config: TrainConfig,
    trial: Path,
    step_function: StepFunction = begin_step,
    start: Path | None = None,
) -> RunRecord:
    """One attempt as a sweep's worker makes it: claim, train, publish, give back."""
    attempt = claimed(trial)
    try:
        record = train(
            config, attempt, alone(), quiet=True, step_function=step_function, start=start
        )
        assert publish(attempt, record)
    finally:
        attempt.release()
    return record


def stopping(state: TrainState, stop: bool, save: bool) -> PendingStep:
    """A step at which the run is asked to stop."""
    return begin_step(state, True, save)


def joined_ranks(
    config: TrainConfig, folder: Path, body: Callable[[Ranks], object], n: int = 2
) -> list[Child]:
    """`n` forked ranks in which `body` runs, over gloo; their logs lie in `folder`."""

    def rank() -> None:
        with joined(config.runtime) as ranks:
            body(ranks)

    return fork_ranks(rank, n, folder)


def together(
    config: TrainConfig, folder: Path, body: Callable[[Ranks], object], n: int = 2
) -> list[object]:
    """What `body` returned (or the BadInput it raised, as text) on each of `n` forked ranks."""

    def answer(ranks: Ranks) -> None:
        try:
            value = body(ranks)
        except BadInput as error:
            value = f"BadInput: {error}"
        (folder / f"answer{ranks.rank}.json").write_text(json.dumps(value))

    for child in joined_ranks(config, folder, answer, n):
        assert child.wait() == 0, child.log.read_text()
    return [json.loads((folder / f"answer{rank}.json").read_text()) for rank in range(n)]
