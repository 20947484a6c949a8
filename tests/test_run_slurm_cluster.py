"""Sweeps on a real Slurm: stopped, cancelled and robbed of a node, they end in the same weights."""

import json
from pathlib import Path

import pytest

import sweep
from configs.cli import run_entry
from scaling.run import store, trial_states
from tests.support.real_sweep import place, work
from tests.support.slurm_cluster import Cluster, cluster, job_id  # noqa: F401
from tests.support.tiny_sweep import eventually, overrides
from tests.support.typed import last_of_each
from training.trial.attempt import attempts

pytestmark = [pytest.mark.needs_slurm, pytest.mark.needs_root]

# Two trials of a second or two, one at a time on a node.
GRID = ["grid.budgets=[2e9]", "fit.n_bootstrap=50", "runtime.checkpoint_every_s=0.3"]

SLURM = [
    *("launcher=slurm", "launcher.devices=1", "launcher.slurm.cpus=2"),
    *("launcher.slurm.workers=2", "launcher.lease_s=3", "launcher.grace_s=20"),
]


def call(*argv: str) -> int:
    return run_entry(sweep.main, "sweep", "", last_of_each(*argv))


def digests(out: Path) -> dict[str, str]:
    records = [json.loads(path.read_text()) for path in out.glob("trials/*/record.json")]
    assert all(record["bitwise"] for record in records)
    return {record["id"]: record["weights_digest"] for record in records}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A folder with text and shards, and what its two trials end in on this machine."""
    folder = tmp_path_factory.mktemp("sweep")
    work(*place(folder, folder / "calm", *GRID))
    expected = digests(folder / "calm")
    assert len(expected) == 2
    return folder, expected


@pytest.fixture
def slurm(cluster, monkeypatch):  # noqa: F811
    """The cluster, reached from this process too, and empty afterwards."""
    monkeypatch.setenv("SLURM_CONF", cluster.environment["SLURM_CONF"])
    eventually(cluster.is_ready)
    yield cluster
    cluster.call("scancel", "--user=root", check=False)
    cluster.wait_until_idle()


def logs(out: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(out.glob("slurm/*.log")))


def saved(out: Path, number: int = 1) -> list[Path]:
    return list(out.glob(f"trials/*/attempt-{number:03d}/checkpoints/step-*"))


def hosts(out: Path) -> set[str]:
    """Where trials were claimed."""
    owners = out.glob("trials/*/attempt-*/owner.json")
    return {json.loads(path.read_text())["host"] for path in owners}


def test_slurm_stop_cancel_and_resubmit_gives_same_weights(slurm, undisturbed, tmp_path, capsys):
    """Stopped cancelled and submitted again gives the same weights."""
    folder, expected = undisturbed
    out = tmp_path / "sweep $(x) 'y' %j"
    line = overrides(folder, out, *GRID, *SLURM)
    assert call(*line, "launcher.slurm.workers=1") == 0
    job = job_id(capsys.readouterr().out)
    assert call(*line) == 2  # not twice
    assert f"its job {job} is with Slurm still" in capsys.readouterr().err

    # What the time limit does: the batch shell is told, passes it on, and queues again.
    eventually(lambda: saved(out))
    slurm.call("scancel", "--batch", "--signal=TERM", f"{job}_0")
    eventually(lambda: slurm.tasks() and list(out.glob("trials/*/attempt-002/owner.json")))
    assert "Restarts=1 " in slurm.call("scontrol", "show", "job", f"{job}_0")
    assert "stopped: the same command resumes the sweep" in logs(out)

    # What a person does: nothing queues again, and all can be gone on with.
    slurm.call("scancel", job)
    slurm.wait_until_idle()
    counts = trial_states.count_states(trial_states.read_states(out, store.read_plan(out).plan))
    waiting = counts["waiting"]  # one of two, if the other ended before it was cancelled
    assert waiting > 0 and counts["running"] == 0 and not (out / "fit").exists()

    assert call(*line) == 0
    assert f": {waiting} workers for {waiting} trials" in capsys.readouterr().out
    slurm.wait_until_idle()
    assert digests(out) == expected, logs(out)
    assert logs(out).count("report: ") >= 1 and (out / "fit" / "report.html").exists()
    assert len((out / "runs.csv").read_text().splitlines()) == 3


def test_slurm_lost_node_costs_only_its_claim(slurm, undisturbed, tmp_path):
    """A lost node costs its claim and nothing else."""
    folder, expected = undisturbed
    out = tmp_path / "out"
    assert call(*overrides(folder, out, *GRID, *SLURM)) == 0
    eventually(lambda: hosts(out))  # one may end both trials before the other has begun
    node = min(hosts(out))
    slurm.lose_node(node)
    try:
        slurm.wait_until_idle()
    finally:
        slurm.start_node(node)
    assert digests(out) == expected
    assert any(len(attempts(path)) > 1 for path in out.glob("trials/*"))
    assert (out / "fit" / "report.html").exists(), logs(out)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("prefix", ["", "srun"])
def test_slurm_time_limit_saves_and_requeues(slurm, undisturbed, tmp_path, prefix):
    """Also where the worker is no child of the script's but a step's, as containers are started."""
    folder, _ = undisturbed
    out = tmp_path / "out"
    more = [
        "grid.budgets=[5e12]",
        "data.max_epochs=1e9",
        "launcher.grace_s=15",
        "launcher.slurm.time=2",
    ]
    more += [f"launcher.slurm.prefix={prefix}"] if prefix else []
    assert call(*overrides(folder, out, *GRID, *SLURM, *more, "launcher.slurm.workers=1")) == 0
    while not list(out.glob("trials/*/attempt-002/owner.json")):
        assert slurm.tasks(), logs(out)
    assert "stopped: the same command resumes the sweep" in logs(out)
    assert "DUE TO TIME LIMIT" not in logs(out)
    assert saved(out)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_slurm_paused_node_runs_nothing_twice(slurm, undisturbed, tmp_path):
    """Slurm gives its task to another node; the claims of the live owner hold there."""
    folder, expected = undisturbed
    out = tmp_path / "out"
    more = ["launcher.slurm.workers=1", "launcher.lease_s=20", "grid.seeds=4"]
    assert call(*overrides(folder, out, *GRID, *SLURM, *more)) == 0
    eventually(lambda: hosts(out))
    (node,) = hosts(out)
    slurm.lose_node(node, only_daemon=True)
    try:
        slurm.wait_until_idle(600)
    finally:
        slurm.start_node(node)
    found = digests(out)
    assert expected.items() <= found.items() and len(found) == 8
    # Each weights digest was made once: no attempt was begun while another lived.
    assert not [p for p in out.glob("trials/*") if len(attempts(p)) > 1], logs(out)
