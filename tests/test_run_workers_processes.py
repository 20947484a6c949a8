"""Serving processes live from trial to trial, and are replaced after any failure.

On a GPU each serves one device; here they are CPU processes, and the mechanism is the same.
"""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from scaling.run.workers.processes import CRASHED, FAILED, RECORDED, STOPPED, ServingProcesses, Task
from tests.support.kill_harness import fork
from tests.support.tiny_sweep import alive, child_pids, eventually

COMMAND = (sys.executable, str(Path(__file__).parent / "support" / "serving_pretender.py"))


@pytest.fixture
def slot():
    slot = ServingProcesses(COMMAND, ranks=2, environment={})
    yield slot
    slot.close()


def run(slot, folder, seed: int, shape: str = "2x16") -> int:
    slot.start(Task(str(folder), 1, {"seed": seed}, shape))
    ends: list[int] = []
    eventually(lambda: (status := slot.poll()) is not None and ends.append(status) is None)
    return ends[0]


def ranks(folder) -> list[list[list[str]]]:
    """For each rank: pid, seed, world size and port of each task."""
    names = ("rank0", "rank1")
    return [[x.split() for x in (folder / n).read_text().splitlines()] for n in names]


def test_serving_processes_take_task_after_task(slot, tmp_path):
    """One set of processes serves task after task."""
    assert [run(slot, tmp_path, seed) for seed in (0, 2, 0)] == [RECORDED, STOPPED, RECORDED]
    for tasks in ranks(tmp_path):
        assert len({pid for pid, *_ in tasks}) == 1
        assert [seed for _, seed, *_ in tasks] == ["0", "2", "0"]
        assert {world_size for _, _, world_size, _ in tasks} == {"2"}
    one, other = ranks(tmp_path)
    assert [task[3] for task in one] == [task[3] for task in other]  # they meet at one port


@pytest.mark.parametrize(("seed", "status"), [(1, FAILED), (3, CRASHED), (9, -signal.SIGKILL)])
def test_serving_processes_are_replaced_after_failure(slot, tmp_path, seed, status):
    """After a failure of any rank all are replaced."""
    assert [run(slot, tmp_path, seed), run(slot, tmp_path, 0)] == [status, RECORDED]
    tasks = [task for rank in ranks(tmp_path) for task in rank]
    spoilt = {pid for pid, task_seed, *_ in tasks if task_seed == str(seed)}
    fresh = {pid for pid, task_seed, *_ in tasks if task_seed == "0"}
    assert len(fresh) == 2 and spoilt and not spoilt & fresh
    assert not any(alive(int(pid)) for pid in spoilt)


def test_serving_processes_are_replaced_for_another_shape(slot, tmp_path):
    """Another shape has processes of its own."""
    shapes = ("2x16", "2x16", "2x32")
    assert [run(slot, tmp_path, 0, shape) for shape in shapes] == [RECORDED] * 3
    for tasks in ranks(tmp_path):
        first, second, third = (int(pid) for pid, *_ in tasks)
        assert first == second != third and not alive(first)


def test_serving_processes_are_made_ready_beside_a_task(slot, tmp_path):
    """Those for another shape are there before the task before them ends, and no more of them."""
    others = set(child_pids(os.getpid()))  # of other tests
    slot.start(Task(str(tmp_path), 1, {"seed": 8}, "2x16"))  # which takes a minute
    eventually(lambda: all((tmp_path / f"rank{rank}").exists() for rank in (0, 1)))
    busy = set(child_pids(os.getpid())) - others
    for _ in range(3):
        slot.prepare()
    ready = set(child_pids(os.getpid())) - others - busy
    assert len(ready) == 2 and slot.poll() is None
    slot.close()
    assert not any(map(alive, busy | ready))


def test_serving_processes_that_are_ready_take_the_next_shape(slot, tmp_path):
    """A task of another shape, or one after a failure, goes to those that wait."""
    others = set(child_pids(os.getpid()))  # of other tests
    for shapes, seeds in ((("2x16", "2x32"), (0, 0)), (("2x64", "2x64"), (1, 0))):
        for name in ("rank0", "rank1"):
            (tmp_path / name).unlink(missing_ok=True)
        assert run(slot, tmp_path, 0, shapes[0]) == RECORDED
        before = set(child_pids(os.getpid())) - others
        slot.prepare()
        ready = set(child_pids(os.getpid())) - others - before
        run(slot, tmp_path, seeds[0], shapes[0])
        assert run(slot, tmp_path, seeds[1], shapes[1]) == RECORDED
        last = {int(tasks[-1][0]) for tasks in ranks(tmp_path)}
        assert last == ready and not any(map(alive, before))


def test_serving_processes_that_died_waiting_are_replaced(slot, tmp_path):
    """What waits may be killed, as by lack of memory: the next shape has fresh ones."""
    run(slot, tmp_path, 0, "2x16")
    before = set(child_pids(os.getpid()))
    slot.prepare()
    (one, _) = set(child_pids(os.getpid())) - before
    os.kill(one, signal.SIGKILL)
    eventually(lambda: not alive(one))
    assert run(slot, tmp_path, 0, "2x32") == RECORDED


def test_serving_processes_signalled_keep_none_ready(slot, tmp_path):
    """A stop ends what waits at once: it has nothing to save."""
    slot.start(Task(str(tmp_path), 1, {"seed": 8}, "2x16"))
    busy = set(child_pids(os.getpid()))
    slot.prepare()
    ready = set(child_pids(os.getpid())) - busy
    slot.signal(signal.SIGTERM)
    assert ready and not any(map(alive, ready))


def test_serving_processes_close_leaves_none(slot, tmp_path):
    """Closing leaves no process."""
    slot.start(Task(str(tmp_path), 1, {"seed": 8}, "2x16"))
    eventually(lambda: (tmp_path / "rank0").exists() and (tmp_path / "rank1").exists())
    eventually(lambda: all(len(tasks) == 1 for tasks in ranks(tmp_path)))
    slot.close()
    assert not any(alive(int(tasks[0][0])) for tasks in ranks(tmp_path))


def test_serving_processes_die_with_owner(tmp_path):
    """Processes die with their owner."""

    def own():
        slot = ServingProcesses(COMMAND, ranks=2, environment={})
        slot.start(Task(str(tmp_path), 1, {"seed": 8}, "2x16"))
        time.sleep(60)

    owner = fork(own, tmp_path / "log")
    eventually(lambda: (tmp_path / "rank0").exists() and (tmp_path / "rank1").exists())
    eventually(lambda: all(len(tasks) == 1 for tasks in ranks(tmp_path)))
    owner.kill()
    owner.wait()
    eventually(lambda: not any(alive(int(tasks[0][0])) for tasks in ranks(tmp_path)), 2)
