"""Serving processes that train real trials."""

from scaling.plan.grid import plan_grid
from scaling.run import store, sweep
from scaling.run.store import StoredPlan
from scaling.run.workers.devices import SERVER, this_machine
from tests.support.tiny_sweep import request
from training.dataset import prepared_data


def test_serving_and_forked_processes_give_same_bits(tmp_path):
    """Two trials of one shape, one after the other in one process, against a fork for each."""
    ends = []
    for kind, out in (("auto", tmp_path / "forked"), ("serving", tmp_path / "served")):
        asked = request(
            tmp_path,
            out,
            "grid.budgets=[1e8]",
            "grid.sizes=1",
            "grid.seeds=2",
            "launcher.devices=1",
        )
        data = prepared_data(asked.base)
        plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
        stored = store.store_plan(out, StoredPlan(plan, data.digest, asked.launcher), False)
        machine = this_machine(asked.base.runtime, asked.launcher, processes=kind)
        states = sweep.work(asked, stored, machine, wait=True)
        assert machine.forks == (kind == "auto") and len(states) == 2
        ends.append([state.record.weights_digest for state in states])
    assert ends[0] == ends[1] and None not in ends[0]
    assert SERVER[-1] == "scaling.run.workers.run_trial"


def test_serving_processes_train_on_two_ranks(tmp_path):
    """devices_per_trial=2: gloo between two processes, one record."""
    more = ("grid.budgets=[1e8]", "grid.sizes=1", "launcher.devices_per_trial=2")
    asked = request(tmp_path, tmp_path / "out", *more, "grid.rules.batch_factor=2")
    data = prepared_data(asked.base)
    plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
    stored = StoredPlan(plan, data.digest, asked.launcher)
    stored = store.store_plan(tmp_path / "out", stored, False)
    machine = this_machine(asked.base.runtime, asked.launcher)
    (state,) = sweep.work(asked, stored, machine, wait=True)
    assert state.record.status == "done" and state.record.world_size == 2
