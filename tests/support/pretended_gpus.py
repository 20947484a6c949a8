"""Stand-ins for NVIDIA's tools: an nvidia-smi that lists given GPUs, an MPS daemon that listens.

As a script this is nvidia-cuda-mps-control. With -d it leaves a daemon that listens on the socket
`control` in CUDA_MPS_PIPE_DIRECTORY, writes its pid there and notes in $MPS_NOTES what it is asked;
else it says each line of its input to that daemon. MPS_FAULT=refuse, hang, barren (it has no
server) or deaf breaks it.
"""

import os
import shlex
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # as a script it runs without packages
    import pytest

CONTROL = "nvidia-cuda-mps-control"


def place_nvidia_smi(folder: Path, cards: list[str], listing: str = "") -> None:
    """An nvidia-smi in `folder`: rows of its CSV, and what -L says."""
    rows = "".join(f"echo {shlex.quote(card)}\n" for card in cards)
    said = f"printf '%s\\n' {shlex.quote(listing)}"
    _place(folder / "nvidia-smi", f'#!/bin/sh\n[ "$1" = -L ] && {said} && exit\n{rows}')


def pretend_gpus(
    folder: Path, monkeypatch: "pytest.MonkeyPatch", model: str, count: int = 1, gib: int = 141
) -> Path:
    """Have so many GPUs of a model, as far as nvidia-smi tells; the file that notes its calls."""
    tool, asked = folder / "gpus" / "nvidia-smi", folder / "asked"
    rows = "".join(f"{n}, GPU-{n}, {1024 * gib}, Default, [N/A]\\n" for n in range(count))
    names = f"{model}\\n" * count
    answers = f"*=name) printf '{names}' ;;\n*=index,*) printf '{rows}' ;;\n"
    _place(tool, f'#!/bin/sh\necho "$1" >> {asked}\ncase "$1" in\n{answers}esac\n')
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return asked


def place_mps(folder: Path, monkeypatch: "pytest.MonkeyPatch") -> None:
    """This file as nvidia-cuda-mps-control in `folder`, with time to start on a busy machine."""
    for limit in ("START_S", "SERVER_S", "ANSWER_S"):
        monkeypatch.setattr(f"scaling.run.workers.mps.{limit}", 120.0)
    _place(folder / CONTROL, f'#!/bin/sh\nexec {sys.executable} -S {__file__} {CONTROL} "$@"\n')


def _place(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def _daemon(pipes: Path, listener: socket.socket) -> None:
    (pipes / f"{CONTROL}.pid").write_text(str(os.getpid()))
    has_server, fault = False, os.environ.get("MPS_FAULT")
    while True:
        connection, _ = listener.accept()
        asked = connection.recv(100).decode()
        _note(asked)
        has_server = has_server or (asked.startswith("start_server") and fault != "barren")
        connection.send(b"4711" if has_server and asked == "get_server_list" else b"\n")
        connection.close()
        if asked.strip() == "quit" and fault != "deaf":
            return


def _note(what: str) -> None:
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "all")
    with Path(os.environ["MPS_NOTES"]).open("a") as file:
        print(what, shown, file=file)


def main(arguments: list[str]) -> int:
    """Start the daemon, or ask it."""
    pipes = Path(os.environ["CUDA_MPS_PIPE_DIRECTORY"])
    fault = os.environ.get("MPS_FAULT")
    if fault == "hang":
        time.sleep(60)
    if fault == "refuse":
        print("Failed to bind the socket")
        return 1
    if arguments == ["-d"]:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(pipes / "control"))
        listener.listen()
        _note("start")
        if os.fork() == 0:
            os.setsid()
            signal.alarm(60)  # should its test die
            _daemon(pipes, listener)
        return 0
    for line in sys.stdin:
        with socket.socket(socket.AF_UNIX) as connection:
            try:
                connection.connect(str(pipes / "control"))
            except OSError:
                print("Cannot find MPS control daemon process")
                return 1
            connection.send(line.strip().encode())
            print(connection.recv(100).decode().strip(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
