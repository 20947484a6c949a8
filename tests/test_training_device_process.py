"""This process: the cores that it may use, however they are limited, and its end."""

import gc
import os
import signal
import time
from pathlib import Path

import pytest

from training.device.process import (
    end_with_parent,
    frozen_collector,
    thread_limit,
    usable_cores,
)


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("1000000 100000", 8), ("5000 100000", 1), ("", 8)],
)
def test_process_cores_are_those_of_affinity_and_container_quota(monkeypatch, limit, expected):
    """Cores are those of the affinity within the containers quota."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self: limit)
    assert usable_cores() == expected


@pytest.mark.parametrize(("slurm", "expected"), [("3", 3), ("12", 8), ("", 8), ("x", 8)])
@pytest.mark.parametrize("name", ["SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"])
def test_process_cores_are_at_most_those_of_a_slurm_task(monkeypatch, name, slurm, expected):
    """Slurm's cores for a task bound those that are used, bound or not by the system."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self: "max 100000")
    monkeypatch.setenv(name, slurm)
    assert usable_cores() == expected


@pytest.mark.parametrize(("files", "expected"), [
    ({"/proc/self/cgroup": "0::/user/job", "/sys/fs/cgroup/user/job/cpu.max": "300000 100000"}, 3),
    ({"/proc/self/cgroup": "0::/user/job", "/sys/fs/cgroup/user/cpu.max": "200000 100000"}, 2),
    ({"/proc/self/cgroup": "3:cpuacct,cpu:/job\n0::/", "/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us":
      "250000", "/sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000"}, 3),
    ({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "1"}, 8),
    ({"/proc/self/cgroup": "strange\n0::"}, 8),
])  # fmt: skip
def test_process_cores_are_within_the_quota_of_every_group_above(monkeypatch, files, expected):
    """A quota counts whichever group above this process has it, in both versions of cgroups."""

    def read_text(self):
        if (text := files.get(str(self))) is None:
            raise FileNotFoundError(self)
        return text

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", read_text)
    assert usable_cores() == expected


@pytest.mark.parametrize(("text", "torchrun", "expected"), [
    (None, {}, None), ("4", {}, 4), ("1", {}, 1), ("6,2", {}, 6), ("0", {}, None), ("x", {}, None),
    ("1", {"TORCHELASTIC_RUN_ID": "a", "LOCAL_WORLD_SIZE": "2"}, None),
    ("2", {"TORCHELASTIC_RUN_ID": "a", "LOCAL_WORLD_SIZE": "2"}, 2),
    ("1", {"TORCHELASTIC_RUN_ID": "a", "LOCAL_WORLD_SIZE": "1"}, 1),
])  # fmt: skip
def test_process_threads_are_limited_by_who_set_omp_num_threads(
    monkeypatch, text, torchrun, expected
):
    """OMP_NUM_THREADS is a limit, but for the 1 that torchrun sets by itself."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for name, value in (torchrun | ({"OMP_NUM_THREADS": text} if text else {})).items():
        monkeypatch.setenv(name, value)
    assert thread_limit() == expected


def test_process_child_whose_parent_is_gone_already_ends():
    """A child whose parent is gone already ends."""
    child = os.fork()
    if child == 0:
        end_with_parent(signal.SIGKILL, parent=os.getppid() + 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_process_child_ends_with_its_parent():
    """A child ends with its parent."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        me = os.getpid()
        if os.fork() == 0:
            end_with_parent(signal.SIGKILL, me)
            os.write(writing, b"x")
            time.sleep(60)
        os.read(reading, 1)
        os._exit(0)
    os.waitpid(parent, 0)
    os.close(writing)
    assert os.read(reading, 1) == b""  # the pipe's last writer is gone
    os.close(reading)


def test_frozen_collector_thaws_nothing_that_its_caller_froze():
    """Else each run in a process that froze torch's objects would walk over all of them again."""
    gc.unfreeze()
    with frozen_collector() as freeze:
        freeze()
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0
    gc.freeze()  # as the session has it
    with frozen_collector() as freeze:
        freeze()
    assert gc.get_freeze_count() > 0
