"""What a served process runs in tests: a trial that is done when a file of its seed's name appears.

It leaves its process id beside it. As a script: `serving_sleeper.py FOLDER OWNER`.
"""

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from configs.schema import build
from scaling.run.workers.processes import RECORDED, Task, serve
from training.config import TrainConfig
from training.trial.attempt import Attempt
from training.trial.record import blank_record, publish

FOLDER = Path(sys.argv[1])


def run(task: Task) -> int:
    """Wait for the file, then publish."""
    attempt, seed = Attempt(Path(task.folder), task.attempt), task.config["seed"]
    (FOLDER / f"pid{seed}").write_text(str(os.getpid()))
    while not (FOLDER / f"go{seed}").exists():
        time.sleep(0.01)
    config = build(TrainConfig, task.config)  # of torch nothing: it would take seconds to import
    publish(attempt, replace(blank_record(config, attempt.number, "done", None), loss=2.5))
    return RECORDED


if __name__ == "__main__":
    serve(run, owner=int(sys.argv[2]))
