"""What a served slot's rank runs in tests: a trial that pretends, by the seed in its config."""

import os
import signal
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scaling.run.slots import DIED, RECORDED, SPOILT, STOPPED, Task, serve


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
    return {0: RECORDED, 1: SPOILT, 2: STOPPED, 3: DIED}[seed]


if __name__ == "__main__":
    serve(run, owner=int(sys.argv[1]))
