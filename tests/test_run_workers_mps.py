"""MPS is found, or started and ended with its worker; a stand-in daemon listens and takes notes."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from scaling.run.workers import mps
from scaling.run.workers.gpus import Gpu, visible_gpus
from tests.support.kill_harness import fork
from tests.support.pretended_gpus import place_mps
from tests.support.tiny_sweep import alive, child_pids, eventually

GPUS = (Gpu("0", "GPU-aaaa", 2**30), Gpu("1", "GPU-bbbb", 2**30))


@pytest.fixture
def short():
    """A folder of a short path: what lies in it are sockets."""
    folder = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def notes(short, monkeypatch):
    """Where the daemon notes what it is asked, and with which GPUs it was started."""
    place_mps(short / "bin", monkeypatch)
    (short / "tmp").mkdir()
    monkeypatch.setenv("PATH", f"{short / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("MPS_NOTES", str(short / "notes"))
    monkeypatch.setattr(tempfile, "tempdir", str(short / "tmp"))
    monkeypatch.setattr(mps, "DEFAULT", short / "nobody")
    for name in ("CUDA_MPS_PIPE_DIRECTORY", "MPS_FAULT", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return short / "notes"


def asked(notes: Path) -> list[str]:
    return [line.split()[0] for line in notes.read_text().splitlines()] if notes.exists() else []


def daemon_pid(pipes: Path) -> int:
    return int((pipes / f"{mps.CONTROL}.pid").read_text())


def test_shared_starts_a_daemon_and_ends_it(notes):
    """With the worker's GPUs alone, by UUID; trials learn where it listens."""
    with mps.shared(GPUS) as sharing:
        assert sharing.is_mps
        pipes = Path(sharing.environment["CUDA_MPS_PIPE_DIRECTORY"])
        assert (pipes / "control").is_socket() and len(str(pipes / "control_privileged")) < 108
        assert Path(sharing.environment["CUDA_MPS_LOG_DIRECTORY"]).is_dir()
        pid = daemon_pid(pipes)
        assert alive(pid) and notes.read_text().splitlines()[0] == "start GPU-aaaa,GPU-bbbb"
        assert asked(notes)[1] == "start_server"
    eventually(lambda: not alive(pid))
    assert asked(notes)[-1] == "quit" and not pipes.exists()


@pytest.mark.parametrize("named", [True, False])
def test_shared_uses_a_daemon_of_the_cluster_and_leaves_it(notes, short, monkeypatch, named):
    """By CUDA_MPS_PIPE_DIRECTORY, or where CUDA looks by itself."""
    pipes = short / "cluster"
    pipes.mkdir()
    environment = {mps.PIPES: str(pipes), mps.LOGS: str(pipes / "log")}
    assert mps._start(pipes, environment, GPUS) is None
    if named:
        monkeypatch.setenv(mps.PIPES, str(pipes))
    else:
        monkeypatch.setattr(mps, "DEFAULT", pipes)
    with mps.shared(GPUS) as sharing:
        assert sharing.is_mps and str(pipes) in sharing.by and not sharing.environment
    assert alive(daemon_pid(pipes)) and "quit" not in asked(notes)
    assert asked(notes).count("start") == 1
    mps._quit(pipes)


def test_shared_starts_its_own_beside_a_dead_one(notes, short, monkeypatch):
    """A folder where nobody listens any more is no daemon."""
    (short / "cluster").mkdir()
    monkeypatch.setenv(mps.PIPES, str(short / "cluster"))
    with mps.shared(GPUS) as sharing:
        assert sharing.is_mps and sharing.environment[mps.PIPES] != str(short / "cluster")


