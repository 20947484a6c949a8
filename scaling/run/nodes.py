"""A sweep under torchrun: one worker a node, one planner; the sweep's folder is all they share."""

import os
import time
from pathlib import Path

from configs.errors import BadInput
from scaling.run import store


def works_here() -> bool:
    """Whether this process is its node's worker; torchrun's other ranks have nothing to do."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def plans_here() -> bool:
    """Whether this process makes plan.json, and stays to the end to fit: global rank 0."""
    return os.environ.get("RANK", "0") == "0"


def shares_nodes() -> bool:
    """Whether torchrun started this: then no node leaves before the last trial has ended."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def await_plan(out: Path, limit_s: float, poll_s: float = 0.5) -> None:
    """Wait until rank 0, on another node, has made plan.json; BadInput after `limit_s`."""
    until = time.monotonic() + limit_s
    while not (out / store.PLAN).exists():
        if time.monotonic() > until:
            raise BadInput(
                f"{out / store.PLAN}: not there after {limit_s:g} s (runtime.timeout_s); does rank "
                "0 run, and is out on a file system that all nodes share?"
            )
        time.sleep(poll_s)
