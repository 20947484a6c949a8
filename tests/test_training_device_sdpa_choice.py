"""Runs of one kind share a kernel: within a process, and within a sweep whichever chose first."""

import json
from collections.abc import Callable

import pytest

from tests.support.kill_harness import fork
from tests.support.tiny_training import alone, tiny_config
from training.device import sdpa_choice
from training.device.sdpa_choice import CHOICES, choose_once
from training.environment import decide

KIND = "NVIDIA H200, torch 2.13.0+cu130, bf16, heads of 64, sequences of 1024"
NAMES = ("flash", "efficient", "cudnn", "math")


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """A process that has chosen nothing."""
    monkeypatch.setattr(sdpa_choice, "_chosen", {})
    monkeypatch.delenv(CHOICES, raising=False)


def chosen(name: str, kind: str = KIND) -> str:
    return choose_once(kind, "cuda", NAMES, lambda: name)


def test_sdpa_choice_is_made_once_in_a_process():
    """Another clock, another answer: of one kind the first counts; another kind has its own."""
    assert [chosen(name) for name in ("cudnn", "flash")] == ["cudnn", "cudnn"]
    assert chosen("flash", KIND.replace("1024", "2048")) == "flash"


def test_sdpa_choice_is_one_for_all_processes_of_a_sweep(tmp_path, monkeypatch):
    """Of processes that choose at once, too; and for a process that comes later."""
    monkeypatch.setenv(CHOICES, str(tmp_path / "cache/attention"))

    def process(name: str) -> Callable[[], None]:
        return lambda: (tmp_path / name).write_text(chosen(name)) and None

    children = [fork(process(name), tmp_path / f"{name}.log") for name in NAMES]
    assert [child.wait() for child in children] == [0] * len(NAMES)
    answers = {(tmp_path / name).read_text() for name in NAMES}
    assert len(answers) == 1 and answers <= set(NAMES)
    assert [chosen(name) for name in NAMES] == [*answers] * len(NAMES)
    (file,) = (tmp_path / "cache/attention").iterdir()
    assert json.loads(file.read_text()) == {"kind": KIND, "sdpa": answers.pop()}


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"sdpa": "other"}'])
def test_sdpa_choice_that_cannot_be_read_is_made_again(tmp_path, monkeypatch, content):
    monkeypatch.setenv(CHOICES, str(tmp_path))
    chosen("cudnn")
    (file,) = tmp_path.iterdir()
    file.write_text(content)
    sdpa_choice._chosen.clear()
    assert chosen("flash") == "flash"


def test_sdpa_choice_needs_no_folder_that_can_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CHOICES, str(tmp_path / "file/attention"))
    assert chosen("cudnn") == "cudnn"


def test_sdpa_choice_of_a_sweep_decides_for_a_run(tmp_path, monkeypatch):
    """Unless the run asks for another, and only where a clock would choose."""
    monkeypatch.setenv(CHOICES, str(tmp_path / "attention"))
    config, asked = tiny_config(tmp_path), tiny_config(tmp_path, runtime__sdpa="flash")
    assert decide(config, alone(), None).sdpa == "flash"
    assert not (tmp_path / "attention").exists()
    monkeypatch.setattr(sdpa_choice, "TIMED_ON", ("cpu",))
    assert decide(config, alone(), None).sdpa == "flash"
    (file,) = (tmp_path / "attention").iterdir()
    file.write_text(file.read_text().replace("flash", "math"))
    sdpa_choice._chosen.clear()
    assert decide(config, alone(), None).sdpa == "math"
    assert decide(asked, alone(), None).sdpa == "flash"
    of_its_own = tiny_config(tmp_path, precision="bf16")
    assert decide(of_its_own, alone(), None).sdpa == "flash"