@pytest.mark.parametrize(
    ("fault", "limits", "reason"),
    [
        ("refuse", (), "Failed to bind the socket"),
        ("hang", ("START_S", "ANSWER_S"), "did not return within 0.5 s"),
        ("barren", ("SERVER_S",), "no server came up within 0.5 s"),
    ],
)
def test_shared_does_without_a_daemon_that_fails(notes, monkeypatch, fault, limits, reason):
    """And says why in one line, when its time is up."""
    for limit in limits:
        monkeypatch.setattr(mps, limit, 0.5)
    monkeypatch.setenv("MPS_FAULT", fault)
    with mps.shared(GPUS) as sharing:
        assert not sharing.is_mps and not sharing.environment
        assert reason in sharing.by and "\n" not in sharing.by


def test_shared_does_without_where_there_is_no_mps(notes, short, monkeypatch):
    """No tool on PATH; a GPU that is divided."""
    with mps.shared((Gpu("MIG-1", "MIG-1", None),)) as sharing:
        assert not sharing.is_mps and "MIG" in sharing.by
    monkeypatch.setenv("PATH", "/nowhere")
    with mps.shared(GPUS) as sharing:
        assert not sharing.is_mps and "not on PATH" in sharing.by
    assert asked(notes) == []


def test_shared_kills_a_daemon_that_does_not_quit(notes, monkeypatch):
    monkeypatch.setenv("MPS_FAULT", "deaf")
    with mps.shared(GPUS) as sharing:
        pid = daemon_pid(Path(sharing.environment[mps.PIPES]))
    eventually(lambda: not alive(pid))


def hold(short):
    """A process that has a daemon until it is killed; the process, and the daemon's folder."""

    def own():
        with mps.shared(GPUS) as sharing:
            (short / "pipes").write_text(sharing.environment[mps.PIPES])
            time.sleep(600)

    child = fork(own, short / "log")
    child.until(lambda: (short / "pipes").exists() and (short / "pipes").read_text())
    return child, Path((short / "pipes").read_text())


def test_daemon_ends_with_a_worker_that_is_killed(notes, short):
    """At once, by whom the kernel tells of the death."""
    child, pipes = hold(short)
    pid = daemon_pid(pipes)
    child.kill(signal.SIGKILL)
    child.wait()
    eventually(lambda: not alive(pid))
    assert asked(notes)[-1] == "quit"


def test_daemon_of_a_worker_killed_with_its_guard_is_ended_by_the_next(notes, short):
    child, pipes = hold(short)
    pid = daemon_pid(pipes)
    os.kill(child.pid, signal.SIGSTOP)
    for guard in child_pids(child.pid):
        os.killpg(guard, signal.SIGKILL)
    child.kill(signal.SIGKILL)
    child.wait()
    time.sleep(0.3)
    assert alive(pid) and pipes.exists()
    with mps.shared(GPUS) as sharing:
        assert sharing.is_mps and not pipes.exists()
        eventually(lambda: not alive(pid))


@pytest.mark.needs_gpu
def test_shared_has_two_processes_served_by_nvidias_own_daemon():
    """One server, two clients; and nothing is left of it."""
    if shutil.which(mps.CONTROL) is None or any(gpu.is_slice for gpu in visible_gpus()):
        pytest.skip(f"needs {mps.CONTROL}, and a whole GPU")
    code = "import torch; print(int(torch.ones(8, device='cuda').sum()), flush=True); input()"
    gpu = visible_gpus()[0]

    def say(environment: Mapping[str, str], words: str) -> list[str]:
        command = subprocess.run(
            [mps.CONTROL], input=f"{words}\n", env=environment, capture_output=True, text=True
        )
        return command.stdout.split()

    with mps.shared([gpu]) as sharing:
        assert sharing.is_mps, sharing.by
        environment = os.environ | sharing.environment | {"CUDA_VISIBLE_DEVICES": gpu.uuid}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", code]
        clients = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
        assert [client.stdout.readline() for client in clients] == ["8\n"] * 2
        [server] = say(environment, "get_server_list")
        served = say(environment, f"get_client_list {server}")
        assert len(served) >= 2  # by pid, which in a container is another
        for client in clients:
            client.communicate("\n", timeout=300)
    if sharing.environment:  # its own, and not the cluster's
        eventually(lambda: not alive(int(server)))
