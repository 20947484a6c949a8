"""The process that trains one trial: what a slot's child, or each of its ranks, executes.

This is the one module of `scaling` that calls the trainer. As a script it serves a `ServedSlot`.
"""

import gc
import os
import sys
import traceback
from contextlib import nullcontext, suppress
from pathlib import Path

from configs.errors import BadInput, StopRequested
from configs.load import build
from scaling.run.slots import DIED, RECORDED, SPOILT, STOPPED, Task, output_to, serve
from training.attempt import Attempt
from training.config import TrainConfig
from training.record import blank_record, publish, running_code
from training.tracking import Labels, tracked


def warm_up() -> None:
    """Import what trials need, so that children forked from here start in milliseconds."""
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
    the record. It is a death, to be tried again a few times, if it is the system's (OSError), and
    among several ranks, since most of them see no more of it than that another is gone. (A process
    that is killed leaves no record either; its owner judges.)
    """
    # Imported here: who only owns served slots needs no torch.
    import torch

    from training.distributed import joined
    from training.loop import train_and_publish

    attempt = Attempt(Path(task.folder), task.attempt)
    config = build(TrainConfig, task.config)
    with suppress(OSError), output_to(attempt.folder / "log.txt"):  # a disk too full even for that
        if torch.cuda.is_initialized():  # by the trial before, whose peak is not this one's
            torch.cuda.reset_peak_memory_stats()
        try:
            with joined(config.runtime) as ranks:
                labels = Labels(task.group, task.tags)
                with tracked(attempt, config, labels) if ranks.is_main else nullcontext():
                    record = train_and_publish(config, attempt, ranks, quiet=True)
        except StopRequested as request:
            print(f"stopped: {request}")
            return STOPPED
        except Exception as error:
            traceback.print_exc()
            # A disk that was full, or away, may be back: a death has attempts left, a record none.
            if isinstance(error, OSError):
                return DIED
            if os.environ["WORLD_SIZE"] != "1" and not isinstance(error, BadInput):
                return DIED
            kind = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
            reason = " ".join(f"{kind}{error}".split())
            record = blank_record(config, attempt.number, "failed", reason)
            publish(attempt, record)
        return RECORDED if record.status in ("done", "diverged") else SPOILT
    return DIED


if __name__ == "__main__":
    serve(run_task, owner=int(sys.argv[1]))
