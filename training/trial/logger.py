"""What a run tells: metrics.jsonl, log.txt, and the terminal; on rank 0 only."""

import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from training.trial.attempt import Attempt
from training.trial.metrics import MetricsLog, Row

_LINE_EVERY_S = 5.0


class MetricsLogger:
    """A bar on a terminal, plain lines elsewhere, nothing with `quiet`; the files always.

    On ranks other than 0 every method does nothing.
    """

    def __init__(self, attempt: Attempt, steps: int, is_main: bool, quiet: bool = False) -> None:
        self._steps, self._is_main = steps, is_main
        self._quiet = quiet or not is_main
        self._last_line_s = 0.0
        self._has_lost_rows = False
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        if is_main:
            self._metrics = MetricsLog(attempt.folder)
            self._log = (attempt.folder / "log.txt").open("a", encoding="utf-8")

    def __enter__(self) -> "MetricsLogger":
        if not self._quiet and sys.stdout.isatty():
            columns = TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn()
            self._bar = Progress(*columns, console=Console())
            self._task = self._bar.add_task("", total=self._steps)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._is_main:
            self._metrics.close()
            self._log.close()

    def note(self, text: str) -> None:
        """Say something once."""
        if not self._is_main:
            return
        with suppress(OSError):  # a full disk costs the log, not the run
            self._log.write(f"{utc_now()} {text}\n")
            self._log.flush()
        try:
            if self._bar is not None:
                self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)
            elif not self._quiet:
                print(text, flush=True)
        except OSError:  # a terminal that was closed, a pipe whose reader left: the run goes on
            self._quiet = True

    def history(self, row: Row) -> None:
        """Log one row of what another run did before this one began, silently."""
        if self._is_main:
            self._metrics.write(row)

    def row(self, row: Row) -> None:
        """Log one row of metrics, and show it if the last was shown long enough ago."""
        if not self._is_main:
            return
        step = row["step"]
        if not self._metrics.write(row) and not self._has_lost_rows:
            self._has_lost_rows = True
            self.note(f"the disk refuses rows of metrics, from step {step} on")
        if self._bar is not None:
            assert self._task is not None
            rate = f"{row['tokens_per_s']:,.0f} tokens/s"
            text = f"step {step}/{self._steps}  loss {row['loss']:.3f}  {rate}"
            self._bar.update(self._task, completed=step, description=text)
        now = time.monotonic()
        if step == self._steps or "val_loss" in row or now - self._last_line_s > _LINE_EVERY_S:
            self._last_line_s = now
            self.note(_line(row, self._steps))


def utc_now() -> str:
    """The time, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _line(row: dict[str, Any], steps: int) -> str:
    held_out = f"  held-out {row['val_loss']:.4f}" if "val_loss" in row else ""
    mfu = f"  MFU {row['mfu']:.1%}" if row.get("mfu") else ""
    return (
        f"step {row['step']}/{steps}  loss {row['loss']:.4f}{held_out}  "
        f"lr {row['lr']:.2e}  norm {row['grad_norm']:.2f}  {row['tokens_per_s']:,.0f} tokens/s{mfu}"
    )
