"""How a sweep uses machines; nothing here touches the science or any trial's id."""

import math
import re
from dataclasses import dataclass
from typing import Literal

from common.errors import require
from training.device.data_sheets import are_different

# Options of sbatch that give a worker, which is one task on one node, its GPUs.
_GPU_OPTION = (
    r"--(?:gres=gpu|gpus(?:-per-(?:node|task))?(?==))[:=]?"
    r"(?:(?P<type>[A-Za-z][\w.-]*):?)?(?P<count>\d+)?"
)
MOST_BY_SIZE = 4  # trials on one GPU with trials_per_device=auto: published gains are of three
SIGNAL_MARGIN_S = 30  # beyond grace_s, for the script to ask for its requeue


@dataclass(frozen=True)
class SlurmConfig:
    """What `launcher=slurm` writes into its sbatch script; null leaves it to the cluster.

    workers   tasks of the array, each a worker on one node; never more than trials are missing
    partition, account, qos, constraint  sbatch's options of these names
    time      limit of a task, in Slurm's forms: minutes, H:M:S, D-H, D-H:M:S
    cpus      of a worker
    mem       of a worker, as 64G
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
            fits = value is None or value >= least
            require(fits, f"launcher.slurm.{name}", value, f">= {least}")
        time = r"(\d+-\d+|\d+)(:[0-5]?\d){0,2}"
        for name, form, example in (
            ("time", time, "90 (minutes), 12:30:00 or 2-00:30:00, minutes and seconds below 60"),
            ("gpus", r"([A-Za-z][\w.-]*:)?[1-9]\d*", "8 or a100:8"),
            ("mem", r"\d+[KMGT]?", "64G"),
        ):
            value = getattr(self, name)
            fits = value is None or re.fullmatch(form, str(value)) is not None
            require(fits, f"launcher.slurm.{name}", repr(value), f"as {example}")
        for option in self.extra:
            is_option = option.startswith("--")
            require(is_option, "launcher.slurm.extra", repr(option), "as --exclude=n7")
        texts = (self.partition, self.account, self.qos, self.constraint, self.prefix, self.python)
        for text in (*texts, *self.extra, *self.setup):
            plain = text is None or text.isprintable()
            require(plain, "launcher.slurm", repr(text), "one line of plain text")

    @property
    def gpu_count(self) -> int | None:
        """GPUs of a worker, as `gpus` asks for them or sbatch's own options in `extra`."""
        found = self._gpu_option()
        return int(found["count"] or 1) if found else None

    @property
    def gpu_type(self) -> str | None:
        """The GPU that a worker asks for by name, in this cluster's words."""
        found = self._gpu_option()
        return found["type"] if found else None

    def _gpu_option(self) -> re.Match[str] | None:
        asked = [] if self.gpus is None else [f"--gpus={self.gpus}"]
        options = (re.fullmatch(_GPU_OPTION, option) for option in (*asked, *self.extra))
        return next(filter(None, options), None)

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
    """Who starts workers, and how one worker divides its devices among trials (`devices.py`).

    kind               as launcher=NAME sets it
    devices            GPUs, or cores where there are none; null: all this process may use
    devices_per_trial  ranks of one trial, all on one node
    trials_per_device  trials at once on one device; on a GPU by NVIDIA's MPS, where it can be had;
                       auto: small models so many as keep a GPU busy, by rule (not measured)
    price_per_hour     of one device, in the user's currency
    device             the GPU's name of a machine that is not here, as H200; then trials are timed
                       by its data sheet, not measured
    tflops             10^12 FLOP/s that one device does in training; it counts before the name
    lease_s            a claim on another host is dead when its heartbeat stood still this long
    grace_s            seconds from a stop request until what still runs is killed
    slurm              with kind=slurm: what the script asks of Slurm
    submit             with kind=slurm; false: write the script and say how to submit it
    force              with kind=slurm; true: submit beside workers that may be queued or at work
    """

    kind: Literal["local", "slurm"]
    devices: int | None
    devices_per_trial: int
    trials_per_device: int | Literal["auto"]
    price_per_hour: float
    lease_s: float
    grace_s: float
    device: str | None = None
    tflops: float | None = None
    slurm: SlurmConfig | None = None
    submit: bool = True
    force: bool = False

    def __post_init__(self) -> None:
        ranks, packed = self.devices_per_trial, self.trials_per_device
        for name in ("devices", "devices_per_trial", "trials_per_device", "tflops", "lease_s"):
            value = getattr(self, name)
            fits = value in (None, "auto") or value > 0
            require(fits, f"launcher.{name}", value, "more than 0")
        for name in ("price_per_hour", "grace_s"):
            require(getattr(self, name) >= 0, f"launcher.{name}", getattr(self, name), ">= 0")
        require(
            ranks == 1 or packed == 1,
            "launcher.trials_per_device",
            f"{packed} with devices_per_trial {ranks}",
            "one of them to be 1",
        )
        self._check_devices(ranks)
        whole = (self.kind == "slurm") == (self.slurm is not None)
        require(whole, "launcher.kind", self.kind, "as launcher=NAME sets it")
        limit_s = self.slurm.time_s if self.slurm else None
        require(
            limit_s is None or limit_s > self.signal_s,
            "launcher.slurm.time",
            f"{limit_s} s",
            f"more than the {self.signal_s} s that are kept for saving "
            f"(launcher.grace_s + {SIGNAL_MARGIN_S})",
        )

    def _check_devices(self, ranks: int) -> None:
        asked = self.slurm.gpu_count if self.slurm else None
        for name, count in (("launcher.devices", self.devices), ("launcher.slurm.gpus", asked)):
            if count is None or (asked and self.devices and name == "launcher.slurm.gpus"):
                continue
            expected = f"at least launcher.devices_per_trial {ranks}"
            require(count >= ranks, name, count, expected)
            require_no_idle(name, count, ranks)
        enough = not asked or not self.devices or self.devices <= asked
        require(enough, "launcher.devices", self.devices, f"at most launcher.slurm.gpus {asked}")
        kind = self.slurm.gpu_type if self.slurm else None
        other = kind and self.device and are_different(kind, self.device)
        require(
            not other,
            "launcher.device",
            f"{self.device} beside GPUs of type {kind} (launcher.slurm)",
            "the GPU that the workers get, of which the hours are counted",
        )

    @property
    def packed(self) -> int:
        """Trials at once on a device that a plan counts on: one where that goes by their size."""
        return 1 if self.trials_per_device == "auto" else self.trials_per_device

    @property
    def most_packed(self) -> int:
        """Trials at once on one GPU at the most."""
        return MOST_BY_SIZE if self.trials_per_device == "auto" else self.trials_per_device

    @property
    def workers(self) -> int:
        """Workers that this launcher starts."""
        return self.slurm.workers if self.slurm else 1

    @property
    def used_devices(self) -> int | None:
        """Devices that a worker gives to trials, where they are stated."""
        return self.devices or (self.slurm.gpu_count if self.slurm else None)

    @property
    def held_devices(self) -> int | None:
        """Devices that a worker holds and pays for, where they are stated."""
        return (self.slurm.gpu_count if self.slurm else None) or self.devices

    @property
    def signal_s(self) -> int:
        """How long before its limit a task of Slurm's is told to save."""
        return math.ceil(self.grace_s) + SIGNAL_MARGIN_S


def require_no_idle(name: str, count: int, ranks: int) -> None:
    """BadInput where trials of so many ranks leave some of a worker's devices idle."""
    cure = f"launcher.devices={count // ranks * ranks}"
    require(
        count % ranks == 0,
        name,
        count,
        f"a multiple of launcher.devices_per_trial {ranks}, so that none is idle; say {cure}",
    )
