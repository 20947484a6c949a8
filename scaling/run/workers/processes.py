"""Processes that execute one trial at a time: a forked child, or servers on one device.

Each is given a task, is polled, and reports how the task ended; it never blocks its owner and dies
with it. This module knows no trainer: what a child does is an argument.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from training.device.process import end_with_parent

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
ROOT = Path(__file__).resolve().parent.parent.parent

# How a task can end; any other status, or a negative one (a signal), is a crash too.
CRASHED = 1
RECORDED = 0  # the record is written and the process is fit for more
FAILED = 3  # the record is written, and the process may be spoilt
DISK_FULL = 4  # no record; with room it can be tried again
DEVICE_FAULT = 5  # no record: a crash that is the device's fault
STOPPED = 75  # on request, resumable


@dataclass(frozen=True)
class Task:
    """One trial to execute: its folder, the attempt that was claimed for it, and its config.

    Trials of equal `shape` compile to the same code. `group` and `tags` are for whoever tracks it.
    `data` is the folder of the prepared data, if its owner has looked at them, `start` the
    checkpoint of its trunk.
    """

    folder: str
    attempt: int
    config: dict[str, Any]
    shape: str
    group: str | None = None
    tags: tuple[str, ...] = ()
    data: str | None = None
    start: str | None = None


class TrialProcess(Protocol):
    """Executes one trial at a time; with `compiles`, trials of one shape belong together.

    `place` names the devices it uses, which other processes may share; empty for cores.
    """

    compiles: bool
    place: str

    def start(self, task: Task) -> None:
        """Begin a task; none may be running."""

    def prepare(self) -> None:
        """Make ready, beside what runs, for a task of another shape."""

    def poll(self) -> int | None:
        """How the task ended (see the constants above); None while it runs."""

    def signal(self, number: int) -> None:
        """Pass a signal to whatever runs."""

    def close(self) -> None:
        """Kill what runs and leave no process behind."""


class ForkedProcess:
    """A child forked for each task from this process, which must have one thread and no CUDA.

    torch is imported once, here, so that a trial starts in milliseconds. `run` is called in the
    child and returns its exit status.
    """

    compiles = False
    place = ""

    def __init__(self, run: Callable[[Task], int]):
        self._run = run
        self._pid = 0

    def start(self, task: Task) -> None:
        """Fork; signals are held back until the child has its own handlers."""
        sys.stdout.flush()
        sys.stderr.flush()
        owner = os.getpid()
        held = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
        try:
            self._pid = os.fork()
            if self._pid == 0:
                self._be_the_child(owner, held, task)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def prepare(self) -> None:
        """Nothing: a fork has all that its parent has."""

    def poll(self) -> int | None:
        """Reap the child if it has ended."""
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return None
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def signal(self, number: int) -> None:
        """Signal the child; it is not reaped yet, so the process id is its own."""
        if self._pid:
            os.kill(self._pid, number)

    def close(self) -> None:
        """Kill and reap the child."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._pid = 0

    def _be_the_child(self, owner: int, held: set, task: Task) -> None:
        status = CRASHED
        try:
            end_with_parent(signal.SIGKILL, owner)
            for number in STOP_SIGNALS:
                signal.signal(number, signal.SIG_DFL)
            # Ctrl-C reaches the foreground group; the owner alone decides what it means.
            os.setpgid(0, 0)
            _name_rank(os.environ, 0, 1)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            status = self._run(task)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)  # nothing inherited is flushed, closed or run at exit


