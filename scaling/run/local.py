"""A sweep on this machine: plan it, and work on it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from configs.errors import ExitStatus
from data.stage import staged
from scaling.fit.sweeps import write_runs_csv
from scaling.plan.doubts import doubts
from scaling.plan.stages import foreseen, is_request_of, learned_by
from scaling.plan.table import total_line
from scaling.run import leftovers, nodes, steps, store
from scaling.run.machine import Machine, this_machine
from scaling.run.planning import (
    expectation,
    predicted_plans,
    prepared_data,
    stated_plans,
    total_cost,
)
from scaling.run.progress import Progress, count_line, name, stale_line
from scaling.run.request import Request
from scaling.run.store import StoredPlan, TrialState
from scaling.run.worker import Worker
from training.attempt import RECORD, Watch

CACHE = "compile_cache"


def run(request: Request) -> Sequence[TrialState]:
    """Plan, and train what is missing; the states of all trials afterwards."""
    command = request.command
    machine = this_machine(request.base.runtime, request.launcher)
    stored = place_sweep(request, machine)
    if command.retry:
        again = store.retry(command.folder, stored.plan, command.retry)
        print(f"retrying {len(again)} trials that ended as {' or '.join(command.retry)}")
    return work(request, stored, machine, wait=True)


def join(request: Request) -> Sequence[TrialState]:
    """Work on a sweep that another process planned, until nothing is left to claim.

    Under torchrun until every trial has ended: were a node to leave while others train, torchrun
    would take its status for a failure of them all.
    """
    command = request.command
    nodes.await_plan(command.folder, request.base.runtime.timeout_s)
    stored = store.read_plan(command.folder)
    store.check_setting(command.folder, stored, request.base)
    machine = this_machine(request.base.runtime, request.launcher)
    return work(request, stored, machine, wait=nodes.shares_nodes())


def outcome(states: Sequence[TrialState]) -> ExitStatus:
    """DONE if every planned trial is done; a rate that diverges is what its study is to find."""
    ended = {"tuning": ("done", "diverged"), "scout": ("done", "diverged")}
    done = all(state.state in ended.get(state.trial.arm, ("done",)) for state in states)
    return ExitStatus.DONE if done else ExitStatus.NO_RESULT


def is_fitted(out: Path) -> bool:
    """Whether the report in `out` is newer than any record, by the file system's own clock."""
    with suppress(FileNotFoundError):
        fitted = (out / "fit" / "report.html").stat().st_mtime_ns
        return all(path.stat().st_mtime_ns < fitted for path in out.glob(f"trials/*/{RECORD}"))
    return False


def write_table(out: Path) -> None:
    """Write runs.csv."""
    with suppress(OSError):  # derived, and an archived sweep may be read-only
        write_runs_csv(out)


def place_sweep(request: Request, machine: Machine | None) -> StoredPlan:
    """The stored plan, made if it is not there; what can be refused is refused before that.

    Without a machine nothing is measured here, since the trials run elsewhere.
    """
    out, base, extend = request.command.folder, request.base, request.command.extend
    known = store.read_plan(out) if store.has_plan(out) else None
    if known:
        store.check_setting(out, known, base)
    data = prepared_data(base)
    tokens = data.tokens_per_epoch
    if known:
        store.check_data(out, known, data.digest)
    if known and (request.grid is None or is_request_of(known.plan, base, request.grid)):
        return steps.widen(out, known) if extend else known
    assert request.grid is not None
    learned = learned_by(known.plan) if known else None
    if known:
        there = known.plan.memory_bytes
        asked = foreseen(base, request.grid, tokens, None, there, learned)[0]
        if not store.asks_for_more(out, known, asked, extend):
            return known
    if machine:
        plans = predicted_plans(request, tokens, machine, out / CACHE, learned)
    else:
        plans = stated_plans(request, tokens, learned)
    slots = machine.n_slots if machine else request.launcher.stated_slots
    print(total_line(total_cost(plans, slots)), flush=True)
    for doubt in doubts(plans[-1], request.command.tune):
        print(doubt, flush=True)
    print(expectation(request, plans[-1]), flush=True)
    placed = StoredPlan(plans[0], data.digest, request.launcher, fit=request.fit_changes)
    united = store.place_plan(out, placed, extend)
    if united.stale:
        print(stale_line(united), flush=True)
    return united


def work(
    request: Request, stored: StoredPlan, machine: Machine, wait: bool
) -> Sequence[TrialState]:
    """Train what the sweep lacks, stage by stage, as one worker, and print how all trials ended."""
    out = request.command.folder
    data = prepared_data(request.base)
    store.check_data(out, stored, data.digest)
    # Before anything is claimed, so that no trial waits for the copy.
    staged(data.folder, data.manifest, machine.runtime.stage, machine.runtime.timeout_s)
    following: StoredPlan | None = stored
    while following:
        stored = following
        # Who is to take the next step stays for it, though others train the last of this stage.
        stay = wait or stored.plan.stage != "grid"
        states = _train(out, stored, machine, stay, request.command.keep == "final")
        following = steps.advance(out, stored, states)
    print(f"{out}: {count_line(store.count_states(states))}")
    for state in states:
        if state.record and state.record.status != "done":
            print(f"{name(state.trial)}  {state.record.summary}")
    return states


def _train(
    out: Path, stored: StoredPlan, machine: Machine, wait: bool, keep: bool
) -> Sequence[TrialState]:
    """Train what one stage's plan lacks; the states of all its trials afterwards."""
    watch = Watch(machine.launcher.lease_s)
    states = store.read_states(out, stored.plan, watch)
    leftovers.tidy(out, states, watch)
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
    return store.read_states(out, stored.plan, watch)
