"""A served slot: processes that live from trial to trial, and are replaced after any failure.

On a GPU each serves one device; here they are CPU processes, and the mechanism is the same.
"""

import signal
import sys
import time
from pathlib import Path

import pytest
from kill_harness import fork
from tiny_sweep import alive, eventually, request

from scaling.plan.grid import plan_grid
from scaling.run import local, store
from scaling.run.machine import SERVER, this_machine
from scaling.run.slots import DIED, RECORDED, SPOILT, STOPPED, ServedSlot, Task
from scaling.run.store import StoredPlan

COMMAND = (sys.executable, str(Path(__file__).parent / "serving_pretender.py"))


@pytest.fixture
def slot():
    slot = ServedSlot(COMMAND, ranks=2, environment={})
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


def test_one_set_of_processes_serves_task_after_task(slot, tmp_path):
    assert [run(slot, tmp_path, seed) for seed in (0, 2, 0)] == [RECORDED, STOPPED, RECORDED]
    for tasks in ranks(tmp_path):
        assert len({pid for pid, *_ in tasks}) == 1
        assert [seed for _, seed, *_ in tasks] == ["0", "2", "0"]
        assert {world_size for _, _, world_size, _ in tasks} == {"2"}
    one, other = ranks(tmp_path)
    assert [task[3] for task in one] == [task[3] for task in other]  # they meet at one port


@pytest.mark.parametrize(("seed", "status"), [(1, SPOILT), (3, DIED), (9, -signal.SIGKILL)])
def test_after_a_failure_of_any_rank_all_are_replaced(slot, tmp_path, seed, status):
    assert [run(slot, tmp_path, seed), run(slot, tmp_path, 0)] == [status, RECORDED]
    tasks = [task for rank in ranks(tmp_path) for task in rank]
    spoilt = {pid for pid, task_seed, *_ in tasks if task_seed == str(seed)}
    fresh = {pid for pid, task_seed, *_ in tasks if task_seed == "0"}
    assert len(fresh) == 2 and spoilt and not spoilt & fresh
    assert not any(alive(int(pid)) for pid in spoilt)


def test_another_shape_has_processes_of_its_own(slot, tmp_path):
    shapes = ("2x16", "2x16", "2x32")
    assert [run(slot, tmp_path, 0, shape) for shape in shapes] == [RECORDED] * 3
    for tasks in ranks(tmp_path):
        first, second, third = (int(pid) for pid, *_ in tasks)
        assert first == second != third and not alive(first)


def test_closing_leaves_no_process(slot, tmp_path):
    slot.start(Task(str(tmp_path), 1, {"seed": 8}, "2x16"))
    eventually(lambda: (tmp_path / "rank0").exists() and (tmp_path / "rank1").exists())
    eventually(lambda: all(len(tasks) == 1 for tasks in ranks(tmp_path)))
    slot.close()
    assert not any(alive(int(tasks[0][0])) for tasks in ranks(tmp_path))


def test_processes_die_with_their_owner(tmp_path):
    def own():
        slot = ServedSlot(COMMAND, ranks=2, environment={})
        slot.start(Task(str(tmp_path), 1, {"seed": 8}, "2x16"))
        time.sleep(60)

    owner = fork(own, tmp_path / "log")
    eventually(lambda: (tmp_path / "rank0").exists() and (tmp_path / "rank1").exists())
    eventually(lambda: all(len(tasks) == 1 for tasks in ranks(tmp_path)))
    owner.kill()
    owner.wait()
    eventually(lambda: not any(alive(int(tasks[0][0])) for tasks in ranks(tmp_path)), 2)


def test_trials_in_served_slots_end_in_the_bits_of_forked_ones(tmp_path):
    """Two trials of one shape, one after the other in one process, against a fork for each."""
    ends = []
    for kind, out in (("auto", tmp_path / "forked"), ("served", tmp_path / "served")):
        asked = request(
            tmp_path,
            out,
            "grid.budgets=[1e8]",
            "grid.sizes=1",
            "grid.seeds=2",
            "launcher.devices=1",
        )
        data = local.prepared_data(asked.base)
        plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
        stored = store.place_plan(out, StoredPlan(plan, data.digest, asked.launcher), False)
        machine = this_machine(asked.base.runtime, asked.launcher, slots=kind)
        states = local.work(asked, stored, machine, wait=True)
        assert machine.forks == (kind == "auto") and len(states) == 2
        ends.append([state.record.weights_digest for state in states])
    assert ends[0] == ends[1] and None not in ends[0]
    assert SERVER[-1] == "scaling.run.execution"


def test_a_trial_on_two_ranks(tmp_path):
    """devices_per_trial=2: gloo between two processes, one record."""
    more = ("grid.budgets=[1e8]", "grid.sizes=1", "launcher.devices_per_trial=2")
    asked = request(tmp_path, tmp_path / "out", *more, "grid.rules.batch_factor=2")
    data = local.prepared_data(asked.base)
    plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
    stored = StoredPlan(plan, data.digest, asked.launcher)
    stored = store.place_plan(tmp_path / "out", stored, False)
    machine = this_machine(asked.base.runtime, asked.launcher)
    (state,) = local.work(asked, stored, machine, wait=True)
    assert state.record.status == "done" and state.record.world_size == 2
