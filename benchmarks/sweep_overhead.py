"""What a sweep costs beside the training itself, in one run on one machine.

    python -m benchmarks.sweep_overhead                       quickstart's grid: some 15 minutes
    python -m benchmarks.sweep_overhead grid.budgets=[3e10]   another, by overrides of sweep.py
    python -m benchmarks.sweep_overhead --only store          planning, state and claims alone
    python -m benchmarks.sweep_overhead --packed 1 2 4 8 16   trials at once on one device (a GPU)
    python -m benchmarks.sweep_overhead --trunks 3            shared trunks, three pairs of sweeps

The peer trains the same trials one after another, each in a fresh `python train.py`.
"""

import common.start  # noqa: F401

# isort: split
import contextlib
import io
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.timing import clocked, cost_of, parser, spread
from common.errors import ExitStatus
from common.files import to_json
from configs.cli import Arguments, exit_status
from configs.load import CONFIG_DIR
from scaling.plan.grid import plan_grid
from scaling.plan.plan import Plan
from scaling.plan.plan_json import plan_from_json, plan_to_json
from scaling.run import store, trial_states
from scaling.run.command import read_request
from scaling.run.status_view import show_status
from training.config import as_mapping
from training.device.process import usable_cores
from training.trial.attempt import Watch, claim
from training.trial.folder import write_config
from training.trial.record import RunRecord, blank_record, read_record

DEFAULT = ("experiment=quickstart",)
# Three toy sizes to each of five horizons, at a rate and batch that do not depend on them.
TRUNKS = (
    *("experiment=smoke", "grid=[smoke,horizons]", "schedule=constant", "grid.budgets=[4e9]"),
    *("grid.sizes=1", "grid.rules.batch=toy_size", "grid.rules.warmup=size"),
    *("grid.horizons.sizes=3", "grid.horizons.tokens_per_param=[10,14,20,28,40]"),
)
STATUS_TRIALS, PLAN_TRIALS = 5000, 10_000


def main(words: Sequence[str]) -> int:
    """Measure what is asked for and print it as a table, then as JSON."""
    arguments = parser("sweep_overhead", __doc__)
    add = arguments.add_argument
    add("--only", choices=("store", "sweep"), help="one part; default both")
    add("--packed", type=int, nargs="+", default=[], metavar="K")
    add("--trunks", type=int, metavar="N", help="so many sweeps with grid.trunk, and without")
    add("--peer-trials", type=int, metavar="N", help="fresh processes; default all")
    add("overrides", nargs="*", metavar="key=value")
    options = arguments.parse_args(words)
    overrides = tuple(options.overrides)
    if not any(word.startswith("experiment=") for word in overrides):
        overrides = (*(TRUNKS if options.trunks else DEFAULT), *overrides)
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "cores": usable_cores(),
        "load_before": os.getloadavg()[0],
    }
    with tempfile.TemporaryDirectory(prefix="overhead-") as name:
        folder = Path(name)
        if options.trunks:
            found |= of_trunks(folder, overrides, options.trunks)
        if options.packed:
            found["packed"] = [packed(folder, overrides, count) for count in options.packed]
        parts = (options.only,) if options.only else () if options.trunks else ("store", "sweep")
        if "store" in parts:
            found |= of_the_store(folder / "store", overrides)
        if "sweep" in parts and not options.packed:
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
    sweep_s = cost_of("sweep.py", *overrides, "fit.require=[]", f"out={out}").wall_s
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
        peer_s += cost_of("train.py", *config, f"out={folder / 'alone' / trial.name}").wall_s
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
    store.store_plan(folder, store.StoredPlan(plan, "0" * 16, asked.launcher), False)
    finish_most(folder, plan)
    request = read_request(Arguments("sweep", ("mode=status", f"out={folder}"), CONFIG_DIR))
    with contextlib.redirect_stdout(io.StringIO()):
        busy_s = time.process_time()
        _, status_s = clocked(lambda: show_status(request))
        busy_s = time.process_time() - busy_s
    command = cost_of("sweep.py", "mode=status", f"out={folder}")
    watch = Watch()
    folders = [trial_states.trial_folder(folder, trial) for trial in plan.trials[-100:]]
    claims = sorted(clocked(lambda f=f: claim(f, watch))[1] for f in folders)  # type: ignore[misc]
    return {
        f"plan of {len(many.trials)} trials s": plan_s,
        f"state of {STATUS_TRIALS} trials s": status_s,
        f"state of {STATUS_TRIALS} trials CPU s": busy_s,
        "mode=status, whole command s": command.wall_s,
        "mode=status, whole command CPU s": command.cpu_s,
        "claim ms, median": 1000 * claims[50],
        "claim ms, 99th of 100": 1000 * claims[98],
    }


