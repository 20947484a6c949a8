"""The process for the next shape is there before the trial before it ends, and ends with it."""

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from common.errors import StopRequested
from scaling.plan.plan import Plan
from scaling.run.workers.processes import ServingProcesses
from scaling.run.workers.worker import Worker
from tests.support.kill_harness import Child, fork
from tests.support.tiny_sweep import (
    LAUNCHER,
    alive,
    child_pids,
    eventually,
    pretended_plan,
    statuses,
)
from training.config import TrainConfig

SLEEPER = (sys.executable, str(Path(__file__).parent / "support" / "serving_sleeper.py"))


def shape_of(config: TrainConfig) -> str:
    """Seeds 0 and 1 are of one shape, 2 is of another."""
    return str(config.seed // 2)


@pytest.fixture
def plan(tmp_path) -> Plan:
    return pretended_plan(tmp_path, range(3))


@pytest.fixture
def owner(tmp_path, plan):
    """A worker with one served process, until it has no more to do or is told to stop."""

    def own():
        served = ServingProcesses((*SLEEPER, str(tmp_path)), ranks=1, environment={})
        launcher = replace(LAUNCHER, devices=1)
        worker = Worker(
            tmp_path, plan.trials, [served], plan.base.runtime, None, launcher, shape_of=shape_of
        )
        with pytest.raises(StopRequested) if (tmp_path / "stops").exists() else _nothing():
            worker.run()

    def begin() -> Child:
        return fork(own, tmp_path / "log")

    return begin


class _nothing:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def until_started(folder: Path, seed: int) -> int:
    """The process in which the trial of a seed trains."""
    eventually(lambda: (folder / f"pid{seed}").exists() and (folder / f"pid{seed}").read_text())
    return int((folder / f"pid{seed}").read_text())


def test_next_shapes_process_is_there_before_the_trial_ends(tmp_path, plan, owner):
    """One more process than trains, only before another shape, and it trains that shape."""
    child = owner()
    first = until_started(tmp_path, 0)
    assert child_pids(child.pid) == [first]  # the next trial is of the same shape
    (tmp_path / "go0").touch()
    assert until_started(tmp_path, 1) == first
    eventually(lambda: len(child_pids(child.pid)) == 2)
    (waiting,) = set(child_pids(child.pid)) - {first}
    assert not (tmp_path / "pid2").exists()
    (tmp_path / "go1").touch()
    assert until_started(tmp_path, 2) == waiting
    assert child_pids(child.pid) == [waiting]  # no shape follows
    (tmp_path / "go2").touch()
    assert child.wait(300) == 0, child.log.read_text()
    assert not alive(first) and not alive(waiting)
    assert statuses(tmp_path, plan)["done"] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_stop_ends_the_process_that_waits(tmp_path, plan, owner, number):
    """A stop of the worker, or its death, leaves neither what trains nor what waits."""
    if number == signal.SIGTERM:
        (tmp_path / "stops").touch()
    (tmp_path / "go0").touch()
    child = owner()
    until_started(tmp_path, 1)
    eventually(lambda: len(child_pids(child.pid)) == 2)
    both = child_pids(child.pid)
    os.kill(child.pid, number)
    assert child.wait(300) == (0 if number == signal.SIGTERM else -signal.SIGKILL)
    eventually(lambda: not any(map(alive, both)))
    assert statuses(tmp_path, plan)["done"] == 1
