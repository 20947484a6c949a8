"""train.py for torchrun, one rank of which has a fault before a step: FAULT=rank:step:how."""

import os
import signal
import sys
import time
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

import train
import training.step

rank, step, how = os.environ["FAULT"].split(":")
begin_step = training.step.begin_step


def faulty(run, *arguments, **options):
    if (run.ranks.rank, run.step) == (int(rank), int(step)):
        Path(os.environ["FAULT_TIME"]).write_text(str(time.time()))
        if how == "raise":
            raise ValueError("something strange")
        if how == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.Signals[how])
    return begin_step(run, *arguments, **options)


if __name__ == "__main__":
    training.step.begin_step = faulty
    sys.exit(record(train.entry)())