class ServingProcesses:
    """Processes on the same devices, one a rank, that serve tasks in turn by lines of JSON.

    They live for the trials of one shape, which is then compiled once; another shape gets others
    (torch.compile gives up after a few in one process), and so does the task after any failure.
    Those others may be made ready while a task runs: they import torch, and wait without a device's
    memory, of which the task may need all.

    `command` is what a rank runs (see `serve`); it gets RANK and its relatives, and `environment`,
    which names its devices.
    """

    compiles = True

    def __init__(
        self,
        command: Sequence[str],
        ranks: int,
        environment: Mapping[str, str],
        place: str = "",
    ):
        self.place = place
        self._command = list(command)
        self._ranks = ranks
        self._environment = dict(environment)
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ready: list[subprocess.Popen[bytes]] = []  # for another shape
        self._replies: list[bytes] = []
        self._shape = ""

    def start(self, task: Task) -> None:
        """Hand the task to every rank, with a port that is free now for their rendezvous."""
        if task.shape != self._shape or any(p.poll() is not None for p in self._processes):
            _end(self._processes)
        self._shape = task.shape
        if not self._processes:
            if any(process.poll() is not None for process in self._ready):
                _end(self._ready)
            self._processes, self._ready = self._ready, []
        if not self._processes:
            self._spawn(self._processes)
        self._replies = [b""] * self._ranks
        line = json.dumps(asdict(task) | {"port": _free_port()}).encode() + b"\n"
        for process in self._processes:
            assert process.stdin is not None
            with suppress(BrokenPipeError):  # it died meanwhile, which poll will find
                process.stdin.write(line)

    def prepare(self) -> None:
        """Begin processes for another shape, if they have not begun."""
        if self._ready:
            return
        try:
            self._spawn(self._ready)
        except OSError:  # no room for them here; the next task has its own, in its time
            _end(self._ready)

    def poll(self) -> int | None:
        """The first failure or crash of a rank, else how all ended."""
        statuses = []
        for rank, process in enumerate(self._processes):
            assert process.stdout is not None
            exit_status = process.poll()  # before reading, so that no last reply is missed
            self._replies[rank] += process.stdout.read() or b""
            if self._replies[rank].endswith(b"\n"):
                statuses.append(int(self._replies[rank]))
            elif exit_status is not None:
                statuses.append(exit_status or CRASHED)
        if failures := [s for s in statuses if s not in (RECORDED, STOPPED)]:
            _end(self._processes)  # the other ranks wait for one that is gone
            causes = (status for status in (DISK_FULL, DEVICE_FAULT) if status in failures)
            return next(causes, failures[0])
        return max(statuses) if len(statuses) == self._ranks else None

    def signal(self, number: int) -> None:
        """Signal every rank that lives; what is ready for another task has none to save."""
        _end(self._ready)
        for process in self._processes:
            process.send_signal(number)

    def close(self) -> None:
        """Kill and reap every rank, and those that wait."""
        _end(self._processes)
        _end(self._ready)

    def _spawn(self, processes: list[subprocess.Popen[bytes]]) -> None:
        for rank in range(self._ranks):
            processes.append(self._spawn_rank(rank))  # at once, so that close finds it

    def _spawn_rank(self, rank: int) -> subprocess.Popen[bytes]:
        environment = os.environ | self._environment
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
        _name_rank(environment, rank, self._ranks)
        process = subprocess.Popen(
            [*self._command, str(os.getpid())],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        return process


def _end(processes: list[subprocess.Popen[bytes]]) -> None:
    """Kill and reap them all."""
    for process in processes:
        process.kill()
    for process in processes:
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
    processes.clear()


def serve(
    run: Callable[[Task], int], owner: int, make_ready: Callable[[], None] = lambda: None
) -> None:
    """A rank's side of ServingProcesses: run the tasks read from standard input until its end.

    `make_ready` comes before the first, which may not be there yet.
    """
    end_with_parent(signal.SIGKILL, owner)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what libraries print must not look like a reply
    make_ready()
    for line in sys.stdin.buffer:
        values = json.loads(line)
        os.environ["MASTER_PORT"] = str(values.pop("port"))
        replies.write(f"{run(Task(**values))}\n".encode())


def _name_rank(environment: MutableMapping[str, str], rank: int, world_size: int) -> None:
    """Set what torchrun would set for a trial's rank, and forget what it set for the worker."""
    for name in [name for name in environment if name.startswith("TORCHELASTIC_")]:
        del environment[name]
    environment.update(dict.fromkeys(("RANK", "LOCAL_RANK"), str(rank)))
    environment.update(dict.fromkeys(("WORLD_SIZE", "LOCAL_WORLD_SIZE"), str(world_size)))
    environment["MASTER_ADDR"] = "127.0.0.1"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
