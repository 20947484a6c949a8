"""What a run costs beside its steps: reading batches, checkpoints, and the way to the first step.

    python -m benchmarks.run_costs                 cpu-a, cpu-b and the start of experiment=smoke
    python -m benchmarks.run_costs 124m --steps 3  another of benchmarks/cases.py

On the device there is, one thread, random ids in shards on the disk. A batch is read as often as a
step is taken and timed by itself; training reads it while a GPU works. A checkpoint holds up the
training for as long as it takes, or where a thread writes it for as long as the copy takes.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES, Case
from benchmarks.measure import OPTIMIZER
from configs.load import build, compose_config
from data.config import DataConfig
from training import checkpoint, saving
from training.attempt import Attempt, Watch, claim
from training.config import EvaluationConfig, RuntimeConfig, ScheduleConfig, TrainConfig
from training.dataset import open_data
from training.distributed import Ranks, choose_device
from training.hardware import decide, device_name
from training.journal import Journal
from training.run import Run, build_run
from training.step import train_step

ROOT = Path(__file__).resolve().parent.parent
INTERVAL_S = 60.0  # the default


def main(words: Sequence[str]) -> None:
    """Measure each model, then the start."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.run_costs",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="*", choices=[*CASES, []], metavar="MODEL")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--starts", type=int, default=5, help="beside the one that prepares data")
    options = parser.parse_args(words)
    for name in options.models or ("cpu-a", "cpu-b"):
        with tempfile.TemporaryDirectory(prefix="run-costs-") as folder:
            print(f"{name}: {costs(CASES[name], Path(folder), options.steps)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="run-costs-") as folder:
        first, *others = (first_step_s(Path(folder), index) for index in range(options.starts + 1))
    print(f"start to first step: {spread(others)} s; data prepared first {first:.1f} s")


def costs(case: Case, folder: Path, steps: int) -> str:
    """One line for one model."""
    config = write_config(case, folder, steps)
    ranks = Ranks(0, 1, 1, choose_device("auto"), timeout_s=600)
    run = build_run(config, ranks, decide(config, ranks, None), open_data(config, ranks))
    attempt = claim(folder / "trial", Watch())
    assert isinstance(attempt, Attempt)
    step_s, batch_s = [], []
    for _ in range(steps):
        step_s.append(timed(lambda: train_step(run)))
        batch_s.append(timed(lambda: run.data.loader.batch(run.step, case.batch_sequences)))
    with Journal(attempt, steps, is_main=True, quiet=True) as journal:
        at_once = [held_up(run, attempt, journal, False) for _ in range(5)]
        behind = [held_up(run, attempt, journal, True) for _ in range(5)]
    step, batch = statistics.median(step_s), statistics.median(batch_s)
    megabytes = checkpoint.tensor_bytes(run.state()) / 1e6
    return (
        f"{device_name(ranks.device)}; step {1e3 * step:.1f} ms, reading its batch "
        f"{1e3 * batch:.2f} ms ({batch / step:.2%}); checkpoint of {megabytes:,.0f} MB holds up "
        f"{spread(at_once)} s at once ({statistics.median(at_once) / INTERVAL_S:.2%} of 60 s), "
        f"{spread(behind)} s by a thread ({statistics.median(behind) / INTERVAL_S:.2%})"
    )


def held_up(run: Run, attempt: Attempt, journal: Journal, in_background: bool) -> float:
    """Seconds for which training stands still; the disk is waited for outside of them."""
    saving.BACKGROUND_BYTES = 0 if in_background else 2**60
    run.step += 1  # no step can be saved twice
    with saving.Saver(run, attempt, journal) as saver:
        return timed(saver.save_if_due)


def first_step_s(folder: Path, index: int) -> float:
    """Seconds from the command to the first row of metrics."""
    out = folder / f"run{index}"
    words = ["experiment=smoke", f"out={out}", f"runtime.data_dir={folder / 'data'}"]
    command = [sys.executable, str(ROOT / "train.py"), *words, "runtime.threads=1"]
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        rows = out / "attempt-001" / "metrics.jsonl"
        while not (rows.exists() and rows.stat().st_size) and process.poll() is None:
            time.sleep(0.005)
        seconds = time.perf_counter() - start
        process.kill()
    return seconds


def write_config(case: Case, folder: Path, steps: int) -> TrainConfig:
    """A run of `case` on shards of random ids, which are written."""
    tokenizer, vocab_size = ("bytes", 256) if case.config.vocab_size == 256 else ("gpt2", 50257)
    ids = np.random.default_rng(0)
    block = case.config.block_size
    for name, windows in (("train", case.batch_sequences * (steps + 2)), ("val", 2)):
        tokens = ids.integers(vocab_size, size=windows * block + 1, dtype=np.uint16)
        tokens.tofile(folder / f"{name}.bin")
    batch_tokens = case.batch_sequences * block
    own = {"threads": 1, "checkpoint_every_s": 0.0, "data_dir": str(folder / "prepared")}
    return TrainConfig(
        model=type(case.config)(**{**vars(case.config), "vocab_size": vocab_size}),
        data=DataConfig("shards", str(folder), tokenizer, 0.01, 1.0),  # type: ignore[arg-type]
        optimizer=OPTIMIZER,
        schedule=ScheduleConfig("cosine", batch_tokens * (steps + 1), batch_tokens, 0, 0.1),
        evaluation=EvaluationConfig(block),
        runtime=build(RuntimeConfig, compose_config("train")["runtime"] | own),
        seed=0,
        precision="bf16",
    )


def timed(work: Callable[[], object]) -> float:
    """Seconds of `work`."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(values: Sequence[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


if __name__ == "__main__":
    main(sys.argv[1:])
