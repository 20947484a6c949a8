"""A sweep on this machine: plan it, and work on it."""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from configs.errors import BadInput, ExitStatus
from data.loader import Loader, evaluation_windows
from data.manifest import read_manifest
from data.prepare import prepare
from data.shards import open_split
from scaling.fit.tables import write_runs_csv
from scaling.plan.cost import StepTime
from scaling.plan.grid import Plan, plan_grid
from scaling.plan.table import print_plan, total_line, totals
from scaling.run import nodes, store
from scaling.run.machine import Machine, this_machine
from scaling.run.measure import measure
from scaling.run.progress import Progress, count_line, name
from scaling.run.request import Request
from scaling.run.store import StoredPlan, TrialState
from scaling.run.worker import Worker
from training.attempt import Watch
from training.config import TrainConfig

CACHE = "compile_cache"


def run(request: Request) -> Sequence[TrialState]:
    """Plan, train what is missing, write runs.csv; the states of all trials afterwards."""
    command = request.command
    machine = this_machine(request.base.runtime, request.launcher)
    stored = place_sweep(request, machine)
    if command.retry:
        again = store.retry(command.folder, stored.plan, command.retry)
        print(f"retrying {len(again)} trials that ended as {' or '.join(command.retry)}")
    states = work(request, stored, machine, wait=True)
    _write_table(command.folder)
    return states


def join(request: Request) -> ExitStatus:
    """Work on a sweep that another process planned, until nothing is left to claim.

    Under torchrun until every trial has ended: were a node to leave while others train, torchrun
    would take its status for a failure of them all. Rank 0 alone tells there how the sweep ended.
    """
    command = request.command
    nodes.await_plan(command.folder, request.base.runtime.timeout_s)
    stored = store.read_plan(command.folder)
    store.check_setting(command.folder, stored, request.base)
    machine = this_machine(request.base.runtime, request.launcher)
    states = work(request, stored, machine, wait=nodes.shares_nodes())
    return outcome(states) if nodes.plans_here() else ExitStatus.DONE


def outcome(states: Sequence[TrialState]) -> ExitStatus:
    """DONE if every planned trial is done."""
    done = all(state.state == "done" for state in states)
    return ExitStatus.DONE if done else ExitStatus.NO_RESULT


def show_plan(request: Request) -> ExitStatus:
    """Print the plan and its cost, measured on this machine; nothing is written into `out`."""
    assert request.grid is not None
    machine = this_machine(request.base.runtime, request.launcher)
    tokens = prepared_data(request.base).tokens_per_epoch
    with tempfile.TemporaryDirectory(prefix="compile-") as cache:
        plan, step_time = predicted_plan(request, tokens, machine, Path(cache))
    cost = totals(plan, machine.n_slots, step_time)
    print_plan(plan, cost, tokens)
    price = request.launcher.price_per_hour
    if cost.wall_s is not None and price:
        devices = len(machine.gpus) or machine.cores
        print(f"price: {cost.wall_s / 3600 * devices * price:.2f} for {devices} devices")
    return ExitStatus.DONE


def _write_table(out: Path) -> None:
    with suppress(OSError):  # derived, and an archived sweep may be read-only
        write_runs_csv(out)


def place_sweep(request: Request, machine: Machine) -> StoredPlan:
    """The stored plan, made if it is not there; what can be refused is refused before that."""
    out, base, extend = request.command.folder, request.base, request.command.extend
    known = store.read_plan(out) if (out / store.PLAN).exists() else None
    if known:
        store.check_setting(out, known, base)
    data = prepared_data(base)
    tokens = data.tokens_per_epoch
    if known:
        store.check_data(out, known, data.digest)
    if known and (
        request.grid is None
        or not store.asks_for_more(out, known, plan_grid(base, request.grid, tokens), extend)
    ):
        return known
    plan, step_time = predicted_plan(request, tokens, machine, out / CACHE)
    print(total_line(totals(plan, machine.n_slots, step_time)), flush=True)
    return store.place_plan(out, StoredPlan(plan, data.digest, request.launcher), extend)


def predicted_plan(
    request: Request, tokens: int, machine: Machine, cache: Path
) -> tuple[Plan, StepTime | None]:
    """The plan with the seconds of every trial, by a short measurement of this machine."""
    assert request.grid is not None
    plan = plan_grid(request.base, request.grid, tokens)
    step_time = measure(plan, machine.slots(cache), machine.runtime, machine.launcher)
    if step_time is None:
        return plan, None
    return plan_grid(request.base, request.grid, tokens, step_time), step_time


@dataclass(frozen=True)
class Prepared:
    """What a plan needs to know of its data: the manifest's digest, and training tokens."""

    digest: str
    tokens_per_epoch: int


def prepared_data(config: TrainConfig) -> Prepared:
    """Prepare the data, once; BadInput where no trial could train on it."""
    folder = prepare(config.data, Path(config.runtime.data_dir))
    manifest, block_size = read_manifest(folder), config.model.block_size
    if manifest.vocab_size != config.model.vocab_size:
        raise BadInput(
            f"model.vocab_size: found {config.model.vocab_size}, expected {manifest.vocab_size} "
            f"for data.tokenizer={config.data.tokenizer}"
        )
    loader = Loader(open_split(folder, manifest, "train"), block_size, config.seed)
    evaluation_windows(open_split(folder, manifest, "val"), block_size, config.evaluation.tokens)
    return Prepared(manifest.digest, loader.tokens_per_epoch)


def work(
    request: Request, stored: StoredPlan, machine: Machine, wait: bool
) -> Sequence[TrialState]:
    """Train what the sweep lacks, as one worker, and print how all its trials ended."""
    out, keep = request.command.folder, request.command.keep == "final"
    store.check_data(out, stored, prepared_data(request.base).digest)
    watch = Watch(machine.launcher.lease_s)
    states = store.read_states(out, stored.plan, watch)
    store.tidy(out, states, watch)
    missing = [state.trial for state in states if state.record is None]
    if missing:
        slots = machine.slots(out / CACHE)
        with Progress(states, len(slots)) as display:
            Worker(
                out,
                missing,
                slots,
                machine.runtime,
                display,
                machine.launcher,
                keep=keep,
                wait=wait,
            ).run()
    states = store.read_states(out, stored.plan, watch)
    print(f"{out}: {count_line(store.count_states(states))}")
    for state in states:
        if state.record and state.record.status != "done":
            print(f"{name(state.trial)}  {state.record.summary}")
    return states
