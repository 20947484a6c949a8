"""What a plan's trials wait for compilation: once a shape, in a process of its own."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.numbers import duration
from common.text import plural
from scaling.plan.memory import Device
from scaling.plan.plan import Plan
from training.device.compilation import COMPILE_S, PAYS_FROM_S, START_S, compiles, graph_key
from training.device.stated import StatedThroughput


@dataclass(frozen=True)
class Compilations:
    """Seconds that trials wait before their first step, by id: of each shape the first trial.

    not_compiled  trials whose saving would be less than that
    """

    waits: dict[str, float] = field(default_factory=dict)
    not_compiled: int = 0

    def __bool__(self) -> bool:
        return bool(self.waits or self.not_compiled)

    @property
    def line(self) -> str:
        """How much is counted for it, in words."""
        texts = []
        if self.waits:
            shapes = f"{plural(len(self.waits), 'shape')} of {START_S + COMPILE_S:g} s (estimated)"
            texts.append(f"{shapes}: {duration(sum(self.waits.values()))}")
        if self.not_compiled:
            few = f"{plural(self.not_compiled, 'trial')} of under {PAYS_FROM_S:.0f} s"
            texts.append(f"{few} not compiled")
        return f"compilation: {'; '.join(texts)}"


def compilations(
    plans: Sequence[Plan], throughput: StatedThroughput | None, device: Device
) -> Compilations:
    """Those of the plans' trials on GPUs of a stated throughput; none where that is not stated.

    Each counts once, though several processes may compile a shape: they share a cache on disk.
    """
    if throughput is None or device.kind != "cuda":
        return Compilations()
    waits: dict[str, float] = {}
    known: set[str] = set()
    plain: set[str] = set()
    for trial in (trial for plan in plans for trial in plan.trials):
        if not compiles(trial.config, throughput):
            plain.add(trial.id)
            continue
        shape = graph_key(trial.config, device.kind, device.usable_bytes, device.ranks)
        if shape not in known:
            known.add(shape)
            waits[trial.id] = START_S + COMPILE_S
    return Compilations(waits, len(plain))
