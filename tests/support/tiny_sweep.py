"""The smallest sweeps: trials that only pretend, and a real grid of four models of 8 to 16 wide."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.cli import Arguments
from configs.load import CONFIG_DIR
from configs.schema import build
from scaling.plan.plan import Plan, Trial
from scaling.run import trial_states
from scaling.run.command import Request, read_request
from scaling.run.config import LauncherConfig
from scaling.run.store import StoredPlan
from scaling.run.workers.processes import ForkedProcess, Task
from scaling.run.workers.worker import Worker
from tests.support.plan_examples import experiment
from tests.support.tiny_training import tiny_config, write_text
from tests.support.typed import last_of_each
from training.config import TrainConfig, as_mapping
from training.trial.attempt import Attempt
from training.trial.identity import setting_digest, trial_id
from training.trial.record import RunRecord, blank_record, publish

LAUNCHER = LauncherConfig(
    kind="local",
    devices=2,
    devices_per_trial=1,
    trials_per_device=1,
    price_per_hour=0,
    lease_s=6,
    grace_s=10,
)


def overrides(folder: Path, out: Path, *more: str) -> list[str]:
    """Four trials of 75 to 150 steps, a second each on a busy core; `more` take their place."""
    words = [
        "experiment=smoke",
        "data=files",
        f"data.path={write_text(folder / 'text')}",
        "data.tokenizer=bytes",
        "data.val_fraction=0.2",
        "model.block_size=16",
        "evaluation.tokens=512",
        "grid.budgets=[1e8,2e8]",
        "grid.sizes=2",
        "grid.min_steps=5",
        "grid.centre.tokens_per_param=1",
        f"runtime.data_dir={folder / 'shards'}",
        "runtime.checkpoint_every_s=0.1",
        "launcher.devices=2",
        f"out={out}",
    ]
    return last_of_each(*words, *more)


def request(folder: Path, out: Path, *more: str) -> Request:
    """What sweep.py makes of `overrides`."""
    return read_request(Arguments("sweep", tuple(overrides(folder, out, *more)), CONFIG_DIR))


def loaded(config: TrainConfig) -> TrainConfig:
    """The config as from a file, where 4 for a float is 4.0; its id digests the text."""
    return build(TrainConfig, as_mapping(config))


def done_record(config: TrainConfig, attempts: int) -> RunRecord:
    """The least that a trial which is done leaves."""
    return replace(blank_record(config, attempts, "done", None), loss=2.5)


def pretended_plan(folder: Path, seeds: Sequence[int]) -> Plan:
    """Trials that differ by seed alone."""
    base = loaded(tiny_config(folder, seed=max(seeds, default=0)))
    _, grid = experiment("smoke")
    configs = [replace(base, seed=seed) for seed in seeds]
    trials = tuple(Trial(trial_id(config), 1e9, config, 1.0) for config in configs)
    return Plan(setting_digest(base), base, grid, trials, ())


def stored(plan: Plan, **changes: Any) -> StoredPlan:
    return replace(StoredPlan(plan, "0" * 16, LAUNCHER), **changes)


def pretend(act: Callable[[TrainConfig, Attempt], int | None]) -> Callable[[Task], int]:
    """What a process's child runs: `act`, which may die; unless it returns a status, trial done."""

    def run(task: Task) -> int:
        attempt = Attempt(Path(task.folder), task.attempt)
        config = build(TrainConfig, task.config)
        status = act(config, attempt)
        if status is not None:
            return status
        if publish(attempt, done_record(config, attempt.number)):
            note(attempt.trial / "completed")
        return 0

    return run


def note(path: Path) -> None:
    """One line more in a file, whatever dies at the same time."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"x\n")
    os.close(descriptor)


def sleeper(out: Path, seconds: float) -> Callable[[Task], int]:
    """A trial that leaves its pid and takes its time."""

    def act(config: TrainConfig, attempt: Attempt) -> None:
        (out / "pids").mkdir(exist_ok=True)
        (out / "pids" / str(os.getpid())).touch()
        time.sleep(seconds)

    return pretend(act)


def pids_of_sleepers(out: Path) -> list[int]:
    """The processes of all trials that `sleeper` ran in `out`."""
    return [int(path.name) for path in (out / "pids").glob("*")]


def work(
    out: Path, plan: Plan, run: Callable[[Task], int], slots: int = 2, **options: Any
) -> list[tuple[str, str]]:
    """One worker with forked processes until it leaves; trials by id and how each ended."""
    states = trial_states.read_states(out, plan)
    missing = [state.trial for state in states if state.record is None]
    launcher = options.pop("launcher", LAUNCHER)
    places = [ForkedProcess(run) for _ in range(slots)]
    worker = Worker(out, missing, places, plan.base.runtime, None, launcher, **options)
    worker.run()
    return [(end.trial.id, end.record.status if end.record else end.note) for end in worker.ended]


def statuses(out: Path, plan: Plan) -> dict[str, int]:
    return trial_states.count_states(trial_states.read_states(out, plan))


def alive(pid: int) -> bool:
    """Whether a process runs; one that waits to be reaped does not."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def eventually(condition: Callable[[], Any], limit_s: float = 300) -> None:
    """Wait for a condition; the test fails if it does not come, on a machine however busy."""
    until = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < until, "waited too long"
        time.sleep(0.005)


def child_pids(pid: int) -> list[int]:
    """Processes whose parent is `pid`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found
