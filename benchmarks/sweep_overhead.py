"""What a sweep costs beside the training itself, in one run on one machine.

    python -m benchmarks.sweep_overhead                       quickstart's grid: some 15 minutes
    python -m benchmarks.sweep_overhead grid.budgets=[3e10]   another, by overrides of sweep.py
    python -m benchmarks.sweep_overhead --only store          planning, state and claims alone
    python -m benchmarks.sweep_overhead --packed 1 2 4 8 16   trials at once on one device (a GPU)

The peer trains the same trials one after another, each in a fresh `python train.py`.
"""

import argparse
import contextlib
import io
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.errors import ExitStatus
from configs.files import to_json
from configs.load import CONFIG_DIR, Arguments, build, exit_status
from scaling.plan.grid import Plan, Trial, plan_grid
from scaling.run import store
from scaling.run.board import show_status
from scaling.run.request import read_request
from training.attempt import Watch, claim
from training.config import TrainConfig, as_mapping, trial_id
from training.process import usable_cores
from training.record import RunRecord, blank_record, read_record
from training.trial import write_config

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = ("experiment=quickstart",)
STATUS_TRIALS, PLAN_TRIALS = 5000, 10_000


def main(words: Sequence[str]) -> int:
    """Measure what is asked for and print it as a table, then as JSON."""
    options = _parser().parse_args(words)
    overrides = tuple(options.overrides)
    if not any(word.startswith("experiment=") for word in overrides):
        overrides = (*DEFAULT, *overrides)
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": usable_cores(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        if options.packed:
            found["packed"] = [packed(folder, overrides, count) for count in options.packed]
        if options.only in (None, "store"):
            found |= of_the_store(folder / "store", overrides)
        if options.only in (None, "sweep") and not options.packed:
            found |= of_a_sweep(folder, overrides, options.peer_trials)
    found["load_after"] = os.getloadavg()[0]
    for key, value in found.items():
        print(f"{key:<32} {value:.4g}" if isinstance(value, float) else f"{key:<32} {value}")
    print(to_json(found))
    return ExitStatus.DONE


def of_a_sweep(folder: Path, overrides: Sequence[str], peer_trials: int | None) -> dict[str, Any]:
    """sweep.py against fresh processes, and how much of its time the cores trained.

    The peer trains `peer_trials` of the trials (all, if None), evenly chosen from the shortest to
    the longest, and is scaled up to all of them.
    """
    out = folder / "sweep"
    sweep_s = timed("sweep.py", *overrides, "fit.require=[]", f"out={out}")
    records = {path.parent: _record(path.parent) for path in out.glob("trials/*/record.json")}
    trained_s = sum(record.train_s or 0.0 for record in records.values())
    training_s = makespan_s(list(records.values()))
    slots = usable_cores()
    ordered = sorted(records, key=lambda trial: records[trial].train_s or 0.0)
    count = len(ordered) if peer_trials is None else min(peer_trials, len(ordered))
    chosen = [ordered[round(i * (len(ordered) - 1) / max(1, count - 1))] for i in range(count)]
    peer_s = 0.0
    for trial in chosen:
        config = ("--config-dir", str(trial), "--config-name", "config")
        peer_s += timed("train.py", *config, f"out={folder / 'alone' / trial.name}")
    # Those left out would have trained as long in proportion, and each have cost a start.
    share = sum(records[trial].train_s or 0.0 for trial in chosen) / trained_s
    alone_s = sum(_record(folder / "alone" / t.name).train_s or 0.0 for t in chosen)
    fresh_s = alone_s / share + (peer_s - alone_s) / count * len(ordered)
    return {
        "trials": len(records),
        "sweep.py s": sweep_s,
        "training part s": training_s,
        "fresh processes s": fresh_s,
        "fresh processes measured": count,
        "fresh / training part": fresh_s / training_s,
        "fresh / whole command": fresh_s / sweep_s,
        "training / (cores x makespan)": trained_s / (slots * training_s),
        "overhead a trial s": (slots * training_s - trained_s) / len(records),
    }


