"""This process: the cores that it may use, however they are limited, and its end."""

import os
import signal
import time
from pathlib import Path

import pytest

from training.process import end_with_parent, usable_cores


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("150000 100000", 2), ("1000000 100000", 8), ("5000 100000", 1), ("", 8)],
)
def test_cores_are_those_of_the_affinity_within_the_containers_quota(monkeypatch, limit, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(Path, "read_text", lambda self: limit)
    assert usable_cores() == expected


def test_a_child_whose_parent_is_gone_already_ends():
    child = os.fork()
    if child == 0:
        end_with_parent(signal.SIGKILL, parent=os.getppid() + 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_child_ends_with_its_parent():
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
