"""What a run costs beside its steps: reading batches, checkpoints, and the way to the first step.

    python -m benchmarks.run_costs                 cpu-a, cpu-b and the start of experiment=smoke
    python -m benchmarks.run_costs 124m --steps 3  another of benchmarks/cases.py

and what the check of the data costs at each start, on a shard of 200 MB.

On the device there is, one thread, random ids in shards on the disk. A batch is read as often as a
step is taken and timed by itself; training reads it while a GPU works. A checkpoint holds up the
training for as long as it takes, or where a thread writes it for as long as the copy takes.
"""

import common.start  # noqa: F401

# isort: split
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.cases import CASES, Case
from benchmarks.measure import OPTIMIZER
from benchmarks.timing import ROOT, parser, seconds, spread
from common.errors import ExitStatus
from configs.cli import exit_status
from configs.load import compose_config
from configs.schema import build
from data.config import DataConfig
from data.manifest import read_manifest
from data.prepare import prepare
from data.verification import check_shards
from training import checkpointer
from training.config import EvaluationConfig, RuntimeConfig, ScheduleConfig, TrainConfig
from training.dataset import open_data
from training.environment import decide, device_name
from training.ranks.distributed import Ranks, choose_device
from training.state import TrainState, build_state
from training.step import begin_step
from training.trial import checkpoint
from training.trial.attempt import Attempt, Watch, claim
from training.trial.logger import MetricsLogger

INTERVAL_S = 60.0  # the default


def main(words: Sequence[str]) -> int:
    """Measure each model, then the start."""
    arguments = parser("run_costs", __doc__)
    add = arguments.add_argument
    add("models", nargs="*", choices=[*CASES, []], metavar="MODEL")
    add("--steps", type=int, default=30)
    add("--starts", type=int, default=5, help="beside the one that prepares data")
    add("--shard-tokens", type=int, default=99_999_488, help="of the shard that is checked")
    options = arguments.parse_args(words)
    for name in options.models or ("cpu-a", "cpu-b"):
        with tempfile.TemporaryDirectory(prefix="run-costs-") as folder:
            print(f"{name}: {costs(CASES[name], Path(folder), options.steps)}", flush=True)
    with tempfile.TemporaryDirectory(prefix="run-costs-") as folder:
        first, *others = (first_step_s(Path(folder), index) for index in range(options.starts + 1))
    print(f"start to first step: {spread(others)} s; data prepared first {first:.1f} s")
    with tempfile.TemporaryDirectory(prefix="run-costs-") as folder:
        print(checking(Path(folder), options.shard_tokens))
    return ExitStatus.DONE


def costs(case: Case, folder: Path, steps: int) -> str:
    """One line for one model."""
    config = write_config(case, folder, steps)
    ranks = Ranks(0, 1, 1, choose_device("auto"), timeout_s=600)
    state = build_state(config, ranks, decide(config, ranks, None), open_data(config, ranks))
    attempt = claim(folder / "trial", Watch())
    assert isinstance(attempt, Attempt)
    step_s, batch_s = [], []
    for _ in range(steps):
        step_s.append(seconds(lambda: begin_step(state).result()))
        batch_s.append(
            seconds(lambda: state.data.loader.batch_windows(state.step, case.batch_sequences))
        )
    with MetricsLogger(attempt, steps, is_main=True, quiet=True) as logger:
        at_once = [held_up(state, attempt, logger, False) for _ in range(5)]
        behind = [held_up(state, attempt, logger, True) for _ in range(5)]
    step, batch = statistics.median(step_s), statistics.median(batch_s)
    megabytes = checkpoint.tensor_bytes(state.snapshot()) / 1e6
    return (
        f"{device_name(ranks.device)}; step {1e3 * step:.1f} ms, reading its batch "
        f"{1e3 * batch:.2f} ms ({batch / step:.2%}); checkpoint of {megabytes:,.0f} MB holds up "
        f"{spread(at_once)} s at once ({statistics.median(at_once) / INTERVAL_S:.2%} of 60 s), "
        f"{spread(behind)} s by a thread ({statistics.median(behind) / INTERVAL_S:.2%})"
    )


def checking(folder: Path, n_tokens: int) -> str:
    """What it costs to check a training shard of so many tokens, beside a small other one."""
    ids = np.random.default_rng(0)
    for name, count in (("train", n_tokens), ("val", 1024)):
        ids.integers(50257, size=count, dtype=np.uint16).tofile(folder / f"{name}.bin")
    data = DataConfig("shards", str(folder), "gpt2", 0.01, 1.0)
    prepared = prepare(data, folder / "prepared")
    manifest = read_manifest(prepared)
    first = seconds(lambda: check_shards(prepared, manifest))
    starts = [seconds(lambda: check_shards(prepared, manifest)) for _ in range(9)]
    full = [seconds(lambda: check_shards(prepared, manifest, full=True)) for _ in range(5)]
    return (
        f"checking a shard of {2e-6 * n_tokens:,.1f} MB: first {first:.3f} s, at a start "
        f"{spread(starts)} s, with data.verify=full {spread(full)} s"
    )


def held_up(
    state: TrainState, attempt: Attempt, logger: MetricsLogger, in_background: bool
) -> float:
    """Seconds for which training stands still; the disk is waited for outside of them."""
    checkpointer.BACKGROUND_BYTES = 0 if in_background else 2**60
    state.step += 1  # no step can be saved twice
    with checkpointer.Checkpointer(state, attempt, logger) as saver:
        return seconds(saver.save_if_due)


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
        passed_s = time.perf_counter() - start
        process.kill()
    return passed_s


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


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
