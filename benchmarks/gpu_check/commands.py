"""The project's own commands on the device: its tests, a kill with what follows, and a sweep."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.context import PREPARING, Context, Findings
from benchmarks.timing import ROOT, clocked

# Of a record.
KEYS = (
    *("status", "reason", "attempts", "loss", "steps", "train_s", "wall_s", "first_step_s"),
    *("tokens_per_s", "peak_memory", "device"),
)
# By the words of experiment=smoke, a model of two layers.
TOKENS, TOY_TOKENS = 1_500_000, 50_000


def tests(context: Context, findings: Findings) -> Iterator[None]:
    """The tests that only a GPU can run; elsewhere they are collected and skipped."""
    files = sorted(str(path) for path in (ROOT / "tests").glob("test_gpu*.py"))
    words = ["-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", "--tb=short"]
    if context.is_gpu:
        os.environ["REQUIRE"] = "gpu"  # that torch does not see it is no reason to skip
    result, seconds = _run(context, *words, "-m", "needs_gpu", *files)
    print(result.stdout, flush=True)
    last = re.findall(r"^(.*\b(?:passed|failed|skipped|errors?)\b.* in .*)$", result.stdout, re.M)
    broken = re.findall(r"^(?:FAILED|ERROR) .*$", result.stdout, re.M)
    findings.note("tests", status=result.returncode, seconds=seconds, broken=broken)
    findings.line(f"tests: {last[-1] if last else f'status {result.returncode}'}")
    for text in broken[:12]:
        findings.line(text[:160])
    if result.returncode:
        raise SystemExit(f"the tests ended with status {result.returncode}")
    return iter(())


def kill(context: Context, findings: Findings) -> Iterator[None]:
    """Two runs at once, one killed by SIGKILL and continued: both end as if nothing had been."""
    words = (
        *("train.py", "experiment=smoke", f"runtime.data_dir={context.path('data')}"),
        *(f"runtime.device={context.device}", "precision=bf16", "runtime.threads=1"),
        *("runtime.checkpoint_every_s=0.2", "data.max_epochs=100"),
        f"schedule.tokens={TOY_TOKENS if context.toy else TOKENS}",
    )
    whole, broken = context.path("whole"), context.path("broken")
    steady, victim = (_begin(*words, f"out={out}") for out in (whole, broken))
    while not list(broken.glob("attempt-*/checkpoints/step-*")) and victim.poll() is None:
        if context.left(PREPARING) < 0:
            raise SystemExit("no checkpoint in time")
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    result, seconds = _run(context, *words, f"out={broken}")
    steady.wait(max(1.0, context.left(PREPARING)))
    records = {"whole": _record(whole), "killed": _record(broken)}
    for name, record in records.items():
        findings.note(name, **record)
    losses = [record.get("loss") or math.nan for record in records.values()]
    attempts = records["killed"].get("attempts")
    findings.note("continued", status=result.returncode, seconds=seconds)
    findings.line(f"killed and continued: attempts {attempts}, losses {losses}")
    if attempts != 2 or not abs(losses[0] - losses[1]) < 0.02:
        raise SystemExit(f"expected equal losses after 2 attempts: {result.stderr[-1000:]}")
    return iter(())


def sweep(context: Context, findings: Findings) -> Iterator[None]:
    """Three trials, two at a time on the device."""
    out = context.path("sweep")
    words = [
        *("sweep.py", "experiment=smoke", f"out={out}", f"runtime.data_dir={context.path('data')}"),
        *("grid.budgets=[4e9]", "grid.sizes=3", "launcher.devices=1"),
        *("launcher.trials_per_device=2", f"runtime.device={context.device}", "precision=bf16"),
    ]
    if context.is_gpu:
        words.append("launcher.device=H200")  # trials are timed by its data sheet, not measured
    result, seconds = _run(context, *words)
    print(result.stdout, result.stderr, flush=True)
    records = [_record(path.parent) for path in sorted(out.glob("trials/*/record.json"))]
    for index, record in enumerate(records, 1):
        findings.note(f"trial {index}", **record)
    statuses = [record.get("status") for record in records]
    first = [round(record.get("first_step_s") or 0, 1) for record in records]
    findings.note("sweep", status=result.returncode, seconds=seconds)
    findings.line(f"sweep: {statuses} in {seconds:.0f} s, first steps {first} s")
    if statuses != ["done"] * 3:
        raise SystemExit(f"expected three trials done: {result.stderr[-1000:]}")
    return iter(())


def _begin(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL)


def _run(context: Context, *words: str) -> tuple[subprocess.CompletedProcess[str], float]:
    """A command to its end, and its seconds; no longer than parts may prepare."""
    return clocked(
        lambda: subprocess.run(
            [sys.executable, *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=max(1.0, context.left(PREPARING)),
        )
    )


def _record(trial: Path) -> dict[str, Any]:
    try:
        record = json.loads((trial / "record.json").read_text())
    except FileNotFoundError:
        return {}
    return {key: record.get(key) for key in KEYS}
