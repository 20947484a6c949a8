"""What a GPU shows of this project, in eight minutes and without a network.

python -m benchmarks.gpu_check                            all parts, to runs/gpu_check
python -m benchmarks.gpu_check out=DIR seconds=300 parts=[ceilings,tests]
python -m benchmarks.gpu_check peer=nanoGPT               its step beside ours, in turn
next: docs/gpu.md

What the device can do; the tests for a GPU; a run killed and continued; a sweep; GPT-2 small's step
in several ways beside nanoGPT's, and in the trainer; small models in eager mode, compiled and as a
CUDA graph; trials packed on one device. Ends with a table and three files: log.txt, all.json with
every figure, profile.txt. Never takes longer than `seconds`. Without a GPU sizes are a toy's, to
try the check itself.

Needs torch, numpy, scipy, pyarrow, rich, pytest, and hydra-core, omegaconf and antlr4, which on a
machine without a package index can be brought as wheels:
    pip install --no-index --no-deps --target site *.whl; export PYTHONPATH=$PWD/site
"""

import common.start  # noqa: F401

# isort: split
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.gpu_check.context import Context
from benchmarks.gpu_check.part import BODIES
from benchmarks.gpu_check.processes import Part
from benchmarks.gpu_check.report import write_report
from benchmarks.gpu_check.schedule import run_parts
from benchmarks.peer import load_peer
from common.errors import ExitStatus, require
from configs.cli import exit_status
from configs.help import asks_for_help, help_of_words
from configs.key_value import read_key_values

# Seconds that a part has the device to itself, at most, in the order of measuring; of 480.
MEASURED_S = {"variants": 60.0, "trainer": 30.0, "small_models": 40.0, "packing": 60.0}
FIRST = "ceilings"


@dataclass(frozen=True)
class Words:
    """Where to, how long and what.

    out      folder of the three files
    seconds  that it takes at most
    parts    which; all: every one
    device   cuda or cpu; auto: a GPU where there is one
    peer     a checkout of karpathy/nanoGPT, or none
    """

    out: str = "runs/gpu_check"
    seconds: float = 480.0
    parts: tuple[str, ...] = tuple(BODIES)
    device: str = "auto"
    peer: str | None = None

    def __post_init__(self) -> None:
        require(self.seconds >= 10, "seconds", self.seconds, "at least 10")
        for name in self.parts:
            require(name in BODIES, "parts", name, f"of {', '.join(BODIES)}")
        expected = "auto, cuda or cpu"
        require(self.device in ("auto", "cuda", "cpu"), "device", self.device, expected)
        is_there = self.device != "cuda" or torch.cuda.is_available()
        require(is_there, "device", "cuda", "cpu: torch sees no GPU here")


def main(words: Sequence[str]) -> ExitStatus:
    """Check and report; NO_RESULT where a part failed or had to be stopped."""
    if asks_for_help(words):
        print(help_of_words(__doc__ or "", Words))
        return ExitStatus.DONE
    asked = read_key_values(words, Words)
    started = time.time()
    device = asked.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    peer = str(Path(asked.peer).absolute()) if asked.peer else None
    if peer:
        load_peer(Path(peer))  # refused before anything runs

    def say(text: str) -> None:
        print(f"[{time.time() - started:.0f} s] {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="gpu_check-", ignore_cleanup_errors=True) as work:
        context = Context(work, device, device == "cpu", started, asked.seconds, peer)
        context.save()
        parts = [_part(name, work) for name in BODIES if name in asked.parts]
        ended = run_parts(parts, context, say)
        print(f"\n{write_report(context, ended, Path(asked.out))}")
    say(f"log.txt, all.json and profile.txt in {asked.out}")
    sound = all(outcome == "done" for outcome in ended.values())
    return ExitStatus.DONE if sound else ExitStatus.NO_RESULT


def _part(name: str, work: str) -> Part:
    words = ("-m", "benchmarks.gpu_check.part", work, name, str(os.getpid()))
    return Part(name, words, MEASURED_S.get(name, 0.0), name == FIRST)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
