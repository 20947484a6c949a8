"""Seconds and memory of fit.py on a million curve rows, as CSV, JSON lines and Parquet.

    python -m benchmarks.curves [ROWS]

A hundred runs on Besiroglu's surface (25 sizes, four horizons, cosine, 0.01 nats of noise a row),
with the 14 columns of a table as people keep it. The table is written to a temporary folder.
"""

import common.start  # noqa: F401

# isort: split
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.csv
from pyarrow import parquet

from benchmarks.timing import Cost, cost_of, parser
from common.errors import ExitStatus
from configs.cli import exit_status
from scaling.fit.laws import PUBLISHED

ROWS = 1_000_000


def curves_table(rows: int) -> pyarrow.Table:
    """The curves of about so many rows in all."""
    runs = [(n, ratio) for n in np.geomspace(5e7, 3e9, 25) for ratio in (5, 10, 20, 40)]
    steps = rows // len(runs)
    index = np.repeat(np.arange(len(runs)), steps)
    size, ratio = np.array(runs)[index].T
    step = np.tile(np.arange(1, steps + 1), len(runs))
    tokens = size * ratio * step / steps
    rate = 0.55 + 0.45 * np.cos(np.pi * step / steps)
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(index))
    loss = PUBLISHED["besiroglu"].predict_loss(size, tokens) + 0.05 * rate + noise
    columns = {
        "run_id": [f"run-{run:03d}" for run in index],
        "role": ["train"] * len(index),
        "size": [f"{n / 1e6:.0f}M" for n in size],
        "params": size.round().astype(int),
        "flops_per_token": (6 * size).round().astype(int),
        "step": 10 * step,
        "tokens": tokens,
        "flops": 6 * size * tokens,
        "loss": loss,
        "loss_pile": 0.9 * loss,
        "learning_rate": 1e-3 * rate,
        "learning_rate_peak": np.full(len(index), 0.001),
        "batch_size_tokens": np.full(len(index), 524_288),
        "is_final": (step == steps).astype(int),
    }
    return pyarrow.table(columns)


def write_table(table: pyarrow.Table, path: Path) -> None:
    """The table as CSV, JSON lines or Parquet, by the ending of `path`."""
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    elif path.suffix == ".parquet":
        parquet.write_table(table, path)
    else:
        with path.open("w") as file:
            for batch in table.to_batches(max_chunksize=10_000):
                file.writelines(json.dumps(row) + "\n" for row in batch.to_pylist())


def fit_cost(path: Path, out: Path) -> Cost:
    """What fit.py takes of a table, whether its laws stand or not."""
    return cost_of("fit.py", f"runs={path}", f"out={out}", allowed=(0, 4))


def main(words: Sequence[str]) -> int:
    """Measure tables of as many rows as are asked for."""
    arguments = parser("curves", __doc__)
    arguments.add_argument("rows", nargs="?", type=int, default=ROWS, help=f"default: {ROWS:,}")
    curves(arguments.parse_args(words).rows)
    return ExitStatus.DONE


def curves(rows: int = ROWS) -> None:
    """Write the tables, fit each in a process of its own, and print what it took."""
    table = curves_table(rows)
    with tempfile.TemporaryDirectory() as name:
        for kind in ("csv", "jsonl", "parquet"):
            path = Path(name, f"curves.{kind}")
            write_table(table, path)
            cost = fit_cost(path, Path(name, "fit"))
            size = path.stat().st_size / 1e6
            print(f"{rows} curve rows, {size:.0f} MB of {kind}: {cost}", flush=True)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
