"""Seconds and memory of fit.py on a million curve rows, as CSV, JSON lines and Parquet.

    python -m benchmarks.curves [rows]

A hundred runs on Besiroglu's surface (25 sizes, four horizons, cosine, 0.01 nats of noise a row),
with the 14 columns of a table as people keep it. The table is written to a temporary folder.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.csv
from pyarrow import parquet

from scaling.fit.laws import PUBLISHED

ROWS = 1_000_000
HEADER = (
    "run_id,role,size,params,flops_per_token,step,tokens,flops,loss,loss_pile,learning_rate,"
    "learning_rate_peak,batch_size_tokens,is_final\n"
)


def write_curves(path: Path, rows: int) -> None:
    """A curves table of about so many rows."""
    rng, surface = np.random.default_rng(0), PUBLISHED["besiroglu"]
    runs = [(n, ratio) for n in np.geomspace(5e7, 3e9, 25).tolist() for ratio in (5, 10, 20, 40)]
    steps = rows // len(runs)
    with path.open("w") as file:
        file.write(HEADER)
        for index, (n, ratio) in enumerate(runs):
            tokens = np.linspace(n * ratio / steps, n * ratio, steps)
            lr = 0.55 + 0.45 * np.cos(np.pi * tokens / tokens[-1])
            loss = surface.predict_loss(n, tokens) + 0.05 * lr + 0.01 * rng.standard_normal(steps)
            numbers = zip(tokens.tolist(), loss.tolist(), lr.tolist(), strict=True)
            file.writelines(
                f"run-{index:03d},train,{n / 1e6:.0f}M,{n:.0f},{6 * n:.0f},{10 * step},{d!r},"
                f"{6 * n * d!r},{y!r},{0.9 * y!r},{1e-3 * rate!r},0.001,524288,"
                f"{int(step == steps)}\n"
                for step, (d, y, rate) in enumerate(numbers, 1)
            )


def write_table(folder: Path, kind: str, rows: int) -> Path:
    """The same curves as CSV, JSON lines or Parquet."""
    path = folder / f"curves.{kind}"
    source = folder / "curves.csv"
    if not source.exists():
        write_curves(source, rows)
    if kind == "parquet":
        parquet.write_table(pyarrow.csv.read_csv(source), path)
    elif kind == "jsonl":
        texts = ("run_id", "role", "size")
        with source.open() as lines, path.open("w") as file:
            for row in csv.DictReader(lines):
                cells = {k: v if k in texts else json.loads(v) for k, v in row.items()}
                file.write(json.dumps(cells) + "\n")
    return path


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the clock and of the processor, and its peak in MB."""

    wall_s: float
    cpu_s: float
    peak_mb: float

    def __str__(self) -> str:
        return f"{self.wall_s:.1f} s, {self.cpu_s:.1f} s of CPU, {self.peak_mb:.0f} MB at the most"


def cost_of(*arguments: str) -> Cost:
    """The cost of fit.py with these arguments, in a process of its own."""
    begin = time.perf_counter()
    command = [sys.executable, "fit.py", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 4):
        raise RuntimeError(f"fit.py ended with status {process.returncode}")
    seconds = time.perf_counter() - begin
    return Cost(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def curves(rows: int = ROWS) -> None:
    """Write the tables, fit each in a process of its own, and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("csv", "jsonl", "parquet"):
            path = write_table(Path(folder), kind, rows)
            size = path.stat().st_size / 1e6
            cost = cost_of(f"runs={path}", f"out={folder}/fit")
            print(f"{rows} curve rows, {size:.0f} MB of {kind}: {cost}", flush=True)


if __name__ == "__main__":
    curves(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
