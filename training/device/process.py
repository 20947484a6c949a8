"""This process on its machine: what it may use of it, what signals do to it, and its last moment.

Asked to stop, it does so at once while there is nothing to lose, else after the step in progress.
Torch-free.
"""

import ctypes
import gc
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from common.errors import StopRequested

_HANGUP = signal.SIGHUP  # the terminal was closed; ignored under nohup, which is then heeded
_SIGNALS = (signal.SIGTERM, signal.SIGINT, _HANGUP)
Handler = Callable[[int, FrameType | None], None]


def usable_cores() -> int:
    """Cores by affinity, by a job's share of a Slurm node, and by the quota of a container.

    (Slurm binds a job to its cores only where the cluster is set up so.)
    """
    affinity = getattr(os, "sched_getaffinity", None)
    limits = [len(affinity(0)) if affinity else os.cpu_count() or 1, *_quotas()]
    for name in ("SLURM_CPUS_ON_NODE", "SLURM_CPUS_PER_TASK"):
        with suppress(KeyError, ValueError):
            limits.append(int(os.environ[name]))
    return max(1, min(limits))


def thread_limit() -> int | None:
    """OMP_NUM_THREADS, the most threads that a user or a scheduler wants of a process.

    Not the 1 that torchrun sets by itself where it starts several ranks.
    """
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # of the outermost level
    by_torchrun = "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("LOCAL_WORLD_SIZE") != "1"
    if not text.strip().isdecimal() or int(text) == 0 or (by_torchrun and int(text) == 1):
        return None
    return int(text)


def _quotas() -> Iterator[int]:
    """Whole cores of every quota above this process: a container's, a job's, a user's (cgroups)."""
    root = Path("/sys/fs/cgroup")
    own = {"": "/", "cpu": "/"}  # of version 2 and of version 1's controller
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, names, path = line.split(":", 2) if line.count(":") > 1 else ("", "?", "")
            own.update((name, path) for name in names.split(",") if name in own)
    for controller, path in own.items():
        place = root / controller / path.strip("/")
        for folder in (place, *place.parents):
            with suppress(OSError, ValueError):  # no quota, or "max"
                if controller:
                    text = (folder / "cpu.cfs_quota_us").read_text()
                    text += " " + (folder / "cpu.cfs_period_us").read_text()
                else:
                    text = (folder / "cpu.max").read_text()
                quota, period = map(int, text.split())
                if quota > 0:  # version 1 has -1 for none
                    yield math.ceil(quota / period)
            if folder == root:
                break


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


def signal_name(number: int) -> str:
    """A signal by its name; by its number, where it has none, as most of the real-time ones."""
    with suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


@contextmanager
def stop_at_once() -> Iterator[None]:
    """SIGTERM, SIGHUP and Ctrl-C raise StopRequested in the body: for work whole or not there."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise StopRequested(f"by {signal_name(number)}, outside of any step")

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


@contextmanager
def counted(numbers: Sequence[int]) -> Iterator[list[int]]:
    """The signals of these numbers that came since the body began, which do nothing else."""
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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


@contextmanager
def frozen_collector() -> Iterator[Callable[[], None]]:
    """Gives a function after which the garbage collector passes over all that exists by then.

    A walk over torch's objects takes many times as long as a small model's step. What the caller
    froze stays frozen, and what is frozen here with it, since the collector cannot tell them apart.
    """
    was_frozen = gc.get_freeze_count() > 0

    def freeze() -> None:
        gc.collect()
        gc.freeze()

    try:
        yield freeze
    finally:
        if not was_frozen:
            gc.unfreeze()
