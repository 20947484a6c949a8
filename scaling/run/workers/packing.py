"""How many trials share one GPU: a stated number, or by the size of each trial's model.

A small model leaves a GPU idle while the next kernel is being launched. A compiled training step
launches some 43 kernels a layer and 60 more, each of which takes a core about 10 us; the GPU itself
needs about 4.2e-14 s a parameter and token on an H200. So a step of 16,384 tokens is bound by its
launches below some 5M parameters, and there trials fill each other's gaps. The launches are counted
from generated code, the seconds estimated: neither was measured on a GPU. Published for three
processes on one: +3% when they take turns, +116% under MPS; so only under MPS.
"""

import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import BadInput
from common.files import read_json, to_json, write_atomic
from model.flops import params_total
from scaling.plan.plan import Plan
from scaling.run.config import MOST_BY_SIZE, LauncherConfig
from training.config import RuntimeConfig, TrainConfig
from training.trial.attempt import Attempt

NAME = "sharing.json"  # in an attempt's folder: {"trials_per_device": 2, "mps": true}
LAUNCHES_A_LAYER, LAUNCHES_A_STEP, LAUNCH_S = 43, 60, 10e-6
WORK_S = 4.2e-14  # of the GPU, a parameter and token, forward and backward


@dataclass(frozen=True)
class Packing:
    """Trials at once on one device: `most`, or fewer of larger models where it goes `by_size`.

    is_mps  whether they share it by MPS, or take turns
    """

    most: int
    by_size: bool
    is_mps: bool

    def at_once(self, config: TrainConfig) -> int:
        """Trials like this one that one device is given at a time."""
        return min(self.most, trials_by_size(config)) if self.by_size else self.most

    def share(self, attempt: Attempt, config: TrainConfig, runtime: RuntimeConfig) -> RuntimeConfig:
        """Note in the attempt how its trial shares a device; its runtime, with its part of it.

        That is an equal part of the memory: what one takes beyond it, another would lack.
        """
        count = self.at_once(config)
        note = {"trials_per_device": count, "mps": self.is_mps}
        write_atomic(attempt.folder / NAME, to_json(note))
        return replace(runtime, memory_share=runtime.memory_share / count)


def room_left(packing: Packing | None, there: Iterable[TrainConfig]) -> float:
    """What is left of a device that trials share, each of them the less the smaller it is."""
    if packing is None:
        return 1.0
    return 1 - sum(1 / packing.at_once(config) for config in there)


def packing_lines(launcher: LauncherConfig, plan: Plan) -> list[str]:
    """What a plan does not count: the gain of trials that share a GPU by their size."""
    if launcher.trials_per_device != "auto":
        return []
    shared = sum(trials_by_size(trial.config) > 1 for trial in plan.trials)
    return [
        f"packing: {shared} of {len(plan.trials)} trials share a GPU by their size, where there is "
        "MPS; what that gains is not measured, and not counted"
    ]


@dataclass(frozen=True)
class Shared:
    """What an attempt notes of its device: trials at once on it, together by MPS or in turn."""

    trials: int
    is_mps: bool


def read_sharing(attempt: Path) -> Shared | None:
    """How the trial of an attempt's folder shares its device; None where it does not, or did."""
    with suppress(BadInput, OSError, KeyError, TypeError):
        values = read_json(attempt / NAME)
        count = values["trials_per_device"]
        if type(count) is int and count > 1:
            return Shared(count, values["mps"] is True)
    return None


def trials_by_size(config: TrainConfig) -> int:
    """How many trials like this one it takes to keep a GPU busy, at most MOST_BY_SIZE."""
    model = config.model
    launching_s = LAUNCH_S * (LAUNCHES_A_LAYER * model.n_layer + LAUNCHES_A_STEP)
    working_s = WORK_S * params_total(model) * config.schedule.batch_tokens
    return min(MOST_BY_SIZE, math.ceil(launching_s / working_s))
