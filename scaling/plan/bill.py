"""What a plan costs beside its FLOP, a line each: data, time, memory, disk, money."""

from collections.abc import Sequence

from scaling.plan.cost import Rate, StatedRate
from scaling.plan.grid import Plan
from scaling.plan.space import Device, Disk, size
from scaling.plan.table import Totals, duration


def data_line(plan: Plan, dataset_tokens: int | None, where: str) -> str:
    """The tokens that the runs read, against those that are there (None: nothing is)."""
    longest = max(trial.config.schedule.tokens_seen for trial in plan.trials)
    most = plan.base.data.max_epochs
    if dataset_tokens is None:
        return (
            f"data: {where} is not there, epochs are not checked; the longest run reads "
            f"{count(longest)} tokens"
        )
    return (
        f"data: {count(dataset_tokens)} training tokens there; the longest run reads "
        f"{count(longest)}, {longest / dataset_tokens:.2g} epochs (at most {most:g})"
    )


def time_line(rate: Rate | None) -> str:
    """Where the hours come from."""
    if rate is None:
        return "time: state a machine to plan for, as launcher.device=H200 or launcher.tflops=200"
    if isinstance(rate, StatedRate):
        return f"time: {rate.basis}; not measured, no compilation"
    return "time: by steps measured on this machine"


def memory_line(plan: Plan, device: Device, at_once: int) -> str:
    """The largest trial's estimated memory against the device's."""
    needed = max(device.run_bytes(trial.config) for trial in plan.trials)
    there = "unknown size" if device.memory_bytes is None else size(device.memory_bytes)
    return f"memory: up to {size(needed)} a trial (estimated), {at_once} at once in {there}"


def disk_line(needed: Disk, free: int) -> str:
    """What the sweep leaves on disk at the most."""
    text = (
        f"disk: {size(needed.total)} at most: checkpoints {size(needed.checkpoints)}, records "
        f"{size(needed.records)}, data {size(needed.data) if needed.data else 'not counted'}"
    )
    return f"{text}; {size(free)} are free" if needed.total > free else text


def price_line(cost: Totals, devices: int, price_per_hour: float) -> Sequence[str]:
    """Money, in the unit in which an hour of a device was given; nothing without a price."""
    if cost.wall_s is None or not price_per_hour:
        return []
    hours = cost.wall_s / 3600
    share = f" +-{100 * cost.error:.0f}%" if cost.error is not None else ""
    return [
        f"price: {hours * devices * price_per_hour:.2f}{share}: {devices} devices for "
        f"{duration(cost.wall_s)} at {price_per_hour:g} an hour, idle ones included"
    ]


def count(tokens: float) -> str:
    """Tokens for people: 7.3G."""
    return size(tokens).removesuffix("B").replace(" ", "")
