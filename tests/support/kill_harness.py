"""Ends processes where it hurts: at a chosen call, at a chosen time, one rank of several.

Children are forked from the test process, which has imported torch already: tens of milliseconds
instead of seconds. A child never returns into the test.
"""

import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CALLS = ("fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir")


@dataclass
class Child:
    """A forked process; `log` has what it said."""

    pid: int
    log: Path

    def wait(self, timeout_s: float = 300) -> int:
        """Its exit status, or minus the signal that ended it; a child that hangs is an error."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        raise TimeoutError(f"child still running after {timeout_s} s:\n{self.log.read_text()}")

    def until(self, condition: Callable[[], Any], timeout_s: float = 300) -> None:
        """Let it run until `condition` holds; an error if it ends before, or never gets there."""
        deadline = time.monotonic() + timeout_s
        while not condition():
            ended = os.waitpid(self.pid, os.WNOHANG)[0] != 0
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"not so before the child's end:\n{self.log.read_text()}")
            time.sleep(0.002)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)


def fork(function: Callable[[], Any], log: Path) -> Child:
    """Run `function` in a forked child; it exits 0, or 1 with a traceback in `log`."""
    pid = os.fork()
    if pid:
        return Child(pid, log)
    status = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM):
            signal.signal(number, signal.SIG_DFL)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
        result = function()
        status = result if isinstance(result, int) else 0
    except BaseException:
        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(status)
    raise AssertionError("unreachable")


def fork_ranks(function: Callable[[], Any], n: int, folder: Path) -> list[Child]:
    """`n` children with the environment that torchrun gives its ranks."""
    port = free_port()

    def start(rank: int) -> Callable[[], Any]:
        def body() -> Any:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(n),
                LOCAL_WORLD_SIZE=str(n),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            return function()

        return body

    return [fork(start(rank), folder / f"rank{rank}.log") for rank in range(n)]


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def with_environment(wanted: Mapping[str, str | None], command: str = "") -> list[int]:
    """Processes with these variables (None: of any value) and, in their command line, a word."""

    def matches(pid: int) -> bool:
        pairs = [pair.partition("=") for pair in _proc(pid, "environ").split("\0")]
        found = {name: value for name, _, value in pairs}
        same = (k in found and v in (None, found[k]) for k, v in wanted.items())
        return all(same) and command in _proc(pid, "cmdline")

    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    return [pid for pid in pids if pid != os.getpid() and matches(pid)]


def _proc(pid: int, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError:  # it ended
        return ""


@contextmanager
def counting_calls() -> Iterator[list[str]]:
    """The names of the calls in CALLS that the body makes, in order."""
    made: list[str] = []
    originals = {name: getattr(os, name) for name in CALLS}

    def counted(name: str) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            made.append(name)
            return originals[name](*arguments, **options)

        return call

    for name in CALLS:
        setattr(os, name, counted(name))
    try:
        yield made
    finally:
        for name, original in originals.items():
            setattr(os, name, original)


def die_at_call(index: int, after: bool) -> None:
    """Have this process killed just before, or just after, its `index`-th call of CALLS."""
    made = 0
    for name in CALLS:
        original = getattr(os, name)

        def call(*arguments: Any, original: Any = original, **options: Any) -> Any:
            nonlocal made
            here, made = made == index, made + 1
            if here and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = original(*arguments, **options)
            if here:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(os, name, call)
