"""Seconds of a trial by a stated throughput: a GPU by its name, or TFLOP/s. Torch-free."""

from dataclasses import dataclass

from common.errors import BadInput, require
from model.flops import flops_per_token_exact
from training.config import TrainConfig
from training.device.data_sheets import GPUS, peak_flops

# MFU of GPT-2 small on one H200 is 0.40 and a little more; models of under some 50M parameters
# reach 5 to 20% of the peak, since their matrices are small and their steps are launches. The
# proportion to the width is a rule of thumb between the two.
FULL_MFU, FULL_WIDTH, MFU_ERROR = 0.40, 768, 0.5


@dataclass(frozen=True)
class StatedMachine:
    """A machine that a plan of train.py is counted for; sweep.py's launcher has these fields too.

    device          its GPU, as H200, in any case: times are by rule, not measured
    tflops          what one device does in training, in 1e12 FLOP/s; counts before the name
    devices         ranks that torchrun --standalone --nproc_per_node=8 starts; null: one
    price_per_hour  of one device, in the user's currency
    """

    device: str | None = None
    tflops: float | None = None
    devices: int | None = None
    price_per_hour: float = 0.0

    def __post_init__(self) -> None:
        for name in ("tflops", "devices"):
            value = getattr(self, name)
            require(value is None or value > 0, f"launcher.{name}", value, "more than 0")
        price = self.price_per_hour
        require(price >= 0, "launcher.price_per_hour", price, ">= 0")


@dataclass(frozen=True)
class StatedThroughput:
    """Seconds by a stated throughput, of a machine that is not here.

    basis       what was stated, for people
    tflops      10^12 FLOP/s of all devices of a trial, by the exact count, at its fullest
    full_width  n_embd from which on that is reached, and below it in proportion; 1: at any
    most        share of `tflops` that a trial may take: a part, where trials share a device
    error       relative standard deviation of a prediction; None: as good as what was stated

    Starting and compiling are not counted in it (training/device/compilation.py).
    """

    basis: str
    tflops: float
    full_width: int
    most: float
    error: float | None

    def trial_s(self, config: TrainConfig) -> float:
        """Seconds of a trial, its final evaluation (a third of training, by token) included."""
        return self._seconds(config, self.most)

    def alone_s(self, config: TrainConfig) -> float:
        """The same for a trial that shares its device with none."""
        return self._seconds(config, 1.0)

    def _seconds(self, config: TrainConfig, most: float) -> float:
        tokens = config.schedule.tokens_planned + config.evaluation.tokens / 3
        share = min(most, config.model.n_embd / self.full_width)
        return tokens * flops_per_token_exact(config.model) / (1e12 * self.tflops * share)

    @property
    def error_text(self) -> str:
        """The error in percent, to stand behind a number; empty where it is not known."""
        return f" +-{100 * self.error:.0f}%" if self.error is not None else ""


def stated_throughput(
    device: str | None, tflops: float | None, precision: str, ranks: int, packed: int
) -> StatedThroughput | None:
    """Throughput of a trial on `ranks` devices, or on one that `packed` share; None: unstated.

    `tflops` counts before the name of a device. Raises BadInput for a device of unknown peak.
    """
    if tflops is not None:
        basis = f"{tflops:g} TFLOP/s a device, as stated"
        return StatedThroughput(basis, tflops * ranks, 1, 1 / packed, None)
    if device is None:
        return None
    peak = peak_flops(device, precision)
    if peak is None:
        raise BadInput(
            f"launcher.device: found {device!r}, whose peak is not known here; expected one of "
            f"{', '.join(gpu.name for gpu in GPUS)}; for another say launcher.tflops, what one "
            "device does in training in 1e12 FLOP/s"
        )
    basis = (
        f"{device} at {FULL_MFU:.0%} of its {precision} peak from width {FULL_WIDTH} on, less below"
    )
    tflops = FULL_MFU * peak * ranks / 1e12
    return StatedThroughput(basis, tflops, FULL_WIDTH, 1 / packed, MFU_ERROR)
