"""Reads damaged files and counts what came of it."""

import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings

from common.errors import BadInput
from tests.support.fuzzing.damage import Damage, damages, restore

LIMIT_S, HANG_S = 1.0, 30  # of its processor's time, and by the clock of a busy machine
MEMORY = 8 << 30


def never(before: Any, after: Any, content: bytes | None) -> bool:
    """No other answer is right: the file carries a digest."""
    return False


def always(before: Any, after: Any, content: bytes | None) -> bool:
    """Another content is another answer: there is no digest that could tell."""
    return True


@dataclass(frozen=True)
class Reader:
    """A file, what reads it, and whether an answer other than the undamaged file's is right.

    name      of the file and its reader
    path      the file that is damaged
    read      the answer, anything with a `repr`; BadInput for a file that cannot be used
    form      json, lines (of JSON), table (CSV) or bytes
    may_be    whether `after` is a right answer to the content (None: to what stands there)
    """

    name: str
    path: Path
    read: Callable[[], Any]
    form: str = "json"
    may_be: Callable[[Any, Any, bytes | None], bool] = always


@dataclass
class Tally:
    """How many inputs ended how, and what was wrong."""

    inputs: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def fault(self, kind: str, what: str) -> None:
        """Count a fault and keep what shows it."""
        self.counts[kind] += 1
        self.faults.append(f"{kind}: {what}")


def fuzz(reader: Reader, inputs: int, number: int = 0) -> Tally:
    """Read `inputs` damaged files; `number` seeds them."""
    content, tally = reader.path.read_bytes(), Tally()
    before = reader.read()

    @seed(number)
    @settings(
        max_examples=inputs,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(damages(content, reader.form))
    def one(damage: Damage) -> None:
        damage.do(reader.path)
        try:
            _look(reader, before, damage, tally)
        finally:
            restore(reader.path, content)

    with _bounded():
        one()
    assert repr(reader.read()) == repr(before), "the undamaged file is not what it was"
    return tally


def _look(reader: Reader, before: Any, damage: Damage, tally: Tally) -> None:
    said, start = f"{reader.name}: {damage.what}", time.process_time()
    tally.inputs += 1
    kind, found = _answer(reader)
    if kind == "changed":
        if repr(found) == repr(before):
            kind = "same"
        elif not reader.may_be(before, found, damage.content):
            kind = "silent"
    if kind in ("same", "changed", "refused"):
        tally.counts[kind] += 1
    else:
        tally.fault(kind, f"{said}: {found!s:.2000}")
    if (spent := time.process_time() - start) > LIMIT_S and kind != "hangs":
        tally.fault("slow", f"{said}: {spent:.1f} s")


def _answer(reader: Reader) -> tuple[str, Any]:
    """What the reader said, or the line or traceback in its place."""
    try:
        signal.alarm(HANG_S)
        try:
            return "changed", reader.read()
        finally:
            signal.alarm(0)
    except BadInput as error:
        return "refused", str(error)
    except Hang:
        return "hangs", f"not back after {HANG_S} s"
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException:  # a panic of a library in Rust is no Exception
        return "traceback", traceback.format_exc(limit=-3)


class Hang(BaseException):
    """A reader that does not come back."""


@contextmanager
def _bounded() -> Iterator[None]:
    """A reader that waits, or takes all of the memory, is a fault and not the end of the test."""

    def ring(*_: object) -> None:
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_in_use() + MEMORY, hard))
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _in_use() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()
