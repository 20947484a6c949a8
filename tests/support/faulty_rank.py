"""train.py for torchrun, one rank of which has a fault before a step: FAULT=rank:step:how."""

import os
import signal
import sys
import time
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import record

import train
from training.state import TrainState
from training.step import PendingStep, begin_step

rank, step, how = os.environ["FAULT"].split(":")


def faulty(state: TrainState, stop: bool, save: bool) -> PendingStep:
    """`begin_step`, but for the fault."""
    if (state.ranks.rank, state.step) == (int(rank), int(step)):
        Path(os.environ["FAULT_TIME"]).write_text(str(time.time()))
        if how == "raise":
            raise ValueError("something strange")
        if how == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.Signals[how])
    return begin_step(state, stop, save)


if __name__ == "__main__":
    sys.exit(record(train.entry)(faulty))
