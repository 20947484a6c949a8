"""A child that prepares data: it raises what it raised here, and never outlives its caller."""

import json
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from common.errors import BadInput
from data.prepare.build_directory import Interrupted
from data.prepare.workers import run_in_child, spawn_pool

ROOT = Path(__file__).resolve().parent.parent

CALL = """
import sys
from pathlib import Path
from data.config import DataConfig
from data.prepare.pipeline import build_folder
from data.prepare.workers import run_in_child
config = DataConfig("files", sys.argv[1], "bpe", 0.01, 1, vocab_size=262)
run_in_child(build_folder, config, Path(sys.argv[2]), True)
"""


def begin(folder: Path, *command: str) -> subprocess.Popen[str]:
    """A preparation in a session of its own, which has begun to write its shards."""
    process = subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        start_new_session=True,
    )
    while not list(folder.glob(".*/train_000000.bin")):
        time.sleep(0.05)
        assert process.poll() is None
    return process


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """30 MB, more than a child encodes before a signal comes."""
    words = ["some", "words", "that", "make", "more", "or", "less", "sense"]
    text = " ".join(random.Random(0).choices(words, k=500))
    rows = (json.dumps({"text": f"{n} {text}"}) + "\n" for n in range(12_000))
    (tmp_path / "a.jsonl").write_text("".join(rows))
    (tmp_path / "out").mkdir()
    return tmp_path / "a.jsonl"


def test_child_ends_with_a_caller_that_is_killed(text: Path) -> None:
    out = text.parent / "out"
    process = begin(out, "-c", CALL, str(text), str(out))
    process.kill()
    _, said = process.communicate()  # ends when the last of its processes has
    assert said.count("\n") == 2 and "trained in" in said


@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_child_ends_at_ctrl_c_without_a_word(text: Path, send: Callable[[int, int], None]) -> None:
    """Whether the terminal sends it to all of the group, or a launcher to the caller alone."""
    out = text.parent / "out"
    given = [f"data.path={text}", "data.tokenizer=bpe", "data.vocab_size=262", f"out={out}"]
    process = begin(out, "-m", "data.prepare", "data=files", *given)
    send(process.pid, signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 75
    *before, last = said.splitlines()
    assert last == "stopped: the same command goes on, at most half a minute back"
    assert len(before) == 2 and "trained in" in said


def test_child_and_its_own_children_block_ctrl_c() -> None:
    """Else one that still starts prints where it was interrupted."""
    assert run_in_child(_blocked_in_child_and_grandchild) == [True, True]


def test_child_raises_here_what_it_raised() -> None:
    for error in (BadInput("a: found b"), Interrupted("later")):
        with pytest.raises(type(error), match=str(error)):
            run_in_child(_raise, error)


def test_child_that_is_killed_is_no_result() -> None:
    with pytest.raises(BrokenProcessPool):
        run_in_child(_die)


def test_child_leaves_neither_thread_nor_process_behind() -> None:
    """The caller may fork afterwards."""
    before = set(threading.enumerate())
    assert run_in_child(os.getpid) != os.getpid()
    assert set(threading.enumerate()) == before
    assert multiprocessing.active_children() == []


def test_child_does_not_import_the_script_again() -> None:
    assert run_in_child(_main_file) is None


def _raise(error: Exception) -> None:
    raise error


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _main_file() -> str | None:
    return getattr(sys.modules["__main__"], "__file__", None)


def _blocks_ctrl_c() -> bool:
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _blocked_in_child_and_grandchild() -> list[bool]:
    with spawn_pool(1) as pool:
        return [_blocks_ctrl_c(), pool.submit(_blocks_ctrl_c).result()]
