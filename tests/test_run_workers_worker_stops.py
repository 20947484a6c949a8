"""A worker that is stopped or killed loses nothing.

Trials here only pretend, so that what is tested is the worker; test_run_sweep.py trains.
"""

import os
import signal
import time
from dataclasses import replace

import pytest

from common.errors import StopRequested
from scaling.run.workers.processes import DEVICE_FAULT, ForkedProcess
from scaling.run.workers.worker import Worker
from tests.support.kill_harness import fork
from tests.support.tiny_sweep import (
    LAUNCHER,
    alive,
    eventually,
    note,
    pids_of_sleepers,
    pretend,
    pretended_plan,
    statuses,
    work,
)


@pytest.fixture
def plan(tmp_path):
    return pretended_plan(tmp_path, range(6))


def test_worker_passes_stop_request_on(tmp_path, plan):
    """A stop request is passed on and the rest resumes."""

    def act(config, attempt):
        if attempt.number > 1:
            return None
        signal.signal(signal.SIGTERM, lambda *_: os._exit(75))
        note(tmp_path / "started")
        time.sleep(60)
        return 1

    def sweeper():
        with pytest.raises(StopRequested, match="same command"):
            work(tmp_path, plan, pretend(act))

    child = fork(sweeper, tmp_path / "log")
    started = tmp_path / "started"
    eventually(lambda: started.exists() and started.read_text() == "x\n" * 2)
    child.kill(signal.SIGINT)
    assert child.wait(300) == 0, (tmp_path / "log").read_text()
    assert statuses(tmp_path, plan)["waiting"] == 6
    assert not list(tmp_path.rglob("death.json"))
    work(tmp_path, plan, pretend(lambda config, attempt: None))
    assert statuses(tmp_path, plan)["done"] == 6


@pytest.mark.parametrize(("grace_s", "signals"), [(0.3, 1), (60, 2)])
def test_worker_kills_after_grace_or_second_request(tmp_path, plan, grace_s, signals):
    """What does not stop is killed after the grace or by a second request."""

    def act(config, attempt):
        signal.signal(signal.SIGTERM, lambda *_: note(tmp_path / "told"))
        (tmp_path / "pids").mkdir(exist_ok=True)
        (tmp_path / "pids" / str(os.getpid())).touch()
        time.sleep(60)

    def sweeper():
        launcher = replace(LAUNCHER, grace_s=grace_s)
        with pytest.raises(StopRequested if signals == 1 else KeyboardInterrupt):
            work(tmp_path, plan, pretend(act), launcher=launcher)

    child = fork(sweeper, tmp_path / "log")
    eventually(lambda: len(pids_of_sleepers(tmp_path)) == 2)
    child.kill(signal.SIGTERM)
    if signals == 2:  # the kernel would make one of both, were the first not ends to have arrived
        eventually(lambda: (tmp_path / "told").exists())
        child.kill(signal.SIGTERM)
    assert child.wait(300) == 0, (tmp_path / "log").read_text()
    assert not any(map(alive, pids_of_sleepers(tmp_path)))
    assert statuses(tmp_path, plan)["waiting"] == 6


def work_on_gpus(out, plan, **gpus):
    """Notes and statuses by a worker whose forked processes stand for GPUs: what each runs."""
    processes = []
    for name, act in gpus.items():
        process = ForkedProcess(pretend(act))
        process.place = name
        processes.append(process)
    worker = Worker(out, plan.trials, processes, plan.base.runtime, None, LAUNCHER)
    worker.run()
    return [end.note for end in worker.ended if end.note], statuses(out, plan)


def test_worker_takes_a_device_that_fails_again_out_of_service(tmp_path, plan):
    """The trials that met its faults are done elsewhere, and one line says which device it is."""

    def well(config, attempt):
        time.sleep(0.3)

    notes, found = work_on_gpus(tmp_path, plan, good=well, bad=lambda config, attempt: DEVICE_FAULT)
    assert found["done"] == 6 and len(notes) == 2
    assert all("a fault of the device, not of the trial" in note for note in notes)
    line = "GPU bad is out of service here after 2 faults in a row"
    assert [line in note for note in notes] == [False, True]


def test_worker_leaves_what_no_device_is_left_for(tmp_path, plan):
    """The trials stay as they are, for another machine or the same command later."""
    notes, found = work_on_gpus(tmp_path, plan, bad=lambda config, attempt: DEVICE_FAULT)
    assert len(notes) == 2 and found["waiting"] == 6
    assert work_on_gpus(tmp_path, plan, mended=lambda config, attempt: None)[1]["done"] == 6
