"""The process in which torch believes in a GPU: it generates what it is told and reports on it.

    python -m benchmarks.gpu_code.child JOBS REPORTS [SOURCES]

JOBS is a JSON list of {"build": "module:function", "arguments": {...}}; the function returns a
`Built` (built.py). REPORTS is written; the programs' text goes into a folder SOURCES.
"""

import importlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.gpu_code.dry_run import dry_runs
from benchmarks.gpu_code.inductor import programs
from benchmarks.gpu_code.pretended_gpu import pretend


def flash(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, **_: Any) -> Tensor:
    """What torch takes for causal attention on a GPU by the kernel of that name."""
    operator = torch.ops.aten._scaled_dot_product_flash_attention
    return operator(q_BHTK, k_BHTK, v_BHTK, 0.0, True)[0]


def cudnn(q_BHTK: Tensor, k_BHTK: Tensor, v_BHTK: Tensor, **_: Any) -> Tensor:
    """As `flash`, by cuDNN's kernel."""
    operator = torch.ops.aten._scaled_dot_product_cudnn_attention
    return operator(q_BHTK, k_BHTK, v_BHTK, None, True, 0.0, True, False)[0]


ATTENTION = {"flash": flash, "cudnn": cudnn}


def main(words: Sequence[str]) -> None:
    """Generate and report."""
    jobs, reports, *sources = map(Path, words)
    pretend()
    found = []
    for number, job in enumerate(json.loads(jobs.read_text())):
        module, name = job["build"].split(":")
        built = getattr(importlib.import_module(module), name)(**job["arguments"])
        made = programs(built.network, built.inputs, built.compiled, ATTENTION[built.sdpa])
        for folder in sources:
            for program, way in zip(made, ("forward", "backward"), strict=False):
                (folder / f"{number}-{way}.py").write_text(program.source)
        torch.compiler.reset()
        found.append([asdict(run) for run in dry_runs(made)])
    reports.write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:])
