"""How far a preparation has come: a bar in a terminal, a line now and then elsewhere."""

import sys
import time
from functools import cached_property
from typing import TYPE_CHECKING

from common.numbers import duration
from data.prepare.documents import Document

if TYPE_CHECKING:  # rich is imported where a bar is drawn
    import rich.progress

TERMINAL_S, LOG_S = 0.5, 30.0


def note(text: str) -> None:
    """Say on standard error what begins or has ended."""
    print(f"data: {text}", file=sys.stderr, flush=True)


class Progress:
    """Says on standard error how much text is prepared, how fast, and when it will be done.

    `total` is the size of the files to read and `done` how much of them an earlier process read.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total, self._first = total, done
        self._terminal = sys.stderr.isatty()
        self._start = self._said = time.monotonic()
        self._text = 0

    def update(self, document: Document) -> None:
        """Count a document that is written."""
        self._text += len(document.utf8)
        now = time.monotonic()
        if now - self._said < (TERMINAL_S if self._terminal else LOG_S):
            return
        self._said = now
        elapsed_s, done, text_mb = now - self._start, document.input_bytes, self._text / 1e6
        text = f"{text_mb:,.0f} MB of text at {text_mb / elapsed_s:.1f} MB/s"
        if self._terminal:
            [task] = self._bar.task_ids
            self._bar.update(task, completed=done, description=f"data: {text}", refresh=True)
            return
        if done > self._first and self._total:
            left_s = elapsed_s * (self._total - done) / (done - self._first)
            text += f", {done / self._total:.0%} read, {duration(left_s)} left"
        note(text)

    def end(self) -> None:
        """Leave the terminal's line."""
        if "_bar" in vars(self):  # little text is prepared silently
            self._bar.stop()

    @cached_property
    def _bar(self) -> "rich.progress.Progress":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

        columns = "{task.description}", BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
        # Without a thread that draws: this process may fork.
        bar = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
        bar.add_task("data:", total=self._total or None, completed=self._first)
        bar.start()
        bar.console.show_cursor()  # which rich hides: Ctrl-C ends this process at once
        return bar
