"""Claims: one live owner at a time, a dead one known by pid or by silence, a revived one fenced."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from configs.load import CONFIG_DIR
from training.trial.attempt import (
    LEASE_S,
    OWNERLESS_S,
    Attempt,
    Claimed,
    Finished,
    Watch,
    attempts,
    beating,
    claim,
    claim_patiently,
)


@dataclass
class Clock:
    """A monotonic clock that moves when told."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def claimed(trial, watch=None) -> Attempt:
    attempt = claim(trial, watch or Watch())
    assert isinstance(attempt, Attempt)
    return attempt


def edit_owner(attempt: Attempt, **changes) -> None:
    path = attempt.folder / "owner.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def dead_pid() -> int:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_attempt_live_owner_keeps_its_trial(tmp_path):
    """A live owner keeps its trial."""
    first = claimed(tmp_path / "trial")
    busy = claim(tmp_path / "trial", Watch())
    assert isinstance(busy, Claimed) and busy.certain
    assert busy.owner.endswith(f":{os.getpid()}")
    assert not first.is_superseded()


def test_attempt_released_can_be_claimed_while_its_owner_lives(tmp_path):
    """A released trial can be claimed while its owner lives."""
    first = claimed(tmp_path)
    first.release()
    second = claimed(tmp_path)
    assert second.number == 2
    assert first.is_superseded() and not second.is_superseded()


@pytest.mark.parametrize("change", [{"pid": None}, {"pid_start": "1"}], ids=str)
def test_attempt_dead_owner_on_this_machine_is_known_at_once(tmp_path, change):
    """A dead owner on this machine is known at once."""
    first = claimed(tmp_path)
    edit_owner(first, **({"pid": dead_pid()} if change == {"pid": None} else change))
    assert claimed(tmp_path).number == 2


def test_attempt_zombie_owner_is_dead(tmp_path):
    """A zombie owner is dead."""
    first = claimed(tmp_path)
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    edit_owner(first, pid=pid)
    assert claimed(tmp_path).number == 2
    os.waitpid(pid, 0)


@pytest.mark.parametrize(
    "change",
    [{"host": "node-7"}, {"pid_namespace": "pid:[1]"}, {"boot_id": "another-boot"}],
    ids=["host", "container", "clone or reboot"],
)
def test_attempt_owner_elsewhere_is_dead_when_its_heartbeat_stops(tmp_path, change):
    """An owner elsewhere is dead when its heartbeat stands still for the lease."""
    first = claimed(tmp_path)
    edit_owner(first, **change)
    clock = Clock()
    watch = Watch(lease_s=60, clock=clock)
    assert claim(tmp_path, watch) == Claimed(watch.owner(first.folder).owner, certain=False)
    clock.now += 59
    assert isinstance(claim(tmp_path, watch), Claimed)
    first.beat()
    clock.now += 59
    busy = claim(tmp_path, watch)
    assert isinstance(busy, Claimed) and busy.certain
    clock.now += 59
    assert isinstance(claim(tmp_path, watch), Claimed)
    clock.now += 1
    assert claimed(tmp_path, watch).number == 2
    first.beat()  # the owner was only slow: it finds itself fenced off, in its own folder
    assert first.is_superseded()


def test_attempt_without_an_owner_file_is_dead_after_a_while(tmp_path):
    """A claim without an owner file is dead after a while."""
    (tmp_path / "attempt-001").mkdir()
    clock = Clock()
    watch = Watch(clock=clock)
    assert isinstance(claim(tmp_path, watch), Claimed)
    clock.now += OWNERLESS_S
    assert claimed(tmp_path, watch).number == 2


def test_attempt_patience_ends_with_the_lease(tmp_path):
    """Patience ends with the lease."""
    first = claimed(tmp_path)
    edit_owner(first, host="node-7")
    attempt = claim_patiently(tmp_path, Watch(lease_s=0.2), poll_s=0.05)
    assert isinstance(attempt, Attempt) and attempt.number == 2


def test_attempt_patience_ends_with_a_sign_of_life(tmp_path):
    """Patience ends with a sign of life."""
    first = claimed(tmp_path)
    edit_owner(first, host="node-7")
    with beating(first, interval_s=0.02):
        busy = claim_patiently(tmp_path, Watch(lease_s=30), poll_s=0.05)
    assert busy == Claimed(f"node-7:{os.getpid()}", certain=True)


def test_attempt_does_not_touch_a_finished_trial(tmp_path):
    """A finished trial is not touched."""
    (tmp_path / "record.json").write_text("{}")
    assert isinstance(claim(tmp_path, Watch()), Finished)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_attempt_of_many_claimants_is_won_by_one(tmp_path):
    """Of many claimants one wins."""
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: claim(tmp_path / "trial", Watch()), range(16)))
    assert sum(isinstance(result, Attempt) for result in results) == 1
    assert len(attempts(tmp_path / "trial")) == 1


def test_attempts_are_ordered_by_number(tmp_path):
    """Attempts are ordered by number."""
    for name in ("attempt-1000", "attempt-002", "attempt-999", "attempt-xyz", "checkpoints"):
        (tmp_path / name).mkdir()
    names = [folder.name for folder in attempts(tmp_path)]
    assert names == ["attempt-002", "attempt-999", "attempt-1000"]


def test_attempt_lease_is_that_of_the_launcher():
    """A worker and a single run judge an owner elsewhere by the same lease."""
    launcher = yaml.safe_load((CONFIG_DIR / "launcher/local.yaml").read_text())
    assert launcher["lease_s"] == LEASE_S


def test_attempt_heartbeat_makes_no_folder_again(tmp_path, monkeypatch):
    """Not even one that vanishes between the look at the last count and the write of the next."""
    attempt = claimed(tmp_path / "trial")
    read = Path.read_bytes

    def vanishing(path: Path) -> bytes:
        content = read(path)
        attempt.trial.rename(tmp_path / "elsewhere")
        return content

    monkeypatch.setattr(Path, "read_bytes", vanishing)
    with pytest.raises(FileNotFoundError):
        attempt.beat()
    assert not attempt.trial.exists()
