"""What a plan takes of memory and disk, and which of its trials no device here can hold."""

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

from model.flops import params_allocated
from scaling.plan.grid import LeftOut, Plan, Trial, refuse_empty
from training.config import TrainConfig
from training.memory import Kind, run_bytes, state_bytes

_CHECKPOINTS = 3  # of a running trial: two are kept, one is being written (training/checkpoint.py)
_SAVED = 3 * 4  # bytes a weight: itself and AdamW's two moments in float32
_ROW = 220  # bytes of a line of metrics.jsonl, as the quickstart's
_FILES = 20_000  # bytes of a trial's other files
# GiB by the makers' data sheets; where a name has variants, that with the most. The first found.
_MEMORY_GIB = {
    r"\bGH200\b": 144,
    r"\bG?B200\b": 192,
    r"\bH200\b": 141,
    r"\bH100 NVL\b": 94,
    r"\bH100\b": 80,
    r"\bA100\b": 80,
    r"\bL40S\b": 48,
    r"\b(L4|A10|RTX 4090|RTX 3090)\b": 24,
}


@dataclass(frozen=True)
class Device:
    """What a trial runs on: its memory (None where it is not known) and how trials share it."""

    kind: Kind
    memory_bytes: int | None
    ranks: int = 1

    def run_bytes(self, config: TrainConfig) -> int:
        """Estimated memory of a trial, on each of its ranks."""
        return run_bytes(config, self.kind, self.memory_bytes, self.ranks)


@dataclass(frozen=True)
class Disk:
    """Bytes at the most: checkpoints of what runs at once (or is kept), records, prepared data."""

    checkpoints: int
    records: int
    data: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.checkpoints + self.records + self.data


def memory_of(name: str) -> int | None:
    """Bytes of memory of a GPU by its name; None where it is not known."""
    for pattern, gib in _MEMORY_GIB.items():
        if re.search(pattern, name):
            return gib * 2**30
    return None


def disk(plan: Plan, slots: int, keep: bool, dataset_tokens: int | None) -> Disk:
    """The most that a sweep of `plan` with so many trials at once occupies.

    `keep`: the last checkpoints of trials that are done stay. Shards hold two bytes a token.
    """
    saved = sorted(_SAVED * params_allocated(trial.config.model) for trial in plan.trials)[::-1]
    running = _CHECKPOINTS * sum(saved[:slots])
    kept = (_CHECKPOINTS - 1) * sum(saved[slots:]) if keep else 0
    lines = sum(t.config.schedule.steps // t.config.runtime.log_every_steps for t in plan.trials)
    records = _ROW * lines + _FILES * len(plan.trials)
    return Disk(running + kept, records, 2 * (dataset_tokens or 0))


def that_fit(plan: Plan, memory_bytes: int | None) -> Plan:
    """The plan without the cells that no device can hold; as it is where the memory is not known.

    Only what is exact decides: weights, gradients and moments in float32, which every rank holds
    whole, must be under the device's memory. Activations, which are estimated and may be off by a
    factor of two, leave no cell out. Raises BadInput when none is left.
    """
    if memory_bytes is None:
        return plan
    large = {cell_of(t): state_bytes(t.config) for t in plan.trials}
    large = {cell: needed for cell, needed in large.items() if needed > memory_bytes}
    if not large:
        return plan
    lost = tuple(
        LeftOut(
            *cell,
            f"{size(needed)} of weights, gradients and moments, expected at most the device's "
            f"{size(memory_bytes)}",
        )
        for cell, needed in large.items()
    )
    return without(replace(plan, left_out=(*plan.left_out, *lost)), large)


def without(plan: Plan, cells: Collection[tuple[float, int, int]]) -> Plan:
    """The plan without the trials of these cells (FLOP, layers, width); BadInput if none stays."""
    trials = tuple(trial for trial in plan.trials if cell_of(trial) not in cells)
    if not trials:
        refuse_empty(plan.left_out)
    return replace(plan, trials=trials)


def cell_of(trial: Trial) -> tuple[float, int, int]:
    """(FLOP asked for, layers, width), as a cell left out is named."""
    return trial.flops_budget, trial.config.model.n_layer, trial.config.model.n_embd


def size(count: float) -> str:
    """Bytes for people: 812 MB, 24.9 GB."""
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g} {letter}B"
    return f"{count:.0f} B"
