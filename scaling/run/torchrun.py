"""A sweep under torchrun: one worker a node, one planner; they share the sweep's folder alone."""

import os
import time
from pathlib import Path

from common.errors import BadInput
from scaling.run import store


def is_worker() -> bool:
    """Whether this process is its node's worker; torchrun's other ranks have nothing to do."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def is_planner() -> bool:
    """Whether this process makes plan.json, and stays to the end to fit: global rank 0."""
    return os.environ.get("RANK", "0") == "0"


def is_under_torchrun() -> bool:
    """Whether torchrun started this: then no node leaves before the last trial has ended."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def ranks_of_node() -> int:
    """Ranks that torchrun started on this node: as many devices, where none are stated."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", 1))


def nodes() -> int:
    """Nodes, each with a worker."""
    return max(1, int(os.environ.get("WORLD_SIZE", 1)) // ranks_of_node())


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
