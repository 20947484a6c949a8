"""Seconds and memory of fit.py on a CSV of a million curve rows.

    python -m benchmarks.curves [rows]

A hundred runs on Besiroglu's surface (25 sizes, four horizons, cosine, 0.01 nats of noise a row),
with the 14 columns of a table as people keep it. The table is written to a temporary folder.
"""

import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def main() -> None:
    """Write the table, fit it in a process of its own, and print what it took."""
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "curves.csv"
        write_curves(path, rows)
        size = path.stat().st_size / 1e6
        begin = time.perf_counter()
        command = [sys.executable, "fit.py", f"runs={path}", f"out={folder}/fit"]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{rows} curve rows, {size:.0f} MB of CSV: {seconds:.1f} s, {peak:.0f} MB at the most")


if __name__ == "__main__":
    main()
