"""Sweeps by one worker, or two nodes of Slurm or torchrun, robbed of processes again and again."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import sweep
from configs.cli import run_entry
from tests.support.kill_harness import free_port, with_environment
from tests.support.real_sweep import place, work
from tests.support.slurm_cluster import NODES, Cluster, cluster  # noqa: F401
from tests.support.tiny_sweep import eventually, overrides

ROOT = Path(__file__).resolve().parent.parent
KILLS = 10
GRID = ["grid.seeds=8", "grid.budgets=[2e8,3e8]", "fit.n_bootstrap=50", "launcher.lease_s=5"]


def calm_weights(folder: Path) -> dict[str, str]:
    """What the 32 trials end in if nothing happens to them."""
    work(*place(folder, folder / "calm", *GRID))
    return weights(folder / "calm")


def records(out: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in out.glob("trials/*/record.json")]


def weights(out: Path) -> dict[str, str]:
    found = records(out)
    assert all(record["status"] == "done" and record["bitwise"] for record in found)
    return {record["id"]: record["weights_digest"] for record in found}


def tell(what: str, events: Counter[str], out: Path) -> None:
    attempts = len(list(out.glob("trials/*/attempt-*")))
    how = ", ".join(f"{count} {name}" for name, count in sorted(events.items()))
    print(f"{what}: {events.total()} events ({how}), {attempts} attempts at {len(records(out))}")


class Slurm:
    """Things that happen to a sweep on a cluster."""

    def __init__(self, cluster: Cluster, line: list[str], times: random.Random):  # noqa: F811
        self.cluster, self.line, self.times = cluster, line, times

    def submit(self) -> None:
        """Unless its workers are with Slurm already."""
        assert run_entry(sweep.main, "sweep", "", self.line) in (0, 2)

    def kill_worker(self) -> None:
        with suppress(IndexError, ProcessLookupError):
            os.kill(self.times.choice(self.cluster.workers()), signal.SIGKILL)

    def lose_node(self) -> None:
        node = self.times.choice(NODES)
        self.cluster.lose_node(node)
        self.cluster.start_node(node)

    def lose_slurmd(self) -> None:
        node = self.times.choice(NODES)
        self.cluster.lose_node(node, only_daemon=True)
        self.cluster.start_node(node)

    def _running(self) -> list[str]:
        return [name for name, state in self.cluster.tasks().items() if state == "RUNNING"]

    def requeue(self) -> None:
        for task in self._running()[:1]:
            self.cluster.call("scontrol", "requeue", task, check=False)

    def time_limit(self) -> None:
        for task in self._running()[:1]:
            self.cluster.call("scancel", "--batch", "--signal=TERM", task, check=False)

    def cancel(self) -> None:
        self.cluster.call("scancel", "--user=root")
        self.cluster.wait_until_idle()


@pytest.mark.slow
@pytest.mark.needs_slurm
@pytest.mark.needs_root
@pytest.mark.timeout(3000)
def test_sweep_on_troubled_slurm_gives_same_bits(
    cluster,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    expected = calm_weights(tmp_path)
    assert len(expected) == 32
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    out, times = tmp_path / "troubled", random.Random(5)
    line = overrides(tmp_path, out, *GRID, "launcher=slurm", "launcher.slurm.cpus=2")
    slurm = Slurm(cluster, [*line, "launcher.slurm.workers=2"], times)
    slurm.submit()
    events: Counter[str] = Counter()
    acts: list[Callable[[], None]] = [
        *(slurm.kill_worker, slurm.lose_node, slurm.lose_slurmd),
        *(slurm.requeue, slurm.time_limit, slurm.cancel),
    ]
    while events.total() < KILLS and len(records(out)) < len(expected):
        began, wait_s = len(list(out.glob("trials/*/attempt-*"))), times.uniform(0, 5)
        eventually(lambda: cluster.tasks() is not None and attempts_beyond(out, began), 120)  # noqa: B023
        time.sleep(wait_s)
        act = acts[events.total() % len(acts)]
        act()
        events[act.__name__] += 1
        if not cluster.tasks():
            slurm.submit()
    while len(records(out)) < len(expected):
        cluster.wait_until_idle(600)
        slurm.submit()
    cluster.wait_until_idle(600)
    tell("Slurm", events, out)
    assert weights(out) == expected
    assert events.total() >= KILLS
    assert (out / "fit" / "report.html").exists()


def attempts_beyond(out: Path, count: int) -> bool:
    """Whether a trial was begun since there were `count` attempts, or none is left to begin."""
    begun = len(list(out.glob("trials/*/attempt-*")))
    return begun > count or len(records(out)) == 32


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_torchrun_nodes_killed_again_and_again_give_same_bits(tmp_path):
    expected = calm_weights(tmp_path)
    out, times = tmp_path / "killed", random.Random(6)
    mark = {"SOAK": str(tmp_path)}

    def agents() -> list[subprocess.Popen[bytes]]:
        port = free_port()
        line = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc_per_node=1"]
        line += ["--master_addr=127.0.0.1", f"--master_port={port}"]
        sweep = ["sweep.py", *overrides(tmp_path, out, *GRID, "launcher.devices=1")]
        return [
            subprocess.Popen(
                [*line, f"--node_rank={rank}", *sweep, "fit.require=[]"],
                cwd=ROOT,
                env=os.environ | mark,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for rank in (0, 1)
        ]

    events: Counter[str] = Counter()
    while events.total() < KILLS and len(records(out)) < len(expected):
        began = len(list(out.glob("trials/*/attempt-*")))
        started = agents()
        eventually(lambda: attempts_beyond(out, began), 200)  # noqa: B023
        time.sleep(times.uniform(0, 4))
        event = times.choice(["first agent", "second agent", "worker", "everything"])
        events[event] += 1
        if event.endswith("agent"):
            started[event == "second agent"].kill()
        elif event == "worker":
            workers = with_environment({**mark, "LOCAL_RANK": "0"})
            with suppress(IndexError, ProcessLookupError):
                os.kill(times.choice(workers), signal.SIGKILL)
        time.sleep(times.uniform(0, 2))  # what is left goes on for a while
        for pid in with_environment(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in started:
            process.wait()
        eventually(lambda: not with_environment(mark))
    last = agents()
    assert [process.wait(1500) for process in last] == [0, 0]
    tell("torchrun", events, out)
    assert weights(out) == expected
    assert events.total() >= KILLS


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_worker_killed_again_and_again_gives_same_bits(tmp_path):
    expected = calm_weights(tmp_path)
    out, times = tmp_path / "killed", random.Random(7)
    line = [sys.executable, "sweep.py", *overrides(tmp_path, out, *GRID, "fit.require=[]")]
    events: Counter[str] = Counter()
    while events.total() < KILLS and len(records(out)) < len(expected):
        began = len(list(out.glob("trials/*/attempt-*")))
        process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL)
        eventually(lambda: attempts_beyond(out, began), 200)  # noqa: B023
        time.sleep(times.uniform(0, 1))
        process.kill()
        process.wait()
        events["SIGKILL"] += 1
    assert subprocess.run(line, cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    tell("one worker", events, out)
    assert weights(out) == expected
    assert events.total() >= KILLS
