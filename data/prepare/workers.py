"""Processes that read and encode text for this one: spawned, and ended with it.

spawn, not fork: the caller may hold threads that a fork would break.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import TypeVar

# What Python says when a child is ended before it removed its semaphores, as it is meant to be.
_QUIET = "ignore:resource_tracker:UserWarning"
T = TypeVar("T")


def run_in_child(call: Callable[..., T], *arguments: object) -> T:
    """`call(*arguments)` in a process of its own, which has ended when this returns.

    So no library with threads enters a process that forks. Raises what `call` raised.
    """
    with ExitStack() as at_end:
        with _inherited():
            pool = at_end.enter_context(spawn_pool(1))
            at_end.callback(_kill_all_but, set(multiprocessing.active_children()))
            future = pool.submit(call, *arguments)
        return future.result()


def _kill_all_but(others: set[BaseProcess]) -> None:
    """End a child at once: libraries that stream end noisily when they are cut off half-way."""
    for child in set(multiprocessing.active_children()) - others:
        child.kill()


def spawn_pool(workers: int | None) -> ProcessPoolExecutor:
    """A pool whose processes end with this one, which a pool does not see to by itself."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, initializer=_end_with_parent)


@contextmanager
def _inherited() -> Iterator[None]:
    """What a child started in the block takes over, and its own children from it.

    Ctrl-C is blocked, since it is for the caller, who ends the child. The caller's main module is
    hidden: a child would import it again, with torch, to find nothing that it needs.
    """
    main, filters = sys.modules["__main__"], os.environ.get("PYTHONWARNINGS")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        os.environ["PYTHONWARNINGS"] = ",".join(filter(None, [filters, _QUIET]))
        # Now: its start unblocks SIGINT, whatever was blocked before.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        sys.modules["__main__"] = ModuleType("__main__")
        yield
    finally:
        sys.modules["__main__"] = main
        if filters is None:
            os.environ.pop("PYTHONWARNINGS", None)
        else:
            os.environ["PYTHONWARNINGS"] = filters
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
