"""sweep.py under torchrun: one worker a node, one planner."""

import socket
import subprocess
import sys
import time
from pathlib import Path

import sweep
from configs.cli import run_entry
from tests.support.tiny_sweep import overrides

ROOT = Path(__file__).resolve().parent.parent


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", argv)


def test_main_works_once_per_node_and_plans_once(tmp_path, capsys, monkeypatch):
    """Under torchrun one process a node works and one plans."""
    out = tmp_path / "out"
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert call("nonsense, which only rank 0 tells") == 0
    monkeypatch.setenv("LOCAL_RANK", "0")
    start = time.monotonic()
    assert call(*overrides(tmp_path, out), "runtime.timeout_s=0.6") == 2
    assert 0.5 < time.monotonic() - start < 300 and not out.exists()


def test_two_nodes_end_well_though_one_is_idle(tmp_path):
    """Two real agents and one trial: who leaves early, or tells of it, fails the other node too."""
    out = tmp_path / "out"
    more = ["grid.budgets=[1e9]", "grid.sizes=1", "launcher.devices=1", "fit.require=[]"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def agent(rank: int) -> subprocess.Popen[str]:
        where = [f"--node_rank={rank}", "--master_addr=127.0.0.1", f"--master_port={port}"]
        launcher = ["torch.distributed.run", "--nnodes=2", "--nproc_per_node=1", *where]
        return subprocess.Popen(
            [sys.executable, "-m", *launcher, "sweep.py", *overrides(tmp_path, out, *more)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    agents = [agent(rank) for rank in (0, 1)]
    try:
        said = [process.communicate(timeout=300)[0] for process in agents]
    finally:
        for process in agents:
            process.kill()
    assert [process.returncode for process in agents] == [0, 0], "\n".join(said)
    assert "report: " in said[0] and "report: " not in said[1]
    assert all("1 planned = 1 done" in text for text in said)


def test_join_states_refusal_of_one_node(tmp_path, capsys, monkeypatch):
    """The refusal of one node is told."""
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", "0")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert call(*overrides(tmp_path, tmp_path / "out"), "runtime.timeout_s=0.1") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "error: the node of rank 3: " in error
