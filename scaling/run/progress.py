"""What a person sees while a sweep runs: one line a trial, and on a terminal a live last line.

Nothing here starts a thread: the worker forks, and a fork copies the locks of threads but not them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.live import Live
from rich.text import Text

from scaling.plan.cost import makespan_s
from scaling.plan.grid import Trial
from scaling.plan.table import duration
from scaling.run.slots import Slot
from scaling.run.store import StoredPlan, TrialState
from training.attempt import Attempt
from training.record import RunRecord

_REFRESH_S = 0.5


@dataclass(frozen=True)
class Running:
    """A trial in a slot, since `started_s` of the monotonic clock."""

    trial: Trial
    attempt: Attempt
    slot: Slot
    started_s: float


class Display(Protocol):
    """Who is told how the work goes; called from the worker's loop, so it must be quick."""

    def ended(
        self, trial: Trial, record: RunRecord | None, elapsed_s: float | None, note: str
    ) -> None:
        """A trial ended: with its record, or with a note why it will be tried again.

        `elapsed_s` is the time since it was started here; None: another worker trained it.
        """

    def tick(self, running: Sequence[Running], waiting: Sequence[Trial], elsewhere: int) -> None:
        """Some tens of milliseconds went by."""


class Progress:
    """Counts trials from what the files said at the start, and estimates what is left.

    The estimate is the plan's own, scaled by how the trials that ended here kept to it.
    """

    def __init__(self, states: Sequence[TrialState], slots: int):
        self._total = len(states)
        self._ended = sum(state.record is not None for state in states)
        self._slots = slots
        self._predicted_s = self._took_s = 0.0
        self._last_refresh_s = 0.0
        self._console = Console(highlight=False, soft_wrap=True)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._left_s: float | None = None

    def __enter__(self) -> "Progress":
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def ended(
        self, trial: Trial, record: RunRecord | None, elapsed_s: float | None, note: str
    ) -> None:
        """One line: which trial, how it ended, its loss or the reason, and how long it took."""
        if record is not None:
            self._ended += 1
            if record.status == "done" and trial.predicted_s and elapsed_s:
                self._predicted_s += trial.predicted_s
                self._took_s += elapsed_s
        text = record.summary if record else note
        if record is not None and record.status == "done":
            text = f"loss {record.loss:.4f}"  # with no more the line fits a terminal
        took = "by another worker" if elapsed_s is None else duration(elapsed_s)
        left = f", about {duration(self._left_s)} left" if self._left_s else ""
        line = f"[{self._ended}/{self._total}] {name(trial)}  {text}  ({took}{left})"
        self._console.print(line, markup=False)

    def tick(self, running: Sequence[Running], waiting: Sequence[Trial], elsewhere: int) -> None:
        """Refresh the estimate, and the live line of a terminal, now and then."""
        now = time.monotonic()
        if now - self._last_refresh_s < _REFRESH_S:
            return
        self._last_refresh_s = now
        self._left_s = self._estimate(running, waiting, now)
        if self._live.is_started:
            left = f"about {duration(self._left_s)} left" if self._left_s else ""
            parts = [f"{self._ended}/{self._total} ended", f"{len(running)} running"]
            parts += [f"{elsewhere} in other hands"] * bool(elsewhere) + [left] * bool(left)
            names = "  ".join(f"{name(r.trial)} {duration(now - r.started_s)}" for r in running)
            self._live.update(Text(f"{', '.join(parts)}: {names}", no_wrap=True), refresh=True)

    def _estimate(
        self, running: Sequence[Running], waiting: Sequence[Trial], now: float
    ) -> float | None:
        """Seconds until the last trial ends here; None where nothing was predicted."""
        scale = self._took_s / self._predicted_s if self._predicted_s else 1.0
        seconds = [scale * (trial.predicted_s or 0.0) for trial in waiting]
        for item in running:
            predicted_s = scale * (item.trial.predicted_s or 0.0)
            seconds.append(max(0.0, predicted_s - (now - item.started_s)))
        return makespan_s(seconds, self._slots) or None


def name(trial: Trial) -> str:
    """A trial in a few words: its budget, shape, seed, and its arm if that is not the grid."""
    model, seed = trial.config.model, trial.config.seed
    text = f"{trial.flops_budget:.2g} FLOP {model.n_layer}x{model.n_embd} seed {seed}"
    return text if trial.arm == "grid" else f"{text} {trial.arm}"


def count_line(counts: dict[str, int]) -> str:
    """planned = done + diverged + oom + failed + running + waiting, in numbers."""
    parts = [f"{count} {state}" for state, count in counts.items() if state != "planned"]
    return f"{counts['planned']} planned = " + " + ".join(parts)


def stale_line(stored: StoredPlan) -> str:
    """How many trials the grid asked for last does not ask for, and what becomes of them."""
    return (
        f"{len(stored.stale)} stale: of an earlier grid, or added where its valleys were open; "
        "they stay in the plan and in the fit (fit.where.stale=0 leaves them out)"
    )