def of_the_store(folder: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Seconds to plan, to tell the state of, and to claim from, a sweep of thousands of trials."""
    words = (*overrides, f"out={folder}")
    asked = read_request(Arguments("sweep", words, CONFIG_DIR))
    assert asked.grid is not None
    few = plan_grid(asked.base, replace(asked.grid, seeds=1), None)
    seeds = -(-PLAN_TRIALS // len({(t.flops_budget, t.config.model) for t in few.trials}))
    grid = replace(asked.grid, seeds=seeds)
    many, plan_s = clocked(lambda: plan_grid(asked.base, grid, None))
    plan = pretended(many, STATUS_TRIALS)
    store.place_plan(folder, store.StoredPlan(plan, "0" * 16, asked.launcher), False)
    finish_most(folder, plan)
    request = read_request(Arguments("sweep", ("mode=status", f"out={folder}"), CONFIG_DIR))
    with contextlib.redirect_stdout(io.StringIO()):
        busy_s = time.process_time()
        _, status_s = clocked(lambda: show_status(request))
        busy_s = time.process_time() - busy_s
    watch = Watch()
    folders = [store.trial_folder(folder, trial) for trial in plan.trials[-100:]]
    claims = sorted(clocked(lambda f=f: claim(f, watch))[1] for f in folders)  # type: ignore[misc]
    return {
        f"plan of {len(many.trials)} trials s": plan_s,
        f"state of {STATUS_TRIALS} trials s": status_s,
        f"state of {STATUS_TRIALS} trials CPU s": busy_s,
        "mode=status, whole command s": timed("sweep.py", "mode=status", f"out={folder}"),
        "mode=status, whole command CPU s": resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime,
        "claim ms, median": 1000 * claims[50],
        "claim ms, 99th of 100": 1000 * claims[98],
    }


def packed(folder: Path, overrides: Sequence[str], count: int) -> dict[str, Any]:
    """Tokens per second of one device that trains `count` trials at once."""
    out = folder / f"packed-{count}"
    launcher = ("launcher.devices=1", f"launcher.trials_per_device={count}")
    timed("sweep.py", *overrides, *launcher, "fit.require=[]", f"out={out}")
    records = [_record(path.parent) for path in out.glob("trials/*/record.json")]
    tokens = sum(record.tokens for record in records)
    return {"at once": count, "tokens/s": tokens / makespan_s(records), "device": records[0].device}


def makespan_s(records: Sequence[RunRecord]) -> float:
    """From the first trial's start to the last one's end, by their records (whole seconds)."""
    started = [datetime.fromisoformat(record.started) for record in records if record.started]
    ended = [datetime.fromisoformat(record.ended) for record in records if record.ended]
    return max(1.0, (max(ended) - min(started)).total_seconds())


def pretended(plan: Plan, count: int) -> Plan:
    """The first `count` trials of `plan`, for a folder of which nothing is trained."""
    trials = tuple(loaded(trial) for trial in plan.trials[:count])
    return replace(plan, trials=trials)


def loaded(trial: Trial) -> Trial:
    """As from a file, where its id is that of its text."""
    config = build(TrainConfig, as_mapping(trial.config))
    return replace(trial, id=trial_id(config), config=config)


def finish_most(folder: Path, plan: Plan) -> None:
    """Records for nine trials of ten, and attempts under way, with 1,000 rows, for 16 more."""
    done = len(plan.trials) * 9 // 10
    blank = blank_record(plan.trials[0].config, 1, "done", None)
    row = {"step": 1, "loss": 3.0, "tokens_per_s": 1e5, "time": "2026-01-01T00:00:00+00:00"}
    rows = "".join(json.dumps(row | {"step": step}) + "\n" for step in range(1, 1001))
    for index, trial in enumerate(plan.trials[: done + 16]):
        place = store.trial_folder(folder, trial)
        if index < done:
            (place / "attempt-001").mkdir(parents=True)
            record = as_mapping(replace(blank, id=trial.id, loss=2.5, wall_s=1.0))
            (place / "record.json").write_text(json.dumps(record))
        else:
            attempt = claim(place, Watch())
            write_config(place, trial.config)
            (attempt.folder / "metrics.jsonl").write_text(rows)  # type: ignore[union-attr]


def clocked(call: Callable[[], Any]) -> tuple[Any, float]:
    """What a call returns, and the seconds it took."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def timed(script: str, *words: str) -> float:
    """Seconds of a command that must end well."""
    command = [sys.executable, script, *words]
    return clocked(lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True))[1]


def _record(trial: Path) -> RunRecord:
    record = read_record(trial)
    assert record is not None and record.status == "done", trial
    return record


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", choices=("store", "sweep"), help="one part; default both")
    parser.add_argument("--packed", type=int, nargs="+", default=[], metavar="K")
    parser.add_argument("--peer-trials", type=int, metavar="N", help="fresh processes; default all")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    return parser


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
