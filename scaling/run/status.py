"""The state of a sweep, from its files alone: every trial, their sum, and the failures.

Of a trial without a record only the end of its metrics.jsonl is read, so that thousands of trials
are looked at in a second or two, from any machine and without disturbing those that train.
"""

import statistics
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from common.errors import BadInput
from common.files import read_json
from model.flops import flops_per_token_exact
from scaling.plan.cost import flops_exact, makespan_s
from scaling.run import failures, trial_states
from scaling.run.config import LauncherConfig
from scaling.run.trial_states import TrialState
from scaling.run.workers.packing import Shared, read_sharing
from training.device.mfu import mfu
from training.trial.attempt import Attempt, attempts
from training.trial.metrics import Row, read_tail


@dataclass(frozen=True)
class TrialView:
    """The state of one trial; unknown values are None.

    loss         held-out if it is done, else of the last logged training step
    left_s       seconds until it ends, at the throughput of its last steps
    sharing      how it shares its GPU with other trials; None where it has it alone
    device_s     seconds times devices (GPUs, or cores) that it held: by its record, else of the
                 attempt that runs. What attempts lost by being killed is not known and not in it
    problem      why it failed, or why its last process crashed
    """

    state: TrialState
    step: int
    loss: float | None = None
    tokens_per_s: float | None = None
    mfu: float | None = None
    left_s: float | None = None
    device_s: float = 0.0
    problem: str | None = None
    sharing: Shared | None = None

    @property
    def steps(self) -> int:
        """Steps that the trial has in all."""
        return self.state.trial.config.schedule.steps


@dataclass(frozen=True)
class Overview:
    """The sum over all trials: FLOP trained of those planned, device-seconds, seconds left."""

    counts: dict[str, int]
    flops_trained: float
    flops_planned: float
    device_s: float
    left_s: float | None


def view(out: Path, state: TrialState, launcher: LauncherConfig) -> TrialView:
    """Read the files of one trial beyond its state."""
    config, record = state.trial.config, state.record
    if record:
        last = Attempt(trial_states.trial_folder(out, state.trial), record.attempts).folder
        packed = _packed(last, launcher)
        devices = _devices(record.world_size, record.threads, record.device, packed)
        device_s = (record.wall_s or 0.0) * devices
        problem = None if record.status == "done" else record.reason
        measured = record.loss, record.tokens_per_s, record.mfu, None
        return TrialView(state, record.steps, *measured, device_s, problem)
    tried = attempts(trial_states.trial_folder(out, state.trial))[::-1] if state.attempts else []
    problem = _mapping(tried[0] / failures.CRASH).get("reason") if tried else None
    problem = problem if isinstance(problem, str) else None
    problem = state.damage or problem
    rows: list[Row] = next(filter(None, map(read_tail, tried)), [])
    step, loss = (rows[-1]["step"], rows[-1].get("loss")) if rows else (0, None)
    if state.state != "running":
        return TrialView(state, step, loss, problem=problem)
    throughputs = [row["tokens_per_s"] for row in rows if row.get("tokens_per_s")]
    tokens_per_s = statistics.median(throughputs) if throughputs else None
    environment = _mapping(tried[0] / "runtime.json")
    tokens_left = (config.schedule.steps - step) * config.schedule.batch_tokens
    device = environment.get("device")
    device = device if isinstance(device, str) else None
    ranks = _count(environment.get("world_size"))
    share = None
    if tokens_per_s and device:
        share = mfu(config.model, tokens_per_s, device, config.precision, ranks)
    left_s = tokens_left / tokens_per_s if tokens_per_s else None
    packed = _packed(tried[0], launcher)
    devices = _devices(ranks, _count(environment.get("threads")), device, packed)
    device_s = _seconds_so_far(tried[0]) * devices
    sharing = read_sharing(tried[0])
    return TrialView(state, step, loss, tokens_per_s, share, left_s, device_s, problem, sharing)


def overview(views: Sequence[TrialView]) -> Overview:
    """Sum up. What waits takes as long as was predicted, corrected by the trials that are done."""
    trained = planned = 0.0
    for item in views:
        config = item.state.trial.config
        planned += flops_exact(config)
        trained += item.step * config.schedule.batch_tokens * flops_per_token_exact(config.model)
    running = [item for item in views if item.state.state == "running"]
    seconds = _seconds_left(views)
    return Overview(
        counts=trial_states.count_states([item.state for item in views]),
        flops_trained=trained,
        flops_planned=planned,
        device_s=sum(item.device_s for item in views),
        left_s=makespan_s(seconds, len(running)) if running and seconds else None,
    )


def _seconds_left(views: Sequence[TrialView]) -> list[float] | None:
    """Of each trial that has not ended; None where one has no throughput and no prediction."""
    done = [
        (item.state.trial.predicted_s, item.state.record.wall_s)
        for item in views
        if item.state.record and item.state.record.wall_s and item.state.trial.predicted_s
    ]
    predicted = sum(pair[0] for pair in done)
    scale = sum(pair[1] for pair in done) / predicted if predicted else 1.0
    seconds = []
    for item in views:
        if item.state.record:
            continue
        whole_s = item.state.trial.predicted_s
        left_s = item.left_s
        if left_s is None and whole_s is not None:
            left_s = scale * whole_s * (1 - item.step / item.steps)
        if left_s is None:
            return None
        seconds.append(left_s)
    return seconds


def _packed(attempt: Path, launcher: LauncherConfig) -> int:
    """Trials at once on the device of an attempt, as its worker noted, else as was planned."""
    noted = read_sharing(attempt) if launcher.trials_per_device != 1 else None
    return noted.trials if noted else launcher.packed


def _devices(ranks: int | None, threads: int | None, device: str | None, packed: int) -> float:
    """Devices that a trial holds, as launcher.price_per_hour counts them: cores without GPUs."""
    if device is None or device.startswith("CPU"):
        return (ranks or 1) * (threads or 1)
    return (ranks or 1) / packed


def _seconds_so_far(attempt: Path) -> float:
    """From the claim to the last logged step, both by the clock of the machine that trains."""
    rows = read_tail(attempt)
    with suppress(LookupError, TypeError, ValueError):
        started = datetime.fromisoformat(_mapping(attempt / "owner.json")["started"])
        return max(0.0, (datetime.fromisoformat(rows[-1]["time"]) - started).total_seconds())
    return 0.0


def _count(value: Any) -> int:
    """A number of ranks or threads; 1 where a damaged file has none."""
    return value if type(value) is int and 0 < value < 2**20 else 1


def _mapping(path: Path) -> dict[str, Any]:
    """A small file of an attempt that another process may be writing; empty if it is not there."""
    with suppress(BadInput, OSError):
        values = read_json(path)
        return values if isinstance(values, dict) else {}
    return {}
