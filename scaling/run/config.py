"""How a sweep uses machines; nothing here touches the science or any trial's id."""

from dataclasses import dataclass
from typing import Literal

from configs.errors import BadInput


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
    """

    kind: Literal["local"]
    devices: int | None
    devices_per_trial: int
    trials_per_device: int
    price_per_hour: float
    lease_s: float
    grace_s: float
    device: str | None = None
    tflops: float | None = None

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
