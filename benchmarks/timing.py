"""Clocks, spreads, fresh processes and arguments, as every benchmark here takes them."""

import argparse
import itertools
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar

from common.errors import BadInput
from configs.suggest import one_of

ROOT = Path(__file__).resolve().parent.parent
T = TypeVar("T")


def clocked(call: Callable[[], T]) -> tuple[T, float]:
    """What a call returns, and the seconds it took."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def seconds(call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """The seconds that a call took."""
    start = clock()
    call()
    return clock() - start


def rounds(seconds: float) -> Iterator[int]:
    """0, 1, 2 and on for so long, five times at least."""
    end = time.perf_counter() + seconds
    return itertools.takewhile(lambda i: i < 5 or time.perf_counter() < end, itertools.count())


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the clock and of the processor, and its peak in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s, {self.cpu_s:.1f} s of CPU, {self.peak_mb:.0f} MB at the most"


def cost_of(*words: str, allowed: Sequence[int] = (0,)) -> Cost:
    """The cost of Python with these words, in a fresh process; RuntimeError for another end."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in allowed:
        raise RuntimeError(f"{' '.join(words)} ended with status {process.returncode}")
    return Cost(wall_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


class Parser(argparse.ArgumentParser):
    """A parser whose refusal is the line that every command here ends in."""

    def error(self, message: str) -> NoReturn:
        """Raises BadInput, with the choice that was meant."""
        if found := re.search(r"invalid choice: '(.*)' \(choose from (.*)\)", message):
            choices = [name.strip("' ") for name in found[2].split(",")]
            message = f"found {found[1]!r}, expected {one_of(found[1], choices)}"
        elif found := re.match(r"unrecognized arguments: (--\S+)", message):
            options = [name for action in self._actions for name in action.option_strings]
            message = f"found {found[1]}, expected {one_of(found[1], options)}"
        raise BadInput(f"command line: {message}; --help lists the options")


def parser(name: str, text: str | None, epilog: str | None = None) -> Parser:
    """The parser of `python -m benchmarks.name`; `text` and `epilog` are printed as they stand."""
    return Parser(
        prog=f"python -m benchmarks.{name}",
        description=text,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
