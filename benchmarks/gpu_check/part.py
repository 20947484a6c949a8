"""The process of a part: prepares, says so, waits to have the device to itself, and measures.

python -m benchmarks.gpu_check.part WORK NAME OWNER
"""

import common.start  # noqa: F401

# isort: split
import importlib
import signal
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks.gpu_check.context import Context, Findings, read_context
from training.device.process import end_with_parent

ENDED = object()
Body = Callable[[Context, Findings], Iterator[None]]
# By name the module with the function: up to its one `yield` it prepares, then it measures.
BODIES = {
    "ceilings": "ceilings",
    "tests": "commands",
    "kill": "commands",
    "sweep": "commands",
    "variants": "variants",
    "trainer": "trainer",
    "small_models": "small_models",
    "packing": "packing",
}


def body(name: str) -> Body:
    """The function of a part; imported here, since what a part needs takes seconds to import."""
    module = importlib.import_module(f"benchmarks.gpu_check.{BODIES[name]}")
    return getattr(module, name)


def main(work: str, name: str, owner: str) -> int:
    """Run the part NAME of the check in WORK; it does not outlive OWNER, who started it."""
    end_with_parent(signal.SIGKILL, int(owner))
    # As an exception, so that what a part has started ends with it.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    context = read_context(work)
    steps = body(name)(context, Findings(context, name))
    if next(steps, ENDED) is ENDED:  # it has nothing to measure alone
        return 0
    context.path(f"{name}.ready").touch()
    while not context.path(f"{name}.go").exists():
        if context.left() < 0:
            return 1
        time.sleep(0.02)
    next(steps, ENDED)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
