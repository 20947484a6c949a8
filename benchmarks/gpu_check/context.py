"""What every part of the check knows: the device, the clock, and where its figures go."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from common.files import to_json, write_atomic

NAME = "context.json"
# Until this share of the budget parts prepare side by side; then each is measured alone.
PREPARING = 0.5


@dataclass(frozen=True)
class Context:
    """One check: its folder `work`, its device and its time.

    started  in seconds since the epoch, by which all processes of the check count
    seconds  the budget
    toy      sizes that a CPU takes in a moment, to try the check itself
    peer     a checkout of karpathy/nanoGPT
    """

    work: str
    device: str
    toy: bool
    started: float
    seconds: float
    peer: str | None

    @property
    def on(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.device, 0) if self.device == "cuda" else torch.device("cpu")

    @property
    def is_gpu(self) -> bool:
        """Whether the device is one of CUDA's."""
        return self.device == "cuda"

    @property
    def backend(self) -> str:
        """What compiles: on a CPU the tracing alone is tried, since code for it takes minutes."""
        return "inductor" if self.is_gpu else "eager"

    def left(self, share: float = 1.0) -> float:
        """Seconds until that share of the budget is spent."""
        return self.started + share * self.seconds - time.time()

    def path(self, name: str) -> Path:
        """A file of the check."""
        return Path(self.work) / name

    def save(self) -> None:
        """Leave this for the processes of the parts."""
        write_atomic(self.path(NAME), to_json(asdict(self)))


def read_context(work: str) -> Context:
    """The context of the check in this folder."""
    return Context(**json.loads((Path(work) / NAME).read_text()))


class Findings:
    """The figures of one part by rows, and its lines of the table; saved at each change."""

    def __init__(self, context: Context, part: str) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self._lines: list[str] = []
        self._path = context.path(f"{part}.json")

    def note(self, row: str, **figures: Any) -> None:
        """Add figures to a row."""
        self.rows.setdefault(row, {}).update(figures)
        print(row, figures, flush=True)
        self._save()

    def line(self, text: str) -> None:
        """Add a line to the table."""
        self._lines.append(text)
        print(text, flush=True)
        self._save()

    def _save(self) -> None:
        # Figures that are not finite are found by a check of what may go wrong.
        content = json.dumps({"rows": self.rows, "lines": self._lines}, indent=1, default=str)
        write_atomic(self._path, content)


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def median_seconds(run: Callable[[], object], device: torch.device, rounds: int = 5) -> float:
    """Seconds of a call by the device's own clock, after one that warms up."""
    run()
    times = []
    for _ in range(rounds):
        if device.type == "cuda":
            before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            before.record()
            run()
            after.record()
            after.synchronize()
            times.append(before.elapsed_time(after) / 1e3)
        else:
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
    return statistics.median(times)
