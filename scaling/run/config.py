"""How a sweep uses machines; nothing here touches the science or any trial's id."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from configs.errors import BadInput

SIGNAL_MARGIN_S = 30  # beyond grace_s, for the script to ask for its requeue


@dataclass(frozen=True)
class SlurmConfig:
    """What `launcher=slurm` writes into its sbatch script; null leaves it to the cluster.

    workers   tasks of the array, each a worker on one node; never more than trials are missing
    time      limit of a task, in Slurm's forms: minutes, H:M:S, D-H, D-H:M:S
    gpus      of a worker: 8, or with a type a100:8
    requeues  times that a task which the limit stopped may queue again
    extra     more options of sbatch, as --exclude=n7
    setup     shell lines before the worker starts: modules, a venv, exports
    prefix    what stands before python in the worker's command, as a container's `exec`
    python    null: the interpreter that submits
    """

    workers: int
    partition: str | None
    account: str | None
    qos: str | None
    constraint: str | None
    time: int | str | None
    cpus: int | None
    gpus: int | str | None
    mem: int | str | None
    requeues: int
    extra: tuple[str, ...]
    setup: tuple[str, ...]
    prefix: str
    python: str | None

    def __post_init__(self) -> None:
        for name, least in (("workers", 1), ("cpus", 1), ("requeues", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadInput(f"launcher.slurm.{name}: found {value}, expected >= {least}")
        for name, form, example in (
            (
                "time",
                r"(\d+-\d+(:\d+){0,2}|\d+(:\d+){0,2})",
                "90 (minutes), 12:00:00 or 2-00:00:00",
            ),
            ("gpus", r"([A-Za-z][\w.-]*:)?[1-9]\d*", "8 or a100:8"),
            ("mem", r"\d+[KMGT]?", "64G"),
        ):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(form, str(value)):
                raise BadInput(f"launcher.slurm.{name}: found {value!r}, expected as {example}")
        for option in self.extra:
            if not option.startswith("--"):
                raise BadInput(f"launcher.slurm.extra: found {option!r}, expected as --exclude=n7")
        texts = (self.partition, self.account, self.qos, self.constraint, self.prefix, self.python)
        for text in (*texts, *self.extra, *self.setup):
            if text is not None and not text.isprintable():
                raise BadInput(f"launcher.slurm: found {text!r}, expected one line of plain text")

    @property
    def time_s(self) -> int | None:
        """The limit in seconds."""
        if self.time is None:
            return None
        days, dash, rest = str(self.time).rpartition("-")
        parts = [int(part) for part in rest.split(":")]
        if dash:  # D-H, D-H:M, D-H:M:S
            hours, minutes, seconds = (parts + [0, 0])[:3]
        elif len(parts) < 3:  # M, M:S
            hours, (minutes, seconds) = 0, (parts + [0])[:2]
        else:
            hours, minutes, seconds = parts
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds


@dataclass(frozen=True)
class LauncherConfig:
    """Who starts workers, and how one worker divides its devices into slots (see `slots.py`).

    devices            GPUs, or cores where there are none; null: all this process may use
    devices_per_trial  ranks of one trial, all on one node
    trials_per_device  trials at once on one device
    price_per_hour     of one device, in the user's currency
    device, tflops     of a machine that is not here: its GPU's name, or 10^12 FLOP/s that one of
                       its devices does in training; then trials are timed by that, not measured
    lease_s            a claim on another host is dead when its heartbeat stood still this long
    grace_s            seconds from a stop request until what still runs is killed
    slurm              with kind=slurm: what the script asks of Slurm
    submit             with kind=slurm; false: write the script and say how to submit it
    force              with kind=slurm; true: submit beside workers that may be queued or at work
    """

    kind: Literal["local", "slurm"]
    devices: int | None
    devices_per_trial: int
    trials_per_device: int
    price_per_hour: float
    lease_s: float
    grace_s: float
    device: str | None = None
    tflops: float | None = None
    slurm: SlurmConfig | None = None
    submit: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        for name in ("devices", "devices_per_trial", "trials_per_device", "tflops", "lease_s"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise BadInput(f"launcher.{name}: found {value}, expected more than 0")
        for name in ("price_per_hour", "grace_s"):
            if getattr(self, name) < 0:
                raise BadInput(f"launcher.{name}: found {getattr(self, name)}, expected >= 0")
        if self.devices_per_trial > 1 and self.trials_per_device > 1:
            raise BadInput(
                f"launcher.trials_per_device: found {self.trials_per_device} with "
                f"devices_per_trial {self.devices_per_trial}, expected one of them to be 1"
            )
        if self.devices is not None and self.devices < self.devices_per_trial:
            raise BadInput(
                f"launcher.devices: found {self.devices}, expected at least "
                f"launcher.devices_per_trial {self.devices_per_trial}"
            )
        if (self.kind == "slurm") != (self.slurm is not None):
            raise BadInput(f"launcher.kind: found {self.kind}, expected as launcher=NAME sets it")
        limit_s = self.slurm.time_s if self.slurm else None
        if limit_s is not None and limit_s <= self.signal_s:
            raise BadInput(
                f"launcher.slurm.time: found {limit_s} s, expected more than the {self.signal_s} s "
                f"that are kept for saving (launcher.grace_s + {SIGNAL_MARGIN_S})"
            )

    @property
    def stated_slots(self) -> int:
        """Trials at once on machines that are not here, as far as their devices are stated."""
        devices = self.devices or self.devices_per_trial
        slots = devices // self.devices_per_trial * self.trials_per_device
        return slots * (self.slurm.workers if self.slurm else 1)

    @property
    def signal_s(self) -> int:
        """How long before its limit a task of Slurm's is told to save."""
        return math.ceil(self.grace_s) + SIGNAL_MARGIN_S
