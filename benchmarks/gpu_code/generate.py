"""Generated code by its reports: the child process is started, and its answers are read."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.timing import ROOT
from common.errors import BadInput
from configs.schema import build
from model.config import GPTConfig

TORCH = "2.13"  # whose private names the child uses


@dataclass(frozen=True)
class Launch:
    """One call of a kernel or of a library: `kind` is triton, product, attention or other.

    Bytes read and written; products and attention have their FLOP, of attention the causal half.
    """

    name: str
    kind: str
    read: int
    written: int
    flops: int = 0


@dataclass(frozen=True)
class Program:
    """The launches of a forward or backward program in order, and its memory in bytes.

    kept, kept_of_weights   what it returns: that depends on the tokens, and that does not. Of a
                            forward program, what is kept for the backward pass, beside a loss;
                            weights in bf16 do not depend on tokens
    peak, peak_without_results   the most that lives at once beside weights and tokens: of what it
                                 allocates and, until it frees that, of what it was given. The
                                 results of a backward program are the weights' gradients
    """

    launches: tuple[Launch, ...]
    kept: int
    kept_of_weights: int
    peak: int
    peak_without_results: int


@dataclass(frozen=True)
class Job:
    """A function `module:name` that returns a `Built` (built.py), and its arguments."""

    build: str
    arguments: Mapping[str, Any]


def training_step(model: GPTConfig, sequences: int, sdpa: str) -> Job:
    """A micro-batch of the product: loss and gradients in bf16 on an H200."""
    arguments = {"model": asdict(model), "sequences": sequences, "sdpa": sdpa}
    return Job("benchmarks.gpu_code.training_step:training_step", arguments)


def versions() -> dict[str, str]:
    """Those that generate the code; BadInput where they cannot."""
    found = version("torch")
    if found.split("+")[0].rsplit(".", 1)[0] != TORCH:
        raise BadInput(f"gpu_code: found torch {found}, expected {TORCH}: it uses private names")
    if importlib.util.find_spec("triton") is None:
        raise BadInput("gpu_code: found no triton, expected it: pip install -e '.[gpu-code]'")
    return {"torch": found.split("+")[0], "triton": version("triton")}


def generate(jobs: Sequence[Job], sources: Path | None = None) -> list[list[Program]]:
    """The programs of each job, forward and backward; their text goes into the folder `sources`."""
    versions()
    with tempfile.TemporaryDirectory(prefix="gpu-code-") as name:
        folder = Path(name)
        (folder / "jobs").write_text(json.dumps([asdict(job) for job in jobs]))
        files = [folder / "jobs", folder / "reports", *([sources] if sources else [])]
        subprocess.run(
            [sys.executable, "-W", "ignore", "-m", "benchmarks.gpu_code.child", *map(str, files)],
            cwd=ROOT,
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "TORCHINDUCTOR_CACHE_DIR": name},
            check=True,
        )
        reports = json.loads((folder / "reports").read_text())
    return [[build(Program, program) for program in programs] for programs in reports]
