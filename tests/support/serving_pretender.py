"""What a rank of a served process runs in tests: a trial that pretends, by its config's seed."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from scaling.run.workers.processes import CRASHED, FAILED, RECORDED, STOPPED, Task, serve


def run(task: Task) -> int:
    """Note who ran what, print what must not be taken for a reply, and end as the seed says."""
    seed, rank = task.config["seed"], os.environ["RANK"]
    folder = Path(task.folder)
    with (folder / f"rank{rank}").open("a") as file:
        print(os.getpid(), seed, os.environ["WORLD_SIZE"], os.environ["MASTER_PORT"], file=file)
    print("75\n0")
    if seed == 9 and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    if seed in (9, 8):
        time.sleep(60)
    return {0: RECORDED, 1: FAILED, 2: STOPPED, 3: CRASHED}[seed]


if __name__ == "__main__":
    serve(run, owner=int(sys.argv[1]))
