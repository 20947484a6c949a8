"""What a long computation is at, in one line of a terminal that the next takes the place of.

Rooms say it to their logger, as INFO; where standard error is no terminal it goes nowhere.
"""

import logging
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from common.numbers import duration
from common.text import shown


@contextmanager
def shown_progress(command: str) -> Iterator[None]:
    """Show what is logged under `scaling` meanwhile, and leave the line empty."""
    if not sys.stderr.isatty():
        yield
        return
    handler, logger = _Line(command), logging.getLogger("scaling")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
        handler.write("")


class Countdown:
    """Tells a logger how many of `total` are done, how fast, and how long the rest takes."""

    def __init__(self, logger: logging.Logger, what: str, total: int) -> None:
        self._logger, self._what, self._total = logger, what, total
        self._start_s = time.monotonic()

    def done(self, count: int) -> None:
        """So many are done; the last word is left to what comes next."""
        if count >= self._total:
            return
        rate = count / max(time.monotonic() - self._start_s, 1e-9)
        left = duration((self._total - count) / rate)
        words = f"{self._what}: {count:,} of {self._total:,}, {rate:,.0f}/s, {left} left"
        self._logger.info("%s", words)


class _Line(logging.Handler):
    def __init__(self, command: str) -> None:
        super().__init__()
        self._command = command

    def emit(self, record: logging.LogRecord) -> None:
        self.write(f"{self._command}: {shown(record.getMessage())}")

    def write(self, text: str) -> None:
        """Put `text` in place of the line; the last column stays free, where terminals wrap."""
        width = shutil.get_terminal_size().columns - 1
        print(f"\r\x1b[2K{text[:width]}", end="", file=sys.stderr, flush=True)
