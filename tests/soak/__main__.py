"""The full run of docs/reliability.md: `make soak`.

It is divided into units of a few seconds; each runs in a process of its own and leaves a line in
`units.jsonl`, so that a run that was stopped goes on where it was. At the end the counts stand in
docs/reliability.json, and as a table in docs/reliability.md.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from tests.soak.results import Done, publish, read_done, table, total
from tests.soak.units import Unit, units
from tests.support.kill_harness import Child, fork


def main(argv: Sequence[str] | None = None) -> int:
    """Do what is left of the run; 0 where nothing was lost, different, silent, slow or a defect."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"), help="where its lines lie")
    parser.add_argument("--share", type=float, default=1.0, help="of the full run's counts")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args(argv)
    torch.set_num_threads(1)
    asked.out.mkdir(parents=True, exist_ok=True)
    lines = asked.out / "units.jsonl"
    whole = units(asked.share)
    names = {unit.name for unit in whole}
    left = [unit for unit in whole if unit.name not in {done.unit for done in read_done(lines)}]
    random.Random(0).shuffle(left)  # an estimate of the rest is right at any time
    start, n_left = time.monotonic(), len(left)
    running: dict[int, tuple[Unit, Child]] = {}
    failed = 0
    while left or running:
        while left and len(running) < asked.workers:
            unit = left.pop()
            child = fork(lambda unit=unit: do(unit, lines), asked.out / f"{unit.name}.log")
            running[child.pid] = unit, child
        pid, status = os.wait()
        unit, child = running.pop(pid)
        failed += status != 0
        ended = n_left - len(left) - len(running)
        said = f"{unit.name}: exited with {os.waitstatus_to_exitcode(status)}, see {child.log}"
        rest_s = (time.monotonic() - start) * (n_left - ended) / ended
        print(
            f"{ended}/{n_left} {said if status else unit.name}, {rest_s / 60:.0f} min left",
            flush=True,
        )
    done = [one for one in read_done(lines) if one.unit in names]
    print(table(total(done)))
    if asked.share == 1 and not failed:
        publish(done)
    faults = sum(row.faults for row in total(done).values())
    return 0 if not faults and not failed else 1


def do(unit: Unit, lines: Path) -> None:
    """One unit, in its own process and folder, and its line."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        counts = unit.run(Path(folder))
    done = Done(unit.name, unit.part, dict(counts), time.monotonic() - start, time.time())
    descriptor = os.open(lines, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, json.dumps(done.__dict__).encode() + b"\n")  # one write, so never torn
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
