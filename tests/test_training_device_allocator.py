"""Memory of a GPU is taken in segments that grow, from the start, unless a user says otherwise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.device.allocator import VARIABLES, let_segments_grow

LINUX = "Linux-6.8.0-x86_64-with-glibc2.39"
GROWING = {"PYTORCH_ALLOC_CONF": "expandable_segments:True"}
ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    ("system", "before", "after"),
    [
        (LINUX, {}, GROWING),
        (LINUX, {"PYTORCH_ALLOC_CONF": ""}, {"PYTORCH_ALLOC_CONF": ""}),
        (LINUX, {"PYTORCH_CUDA_ALLOC_CONF": "x"}, {"PYTORCH_CUDA_ALLOC_CONF": "x"}),
        ("Linux-5.15.153.1-microsoft-standard-WSL2-x86_64", {}, {}),
        ("macOS-15.1-arm64-arm-64bit", {}, {}),
    ],
)
def test_allocator_lets_segments_grow_where_nobody_says_otherwise(system, before, after):
    let_segments_grow(environment := dict(before), system)
    assert environment == after


@pytest.mark.skipif("microsoft" in os.uname().release, reason="not inside of Windows")
@pytest.mark.parametrize("module", ["train", "scaling.run.workers.run_trial"])
def test_allocator_is_told_before_torch_starts(module):
    """In a process of train.py and in one of a sweep's; the user's words reach torch unchanged."""
    script = (
        "import os, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.startswith('torch.'):\n"
        f"            print(*map(os.environ.get, {VARIABLES}))\n"
        "            sys.exit()\n"
        "sys.meta_path.insert(0, Finder())\n"
        f"import {module}\n"
        "import torch\n"
    )
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    own = {"PYTORCH_CUDA_ALLOC_CONF": "max_split_size_mb:512"}
    for asked, expected in (
        ({}, "None expandable_segments:True\n"),
        (own, "max_split_size_mb:512 None\n"),
    ):
        found = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=environment | asked,
            capture_output=True,
            text=True,
        )
        assert (found.returncode, found.stdout) == (0, expected), found.stderr