def packed(folder: Path, overrides: Sequence[str], count: int) -> dict[str, Any]:
    """Tokens per second of one device that trains `count` trials at once."""
    out = folder / f"packed-{count}"
    launcher = ("launcher.devices=1", f"launcher.trials_per_device={count}")
    cost_of("sweep.py", *overrides, *launcher, "fit.require=[]", f"out={out}")
    records = [_record(path.parent) for path in out.glob("trials/*/record.json")]
    tokens = sum(record.tokens for record in records)
    return {"at once": count, "tokens/s": tokens / makespan_s(records), "device": records[0].device}


def of_trunks(folder: Path, overrides: Sequence[str], pairs: int) -> dict[str, Any]:
    """Seconds of training steps with shared trunks over those without, in pairs of sweeps.

    The one that begins a pair alternates. RuntimeError where a trial's weights differ by a bit.
    """
    ratios, shares = [], []
    for pair in range(pairs):
        seconds, digests = {}, {}
        for trunk in (pair % 2 == 0, pair % 2 == 1):
            out = folder / f"pair{pair}-{trunk}"
            asked = (f"grid.trunk={trunk}", "fit.require=[]", f"out={out}")
            cost_of("sweep.py", *overrides, *asked)
            records = [_record(path.parent) for path in out.glob("trials/*/record.json")]
            seconds[trunk] = sum(record.train_s or 0.0 for record in records)
            digests[trunk] = {record.id: record.weights_digest for record in records}
            if trunk:
                spent = sum(record.flops_spent or record.flops_exact for record in records)
                shares.append(spent / sum(record.flops_exact for record in records))
        if digests[True] != digests[False]:
            raise RuntimeError("shared trunks changed the weights of a trial")
        ratios.append(seconds[True] / seconds[False])
    return {
        "trials": len(digests[True]),
        "pairs of sweeps": pairs,
        "FLOP with trunks / without": shares[0],
        "training s with / without": spread(ratios),
    }


def makespan_s(records: Sequence[RunRecord]) -> float:
    """From the first trial's start to the last one's end, by their records (whole seconds)."""
    started = [datetime.fromisoformat(record.started) for record in records if record.started]
    ended = [datetime.fromisoformat(record.ended) for record in records if record.ended]
    return max(1.0, (max(ended) - min(started)).total_seconds())


def pretended(plan: Plan, count: int) -> Plan:
    """The first `count` trials of `plan` as from a file; nothing of them is trained."""
    few = replace(plan, trials=plan.trials[:count])
    return plan_from_json(json.loads(json.dumps(plan_to_json(few))))


def finish_most(folder: Path, plan: Plan) -> None:
    """Records for nine trials of ten, and attempts under way, with 1,000 rows, for 16 more."""
    done = len(plan.trials) * 9 // 10
    blank = blank_record(plan.trials[0].config, 1, "done", None)
    row = {"step": 1, "loss": 3.0, "tokens_per_s": 1e5, "time": "2026-01-01T00:00:00+00:00"}
    rows = "".join(json.dumps(row | {"step": step}) + "\n" for step in range(1, 1001))
    for index, trial in enumerate(plan.trials[: done + 16]):
        place = trial_states.trial_folder(folder, trial)
        if index < done:
            (place / "attempt-001").mkdir(parents=True)
            record = as_mapping(replace(blank, id=trial.id, loss=2.5, wall_s=1.0))
            (place / "record.json").write_text(json.dumps(record))
        else:
            attempt = claim(place, Watch())
            write_config(place, trial.config)
            (attempt.folder / "metrics.jsonl").write_text(rows)  # type: ignore[union-attr]


def _record(trial: Path) -> RunRecord:
    record = read_record(trial)
    assert record is not None and record.status == "done", trial
    return record


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(sys.argv[1:])))
