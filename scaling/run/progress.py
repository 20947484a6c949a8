"""The display of a running sweep: one line a trial, and on a terminal a live last line.

Nothing here starts a thread: the worker forks, and a fork copies the locks of threads but not them.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.text import Text

from common.numbers import duration
from common.text import plural
from scaling.plan.cost import makespan_s
from scaling.plan.plan import Trial
from scaling.run.store import PLAN, StoredPlan
from scaling.run.trial_states import TrialState
from scaling.run.workers.processes import TrialProcess
from training.trial.attempt import Attempt
from training.trial.record import NO_DIGEST, RunRecord

_REFRESH_S = 0.5


@dataclass(frozen=True)
class Running:
    """A trial that a process of this worker trains, since `started_s` of the monotonic clock."""

    trial: Trial
    attempt: Attempt
    process: TrialProcess
    started_s: float


@dataclass(frozen=True)
class Ended:
    """A trial that ended: with its record, or with a note why it will be tried again.

    `elapsed_s` is the time since it was started here; None: another worker trained it.
    """

    trial: Trial
    record: RunRecord | None
    elapsed_s: float | None = None
    note: str = ""


class Progress:
    """Counts trials from their states at the start, and estimates the time left; never blocks.

    The estimate is the plan's own, scaled by how the trials that ended here kept to it.
    """

    def __init__(self, states: Sequence[TrialState], parallel: int):
        self._total = len(states)
        self._ended = sum(state.record is not None for state in states)
        self._parallel = parallel
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

    def show(self, ended: Ended) -> None:
        """One line: which trial, how it ended, its loss or the reason, and how long it took."""
        trial, record, elapsed_s = ended.trial, ended.record, ended.elapsed_s
        text = record.summary if record else ended.note
        if record is not None:
            self._ended += 1
            if record.status == "done":
                text = f"loss {record.loss:.4f}"  # with no more the line fits a terminal
                if trial.predicted_s and elapsed_s:
                    self._predicted_s += trial.predicted_s
                    self._took_s += elapsed_s
            text += f"; {ended.note}" * bool(ended.note)
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
            parts += [f"{elsewhere} claimed by other workers"] * bool(elsewhere) + [left] * bool(
                left
            )
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
        return makespan_s(seconds, self._parallel) or None


def name(trial: Trial) -> str:
    """A trial in a few words: its budget, shape, seed, arms, and its part if not the grid."""
    model, seed = trial.config.model, trial.config.seed
    text = f"{trial.flops_budget:.2g} FLOP {model.n_layer}x{model.n_embd} seed {seed}"
    text = " ".join([text, "+".join(name for name, _ in trial.arms)]).rstrip()
    return text if trial.part == "grid" else f"{text} {trial.part}"


def tags_of(trial: Trial) -> tuple[str, ...]:
    """What whoever tracks a trial may group it by."""
    return f"{trial.flops_budget:.3g} FLOP", trial.part, *dict(trial.arms)


def count_line(counts: dict[str, int]) -> str:
    """planned = done + diverged + oom + failed + running + waiting, in numbers."""
    parts = [f"{count} {state}" for state, count in counts.items() if state != "planned"]
    return f"{counts['planned']} planned = " + " + ".join(parts)


def undigested_line(stored: StoredPlan, states: Sequence[TrialState]) -> str | None:
    """Which files of a sweep no digest protects, if there are any."""
    records = sum(s.record is not None and s.record.digest is None for s in states)
    parts = [PLAN] * (stored.digest is None) + [plural(records, "record")] * bool(records)
    return f"warning: {' and '.join(parts)} {NO_DIGEST}" if parts else None


def stale_line(stored: StoredPlan) -> str:
    """How many trials the last grid does not ask for, and what happens to them."""
    return (
        f"{len(stored.stale)} stale: of an earlier grid, or added to its open IsoFLOP curves; they "
        "stay in the plan and in the fit (fit.where.stale=0 leaves them out)"
    )
