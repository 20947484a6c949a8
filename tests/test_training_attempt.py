"""Claims: one live owner at a time, a dead one known by pid or by silence, a revived one fenced."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from training.attempt import (
    OWNERLESS_S,
    Attempt,
    Busy,
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


def test_a_live_owner_keeps_its_trial(tmp_path):
    first = claimed(tmp_path / "trial")
    busy = claim(tmp_path / "trial", Watch())
    assert isinstance(busy, Busy) and busy.certain
    assert busy.owner.endswith(f":{os.getpid()}")
    assert not first.fenced()


def test_a_released_trial_can_be_claimed_while_its_owner_lives(tmp_path):
    first = claimed(tmp_path)
    first.release()
    second = claimed(tmp_path)
    assert second.number == 2
    assert first.fenced() and not second.fenced()


@pytest.mark.parametrize("change", [{"pid": None}, {"pid_start": "1"}], ids=str)
def test_a_dead_owner_on_this_machine_is_known_at_once(tmp_path, change):
    first = claimed(tmp_path)
    edit_owner(first, **({"pid": dead_pid()} if change == {"pid": None} else change))
    assert claimed(tmp_path).number == 2


def test_a_zombie_owner_is_dead(tmp_path):
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
def test_an_owner_elsewhere_is_dead_when_its_heartbeat_stands_still_for_the_lease(tmp_path, change):
    first = claimed(tmp_path)
    edit_owner(first, **change)
    clock = Clock()
    watch = Watch(lease_s=60, clock=clock)
    assert claim(tmp_path, watch) == Busy(watch.holder(first.folder).owner, certain=False)
    clock.now += 59
    assert isinstance(claim(tmp_path, watch), Busy)
    first.beat()
    clock.now += 59
    busy = claim(tmp_path, watch)
    assert isinstance(busy, Busy) and busy.certain
    clock.now += 59
    assert isinstance(claim(tmp_path, watch), Busy)
    clock.now += 1
    assert claimed(tmp_path, watch).number == 2
    first.beat()  # the owner was only slow: it finds itself fenced off, in its own folder
    assert first.fenced()


def test_a_claim_without_an_owner_file_is_dead_after_a_while(tmp_path):
    (tmp_path / "attempt-001").mkdir()
    clock = Clock()
    watch = Watch(clock=clock)
    assert isinstance(claim(tmp_path, watch), Busy)
    clock.now += OWNERLESS_S
    assert claimed(tmp_path, watch).number == 2


def test_patience_ends_with_the_lease(tmp_path):
    first = claimed(tmp_path)
    edit_owner(first, host="node-7")
    attempt = claim_patiently(tmp_path, Watch(lease_s=0.2), poll_s=0.05)
    assert isinstance(attempt, Attempt) and attempt.number == 2


def test_patience_ends_with_a_sign_of_life(tmp_path):
    first = claimed(tmp_path)
    edit_owner(first, host="node-7")
    with beating(first, interval_s=0.02):
        busy = claim_patiently(tmp_path, Watch(lease_s=30), poll_s=0.05)
    assert busy == Busy(f"node-7:{os.getpid()}", certain=True)


def test_a_finished_trial_is_not_touched(tmp_path):
    (tmp_path / "record.json").write_text("{}")
    assert isinstance(claim(tmp_path, Watch()), Finished)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]


def test_of_many_claimants_one_wins(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: claim(tmp_path / "trial", Watch()), range(16)))
    assert sum(isinstance(result, Attempt) for result in results) == 1
    assert len(attempts(tmp_path / "trial")) == 1


def test_attempts_are_ordered_by_number(tmp_path):
    for name in ("attempt-1000", "attempt-002", "attempt-999", "attempt-xyz", "checkpoints"):
        (tmp_path / name).mkdir()
    names = [folder.name for folder in attempts(tmp_path)]
    assert names == ["attempt-002", "attempt-999", "attempt-1000"]
