"""NVIDIA's MPS, under which several processes use one GPU at once.

Without it they take turns: no two kernels of two processes ever run together (time-slicing). The
daemon needs no root and changes no setting of the GPU. One that the cluster runs is used and left
alone; else the worker starts its own, in a folder of its own, and ends it. See NVIDIA's
Multi-Process Service (docs.nvidia.com/deploy/mps).
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from scaling.run.workers.gpus import Gpu
from training.trial.scratch import scratch_folder

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
DEFAULT = Path("/tmp/nvidia-mps")  # where CUDA looks for a daemon, unless PIPES says otherwise
MOST_CLIENTS = 48  # processes that one GPU's server takes, from Volta on
ANSWER_S = 5.0  # a daemon that hangs says nothing
START_S, SERVER_S = 20.0, 20.0  # of a daemon, and then of its server, which opens every GPU
# A Unix socket's path has 107 bytes; the folder's own name and the daemon's files take some 70.
_LONGEST_PLACE = 36


@dataclass(frozen=True)
class Sharing:
    """How the trials of one GPU use it: together, under MPS, or in turn.

    by           for people: which daemon, or why there is none
    environment  for their processes
    """

    is_mps: bool
    by: str
    environment: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def shared(gpus: Sequence[Gpu]) -> Iterator[Sharing]:
    """MPS on `gpus` for the block, where it can be had.

    What a killed worker of this machine left running is ended first. The own daemon ends with this
    process, in whatever way that ends: a process beside it waits for that.
    """
    if pipes := _daemon_of_others():
        yield Sharing(True, f"the daemon in {pipes}")
        return
    if obstacle := _obstacle(gpus):
        yield Sharing(False, obstacle)
        return
    place = Path(tempfile.gettempdir())
    short = place if len(os.fsencode(place)) <= _LONGEST_PLACE else Path("/tmp")
    with scratch_folder("mps", place=short, end=_quit) as pipes:
        environment = {PIPES: str(pipes), LOGS: str(pipes / "log")}
        if problem := _start(pipes, environment, gpus):
            _quit(pipes)
            yield Sharing(False, problem)
            return
        guard = _guard(environment)
        try:
            yield Sharing(True, "a daemon of this worker", environment)
        finally:
            assert guard.stdin is not None
            guard.stdin.close()
            with suppress(subprocess.TimeoutExpired):
                guard.wait(START_S)
            _kill(pipes)


def _obstacle(gpus: Sequence[Gpu]) -> str | None:
    if any(gpu.is_slice for gpu in gpus):
        return "the GPU is divided by MIG"
    if shutil.which(CONTROL) is None:
        return f"{CONTROL} is not on PATH"
    return None


def _daemon_of_others() -> Path | None:
    """The folder of a daemon that CUDA would find by itself, if it answers."""
    pipes = Path(os.environ.get(PIPES) or DEFAULT)
    return pipes if pipes.exists() and _ask(pipes, "get_server_list").problem is None else None


@dataclass(frozen=True)
class _Answer:
    words: str = ""
    problem: str | None = None


def _ask(pipes: Path, command: str) -> _Answer:
    """What the daemon of a folder answers to `command`, or what is wrong with it."""
    try:
        reply = subprocess.run(
            [CONTROL],
            input=f"{command}\n",
            env=os.environ | {PIPES: str(pipes)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=ANSWER_S,
        )
    except subprocess.TimeoutExpired:
        return _Answer(problem=f"its daemon said nothing for {ANSWER_S:g} s")
    except OSError as error:
        return _Answer(problem=f"{CONTROL}: {error.strerror}")
    words = _first_line(reply.stdout)
    return _Answer(words, (words or "its daemon failed") if reply.returncode else None)


def _start(pipes: Path, environment: Mapping[str, str], gpus: Sequence[Gpu]) -> str | None:
    """Start a daemon for these GPUs alone; None once its server runs, else what was wrong.

    The server, which takes the GPUs, would start with the first trial: where it cannot, every trial
    would fail.
    """
    log = Path(environment[LOGS])
    log.mkdir()
    # By UUID: a client's indices would count among the GPUs that the daemon was shown.
    shown = {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in gpus)}
    try:
        with (log / "start").open("w+") as said:  # a pipe would stay open in the daemon
            ended = subprocess.run(
                [CONTROL, "-d"],
                env=os.environ | environment | shown,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                timeout=START_S,
            )
            said.seek(0)
            words = _first_line(said.read())
    except subprocess.TimeoutExpired:
        return f"{CONTROL} -d did not return within {START_S:g} s"
    except OSError as error:
        return f"{CONTROL}: {error.strerror}"
    if ended.returncode:
        return words or f"{CONTROL} -d ended with status {ended.returncode}"
    until = time.monotonic() + SERVER_S
    asked = _ask(pipes, f"start_server -uid {os.getuid()}")
    while not (servers := _ask(pipes, "get_server_list")).words.isdecimal():  # its pid
        if time.monotonic() > until:
            return servers.problem or asked.problem or f"no server came up within {SERVER_S:g} s"
        time.sleep(0.05)
    return None


def _guard(environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A process that ends the daemon when its standard input is closed, if only by our death."""
    return subprocess.Popen(
        ["sh", "-c", f"cat > /dev/null; echo quit | {CONTROL}"],
        env=os.environ | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the worker
    )


def _quit(pipes: Path) -> None:
    """End the daemon of a folder, if there is one."""
    _ask(pipes, "quit")
    _kill(pipes)


def _kill(pipes: Path) -> None:
    """Kill a daemon that did not end when it was told to."""
    with suppress(OSError, ValueError):
        pid = int((pipes / f"{CONTROL}.pid").read_text())
        if CONTROL.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
            os.kill(pid, signal.SIGKILL)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")[:200]
