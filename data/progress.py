"""How far a preparation has come: one line that a terminal renews, a new one elsewhere."""

import sys
import time

from data.sources import Document

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
        self._shown = False

    def update(self, document: Document) -> None:
        """Count a document that is written."""
        self._text += len(document.utf8)
        now = time.monotonic()
        if now - self._said < (TERMINAL_S if self._terminal else LOG_S):
            return
        self._said, self._shown = now, True
        line = self._line(now - self._start, document.input_bytes)
        sys.stderr.write(f"\r{line:<70}" if self._terminal else f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the terminal's line."""
        if self._shown and self._terminal:
            sys.stderr.write("\n")

    def _line(self, elapsed_s: float, done: int) -> str:
        text_mb = self._text / 1e6
        line = f"data: {text_mb:,.0f} MB of text at {text_mb / elapsed_s:.1f} MB/s"
        if done > self._first and self._total:
            left_s = elapsed_s * (self._total - done) / (done - self._first)
            line += f", {done / self._total:.0%} read, {_duration(left_s)} left"
        return line


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes}:{seconds:02d} min"
