"""Sweeps with real trials of four tiny models, planned without measuring the machine."""

from pathlib import Path

from scaling.plan.grid import plan_grid
from scaling.run import store, sweep
from scaling.run.store import StoredPlan
from scaling.run.workers.devices import this_machine
from tests.support.tiny_sweep import request
from training.dataset import prepared_data


def place(folder: Path, out: Path, *more: str):
    """A request and its plan, placed without measuring the machine."""
    asked = request(folder, out, "runtime.checkpoint_every_s=60", *more)
    data = prepared_data(asked.base)
    plan = plan_grid(asked.base, asked.grid, data.tokens_per_epoch)
    return asked, store.store_plan(out, StoredPlan(plan, data.digest, asked.launcher), False)


def work(asked, stored):
    machine = this_machine(asked.base.runtime, asked.launcher)
    return sweep.work(asked, stored, machine, wait=True)


def digests(states) -> dict[str, str]:
    return {state.trial.id: state.record.weights_digest for state in states}
