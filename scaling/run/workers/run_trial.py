"""The work of a process that trains one trial, which may be one rank of several.

This is the one module of `scaling` that calls the trainer. As a script it serves tasks
(`processes.ServingProcesses`).
"""

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from pathlib import Path

from common.errors import BadInput, StopRequested, is_disk_full
from configs.schema import build
from scaling.run.workers.processes import (
    CRASHED,
    DEVICE_FAULT,
    DISK_FULL,
    FAILED,
    RECORDED,
    STOPPED,
    Task,
    serve,
)
from training.config import TrainConfig
from training.tracking import Labels, tracked
from training.trial.attempt import Attempt
from training.trial.record import blank_record, publish
from training.trial.running_code import running_code


def warm_up() -> None:
    """Import what trials need, so that they start in milliseconds; no GPU is opened."""
    # The first network and the first optimizer step of a process import torch._dynamo, compiled
    # or not: 800 modules, of which every child would otherwise pay for its own.
    import torch._dynamo  # noqa: F401

    import training.loop  # noqa: F401

    running_code()  # asks git, which takes as long as some steps
    gc.collect()
    gc.freeze()  # a child's collector shall not touch, and so copy, what it shares with others


def run_task(task: Task) -> int:
    """Train one trial in this process, which may be one rank of several, and publish its record.

    An exception is the trial's end: its traceback goes to log.txt, and one line is the reason in
    the record. It is a crash, to be tried again a few times, if it is the system's (OSError), and
    among several ranks, since most of them see no more of it than that another is gone, and where
    the device failed or is not there any more. (A process that is killed leaves no record either;
    its owner judges.) A full disk is never an end.
    """
    attempt = Attempt(Path(task.folder), task.attempt)
    try:
        with output_to(attempt.folder / "log.txt"):
            return _train(task, attempt)
    except OSError as error:  # of the log, or of the record itself
        return DISK_FULL if is_disk_full(error) else CRASHED


def _train(task: Task, attempt: Attempt) -> int:
    # Imported here: the owner of serving processes needs no torch.
    import torch

    from training.dataset import open_data
    from training.device.choose import NoSuchGPU
    from training.device.hardware_fault import is_hardware_fault
    from training.loop import train_and_publish
    from training.ranks.distributed import joined
    from training.ranks.failures import watchdog

    config = build(TrainConfig, task.config)
    if torch.cuda.is_initialized():  # by the trial before, whose peak is not this one's
        torch.cuda.reset_peak_memory_stats()
    try:
        with joined(config.runtime) as ranks:
            labels = Labels(task.group, task.tags)
            tracking = tracked(attempt, config, labels) if ranks.is_main else nullcontext()
            # What it says is the last line of the log, which the owner reads; no record, as above.
            with watchdog(attempt, ranks, lambda text: None), tracking:
                folder = Path(task.data) if task.data else None
                data = open_data(config, ranks, folder=folder)
                start = Path(task.start) if task.start else None
                record = train_and_publish(config, attempt, ranks, data, quiet=True, start=start)
    except StopRequested as request:
        print(f"stopped: {request}")
        return STOPPED
    except Exception as error:
        is_full = is_disk_full(error)
        traceback.print_exc()
        # A disk that was full, or away, may be back: a crash has attempts left, a record none.
        if is_full:
            return DISK_FULL
        if isinstance(error, OSError):
            return CRASHED
        # The owner of this process saw the GPU: if it is not there now it is no mistake of a user.
        if is_hardware_fault(error) or isinstance(error, NoSuchGPU):
            print(f"{type(error).__name__}: {error}".partition("\n")[0])  # the hints end its text
            return DEVICE_FAULT
        if os.environ["WORLD_SIZE"] != "1" and not isinstance(error, BadInput):
            return CRASHED
        kind = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
        reason = " ".join(f"{kind}{error}".split())
        record = blank_record(config, attempt.number, "failed", reason)
        publish(attempt, record)
    return RECORDED if record.status in ("done", "diverged") else FAILED


@contextmanager
def output_to(log: Path) -> Iterator[None]:
    """Send standard output and error, also of libraries below Python, to the end of a file."""
    kept = [os.dup(1), os.dup(2)]
    # Streams of their own, too: sys.stdout may be a display's, which the fork has copied.
    opened = log.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")
    with opened as file, redirect_stdout(file), redirect_stderr(file):
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield
        finally:
            for number, descriptor in enumerate(kept, 1):
                os.dup2(descriptor, number)
                os.close(descriptor)


if __name__ == "__main__":
    serve(run_task, owner=int(sys.argv[1]), make_ready=warm_up)
