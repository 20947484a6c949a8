"""A machine on which torch cannot compile: told, and trained without, unless it was asked for."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import training.environment
from common.errors import BadInput
from tests.support.tiny_training import (
    alone,
    claimed,
    prepared_config,
    tiny_config,
    together,
    train_once,
)
from training.environment import decide
from training.loop import train
from training.ranks.distributed import Ranks

TROUBLE = "InvalidCxxCompiler: No working C++ compiler found"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def no_compiler(monkeypatch):
    monkeypatch.setattr(training.environment, "compiler_trouble", lambda _: TROUBLE)


def as_on_a_gpu(monkeypatch) -> None:
    """Rules compile there."""
    monkeypatch.setattr(Ranks, "kind", "cuda")


def test_compiler_without_a_cxx_is_told_in_a_line(tmp_path):
    """By the real thing: torch's compiler for a CPU needs a C++ compiler on the PATH."""
    script = (
        "from training.device.backends import compiler_trouble\nprint(compiler_trouble('cpu'))\n"
    )
    cache = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "PATH": str(tmp_path)}
    environment = {k: v for k, v in os.environ.items() if k not in ("CC", "CXX")} | cache
    found = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    assert TROUBLE in found.stdout and found.stdout.count("\n") == 1


def test_compiler_that_is_missing_leaves_a_run_eager_with_a_note(
    tmp_path, monkeypatch, no_compiler
):
    config = prepared_config(tmp_path, 2)
    as_on_a_gpu(monkeypatch)
    record = train_once(config, tmp_path / "trial")
    attempt = tmp_path / "trial/attempt-001"
    assert record.status == "done"
    assert json.loads((attempt / "runtime.json").read_text())["compile"] is False
    assert f"not compiled, so slower: {TROUBLE}" in (attempt / "log.txt").read_text()


def test_compiler_that_was_asked_for_and_is_missing_is_bad_input(tmp_path, no_compiler):
    """In one line, before anything is written."""
    config = prepared_config(tmp_path, runtime__compile=True)
    attempt = claimed(tmp_path / "trial")
    with pytest.raises(BadInput) as caught:
        train(config, attempt, alone(), quiet=True)
    assert str(caught.value) == (
        "runtime.compile: found true, expected null or false: torch cannot compile here: " + TROUBLE
    )
    assert not (attempt.folder / "runtime.json").exists()


def test_compiler_that_one_rank_lacks_is_used_by_none(tmp_path, monkeypatch):
    """Else they would wait for each other; asked for it is the same line on all."""
    config = tiny_config(tmp_path, runtime__compile=None)
    asked = tiny_config(tmp_path, runtime__compile=True)
    as_on_a_gpu(monkeypatch)

    def body(ranks: Ranks) -> object:
        trouble = TROUBLE if ranks.rank else None
        monkeypatch.setattr(training.environment, "compiler_trouble", lambda _: trouble)
        notes: list[str] = []
        compiles = decide(config, ranks, None, notes.append).compile
        with pytest.raises(BadInput) as caught:
            decide(asked, ranks, None)
        return [compiles, *notes, str(caught.value).removeprefix("rank 1: ")]

    line = "runtime.compile: found true, expected null or false: torch cannot compile here: "
    assert together(config, tmp_path, body) == [
        [False, "not compiled, so slower: another rank cannot compile", line + TROUBLE],
        [False, f"not compiled, so slower: {TROUBLE}", line + TROUBLE],
    ]


def test_compiler_is_not_looked_for_where_nothing_is_compiled(tmp_path, monkeypatch):
    """A start would cost seconds more."""

    def looked(_: str) -> None:
        raise AssertionError

    monkeypatch.setattr(training.environment, "compiler_trouble", looked)
    assert not decide(tiny_config(tmp_path), alone(), None).compile
    as_on_a_gpu(monkeypatch)
    assert not decide(tiny_config(tmp_path, runtime__compile=False), alone(), None).compile
