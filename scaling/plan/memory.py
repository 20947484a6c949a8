"""What a plan takes of memory and disk, and which of its trials no device here can hold."""

from dataclasses import dataclass, replace

from common.numbers import byte_size
from model.flops import params_allocated
from scaling.plan.grid import refuse_empty
from scaling.plan.plan import Plan, SkippedCell
from scaling.plan.trunks import branches_of
from training.config import TrainConfig
from training.device.memory import Kind, run_bytes, state_bytes, usable_bytes

# Of a running trial: two are kept, one is being written (training/trial/checkpoint.py).
_CHECKPOINTS = 3
_SAVED = 3 * 4  # bytes a weight: itself and AdamW's two moments in float32
_ROW = 220  # bytes of a line of metrics.jsonl, as the quickstart's
_FILES = 20_000  # bytes of a trial's other files


@dataclass(frozen=True)
class Device:
    """What a trial runs on: its memory (None where it is not known), ranks, its share of each."""

    kind: Kind
    memory_bytes: int | None
    ranks: int = 1
    share: float = 1.0

    def run_bytes(self, config: TrainConfig) -> int:
        """Estimated memory of a trial, on each of its ranks."""
        return run_bytes(config, self.kind, self.usable_bytes, self.ranks)

    @property
    def usable_bytes(self) -> int | None:
        """What a process has of a GPU for its tensors; None where that is not known."""
        memory = self.memory_bytes
        return usable_bytes(memory, self.share) if self.kind == "cuda" and memory else None


@dataclass(frozen=True)
class Disk:
    """Bytes at the most: checkpoints of what runs at once (or is kept), records, prepared data.

    trunks  checkpoints with which branches begin, all at once: each goes when its branches are done
    """

    checkpoints: int
    records: int
    data: int
    trunks: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.checkpoints + self.records + self.data + self.trunks


def disk(plan: Plan, parallel: int, keep: bool, shard_bytes: int | None) -> Disk:
    """The most that a sweep of `plan` with so many trials at once occupies.

    `keep`: the last checkpoints of trials that are done stay; those of runtime.keep_steps always
    do. `shard_bytes` of the prepared data; None where they are not known.
    """
    saved = sorted(_SAVED * params_allocated(trial.config.model) for trial in plan.trials)[::-1]
    running = _CHECKPOINTS * sum(saved[:parallel])
    kept = (_CHECKPOINTS - 1) * sum(saved[parallel:]) if keep else 0
    kept += sum(
        _SAVED * params_allocated(trial.config.model) * len(trial.config.kept_steps)
        for trial in plan.trials
    )
    lines = sum(t.config.schedule.steps // t.config.runtime.log_every_steps for t in plan.trials)
    records = _ROW * lines + _FILES * len(plan.trials)
    return Disk(running + kept, records, shard_bytes or 0, _trunk_bytes(plan))


def _trunk_bytes(plan: Plan) -> int:
    """Of the checkpoints with which branches begin, where all trunks run before any branch."""
    models = {trial.id: trial.config.model for trial in plan.trials}
    branches = branches_of((t.id, t.config) for t in plan.trials) if plan.grid.trunk else {}
    points = {(branch.trunk, branch.step) for branch in branches.values()}
    return sum(_SAVED * params_allocated(models[trunk]) for trunk, _ in points)


def drop_oversized_cells(plan: Plan) -> Plan:
    """The plan without the cells that no device of `plan.memory_bytes` can hold, if that is known.

    Only what is exact decides: weights, gradients and moments in float32, which every rank holds
    whole, must be under the device's memory. Activations, which are estimated and may be off by a
    factor of two, leave no cell out. Raises BadInput when none is left.
    """
    memory = plan.memory_bytes
    if memory is None:
        return plan
    # By (FLOP asked for, layers, width, arm), as a skipped cell is named.
    needed = {
        (t.flops_budget, t.config.model.n_layer, t.config.model.n_embd, arm): state_bytes(t.config)
        for t in plan.trials
        for arm, _ in t.arms or ((None, t.part),)
    }
    oversized = tuple(
        SkippedCell(
            budget,
            n_layer,
            n_embd,
            f"{byte_size(size)} of weights, gradients and moments, expected at most the device's "
            f"{byte_size(memory)}",
            arm,
        )
        for (budget, n_layer, n_embd, arm), size in needed.items()
        if size > memory
    )
    if not oversized:
        return plan
    left_out = (*plan.left_out, *oversized)
    trials = tuple(trial for trial in plan.trials if state_bytes(trial.config) <= memory)
    if not trials:
        refuse_empty(left_out)
    return replace(plan, trials=trials, left_out=left_out)
