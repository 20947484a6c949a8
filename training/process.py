"""This process on its machine: what it may use of it, what signals do to it, and its last moment.

Asked to stop, it does so at once while there is nothing to lose, else after the step in progress.
Torch-free.
"""

import ctypes
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from configs.errors import StopRequested

_HANGUP = signal.SIGHUP  # the terminal was closed; ignored under nohup, which is then heeded
_SIGNALS = (signal.SIGTERM, signal.SIGINT, _HANGUP)
Handler = Callable[[int, FrameType | None], None]


def usable_cores() -> int:
    """Cores by affinity, by a job's share of a Slurm node, and by the quota of a container.

    (Slurm binds a job to its cores only where the cluster is set up so.)
    """
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    with suppress(KeyError, ValueError):
        cores = max(1, min(cores, int(os.environ["SLURM_CPUS_ON_NODE"])))
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no cgroups, or "max"
        return cores


def usable_memory() -> int:
    """Bytes that this process may fill: the machine's, within the limit of a container."""
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(there, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no cgroups, or "max"
        return there


def end_with_parent(number: int, parent: int | None = None) -> None:
    """Have the kernel send this process a signal when its parent ends in whatever way (Linux).

    Exits at once if `parent`, the process id where it is known, has ended already. Without it the
    ranks of a killed launcher train on to the end.
    """
    parent = os.getppid() if parent is None else parent
    if sys.platform == "linux":
        PR_SET_PDEATHSIG = 1
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the request was made
        os._exit(1)


@contextmanager
def stop_at_once() -> Iterator[None]:
    """SIGTERM, SIGHUP and Ctrl-C raise StopRequested in the body: for work whole or not there."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise StopRequested(f"by {signal.Signals(number).name}, outside of any step")

    with _handling(handle):
        yield


@contextmanager
def stop_flag() -> Iterator[Callable[[], bool]]:
    """Whether SIGTERM, SIGHUP or Ctrl-C came since the body began; a second exits at once.

    Under torchrun the second is torchrun's own copy of the first; it kills after its grace.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if received and "TORCHELASTIC_RUN_ID" not in os.environ:
            os._exit(128 + number)
        received.append(number)

    with _handling(handle):
        yield lambda: bool(received)


def _ignores(number: int) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def _handling(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may say what signals do
        return
    heard = [number for number in _SIGNALS if number != _HANGUP or not _ignores(number)]
    before = {number: signal.signal(number, handler) for number in heard}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, signal.SIG_DFL if earlier is None else earlier)
