"""How a sweep stands, from its files alone: every trial, the sum of them, and what went wrong.

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

from configs.errors import BadInput
from configs.files import read_json
from model.flops import flops_per_token_exact
from scaling.plan.cost import flops_exact, makespan_s
from scaling.run import deaths, store
from scaling.run.config import LauncherConfig
from scaling.run.store import TrialState
from training.attempt import attempts
from training.metrics import Row, read_tail
from training.peaks import mfu


@dataclass(frozen=True)
class TrialView:
    """One trial as it stands; what is not known is None.

    loss         held-out if it is done, else of the last logged training step
    left_s       seconds until it ends, at the rate of its last steps
    device_s     seconds times devices (GPUs, or cores) that it held: by its record, else of the
                 attempt that runs. What attempts lost by being killed is not known and not in it
    problem      why it failed, or why its last process died
    """

    state: TrialState
    step: int
    loss: float | None = None
    tokens_per_s: float | None = None
    mfu: float | None = None
    left_s: float | None = None
    device_s: float = 0.0
    problem: str | None = None

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
    """What the files of one trial say beyond its state."""
    config, record = state.trial.config, state.record
    if record:
        devices = _devices(record.world_size, record.threads, record.device, launcher)
        return TrialView(
            state,
            record.steps,
            loss=record.loss,
            tokens_per_s=record.tokens_per_s,
            mfu=record.mfu,
            device_s=(record.wall_s or 0.0) * devices,
            problem=None if record.status == "done" else record.reason,
        )
    tried = attempts(store.trial_folder(out, state.trial))[::-1] if state.attempts else []
    problem = _mapping(tried[0] / deaths.NAME).get("reason") if tried else None
    rows: list[Row] = next(filter(None, map(read_tail, tried)), [])
    step = rows[-1]["step"] if rows else 0
    if state.state != "running":
        return TrialView(state, step, rows[-1].get("loss") if rows else None, problem=problem)
    rates = [row["tokens_per_s"] for row in rows if row.get("tokens_per_s")]
    rate = statistics.median(rates) if rates else None
    environment = _mapping(tried[0] / "runtime.json")
    device, ranks = environment.get("device"), environment.get("world_size") or 1
    return TrialView(
        state,
        step,
        loss=rows[-1].get("loss") if rows else None,
        tokens_per_s=rate,
        mfu=mfu(config.model, rate, device, config.precision, ranks) if rate and device else None,
        left_s=(config.schedule.steps - step) * config.schedule.batch_tokens / rate
        if rate
        else None,
        device_s=_seconds_so_far(tried[0])
        * _devices(ranks, environment.get("threads"), device, launcher),
        problem=problem,
    )


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
        counts=store.count_states([item.state for item in views]),
        flops_trained=trained,
        flops_planned=planned,
        device_s=sum(item.device_s for item in views),
        left_s=makespan_s(seconds, len(running)) if running and seconds else None,
    )


def _seconds_left(views: Sequence[TrialView]) -> list[float] | None:
    """Of each trial that has not ended; None where one has neither a rate nor a prediction."""
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


def _devices(
    ranks: int | None, threads: int | None, device: str | None, launcher: LauncherConfig
) -> float:
    """Devices that a trial holds, as launcher.price_per_hour counts them: cores without GPUs."""
    if device is None or device.startswith("CPU"):
        return (ranks or 1) * (threads or 1)
    return (ranks or 1) / launcher.trials_per_device


def _seconds_so_far(attempt: Path) -> float:
    """From the claim to the last logged step, both by the clock of the machine that trains."""
    rows = read_tail(attempt)
    with suppress(LookupError, TypeError, ValueError):
        started = datetime.fromisoformat(_mapping(attempt / "owner.json")["started"])
        return max(0.0, (datetime.fromisoformat(rows[-1]["time"]) - started).total_seconds())
    return 0.0


def _mapping(path: Path) -> dict[str, Any]:
    """A small file of an attempt that another process may be writing; empty if it is not there."""
    with suppress(BadInput, OSError):
        values = read_json(path)
        return values if isinstance(values, dict) else {}
    return {}
