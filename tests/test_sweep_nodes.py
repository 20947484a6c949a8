"""Two nodes, as network namespaces that share a folder and a cable, with one torchrun each."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiny_sweep import child_pids, eventually, overrides

ROOT = Path(__file__).resolve().parent.parent

PORT = "29511"

LIMIT_S = 280.0

pytestmark = pytest.mark.needs_root


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@pytest.fixture
def nodes():
    """The names of two namespaces with 10.77.0.1 and 10.77.0.2 at the ends of a cable."""
    names = [f"node{os.getpid()}{letter}" for letter in "ab"]
    ends = [f"v{os.getpid()}{letter}" for letter in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for index, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            ip("link", "set", end, "netns", name, "name", "cable")
            ip("-n", name, "addr", "add", f"10.77.0.{index}/24", "dev", "cable")
            ip("-n", name, "link", "set", "cable", "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def torchrun(node: str, rank: int, folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    where = [f"--node_rank={rank}", "--master_addr=10.77.0.1", f"--master_port={PORT}"]
    launcher = ["torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *where]
    words = ["launcher.devices=1", "fit.require=[]", "fit.n_bootstrap=50", *more]
    with (folder / f"{out.name}-{rank}.log").open("w") as log:
        return subprocess.Popen(
            [
                "ip",
                "netns",
                "exec",
                node,
                sys.executable,
                "-m",
                *launcher,
                "sweep.py",
                *overrides(folder, out, *words),
            ],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )


def pair(nodes, folder: Path, out: Path, *more: str) -> list[subprocess.Popen[str]]:
    return [torchrun(node, rank, folder, out, *more) for rank, node in enumerate(nodes)]


def digests(out: Path) -> dict[str, str]:
    records = [json.loads(path.read_text()) for path in out.glob("trials/*/record.json")]
    assert all(record["status"] == "done" for record in records)
    return {record["id"]: record["weights_digest"] for record in records}


def logs(folder: Path) -> str:
    return "\n".join(path.read_text() for path in folder.glob("*.log"))


def alone(folder: Path, out: Path, *more: str) -> dict[str, str]:
    """What the sweep ends in on one node, or a rerun of one that was disturbed."""
    line = [sys.executable, "sweep.py", *overrides(folder, out, "fit.require=[]", *more)]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return digests(out)


def cut(nodes, agents) -> None:
    """The cable is pulled; both nodes still see the folder."""
    ip("-n", nodes[1], "link", "set", "cable", "down")


def fall(nodes, agents) -> None:
    """All processes of the second node end at once."""
    for pid in (*(p for c in child_pids(agents[1].pid) for p in child_pids(c)), agents[1].pid):
        os.kill(pid, signal.SIGKILL)
    os.killpg(agents[1].pid, signal.SIGKILL)


def stop(agents) -> None:
    for agent in agents:
        if agent.poll() is None:
            os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()


def test_two_nodes_share_trials_and_give_same_bits(tmp_path, nodes):
    """Two nodes share the trials and end in the bits of one."""
    agents = pair(nodes, tmp_path, tmp_path / "two")
    try:
        statuses = [agent.wait(LIMIT_S) for agent in agents]
    finally:
        stop(agents)
    assert statuses == [0, 0], logs(tmp_path)
    assert digests(tmp_path / "two") == alone(tmp_path, tmp_path / "one")
    assert len(digests(tmp_path / "two")) == 4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", [cut, fall])
def test_lost_node_ends_other_in_bounded_time(tmp_path, nodes, fault: Callable):
    """A node that is lost ends the other in bounded time and a rerun completes."""
    more = ("grid.budgets=[4e8,8e8]", "launcher.lease_s=10")
    out = tmp_path / "two"
    agents = pair(nodes, tmp_path, out, *more)
    try:
        eventually(lambda: len(list(out.glob("trials/*/attempt-001/metrics.jsonl"))) == 2, LIMIT_S)
        fault(nodes, agents)
        # torchrun itself waits five minutes for the other agent before it leaves.
        agents[0].wait(LIMIT_S + 320)
    finally:
        stop(agents)
    assert alone(tmp_path, out, *more) == alone(tmp_path, tmp_path / "one", *more)
