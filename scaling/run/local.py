"""A sweep on this machine: plan it, and work on it."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from configs.errors import ExitStatus
from data.stage import staged
from scaling.fit.sweeps import write_runs_csv
from scaling.plan.grid import Plan, plan_grid
from scaling.plan.space import without
from scaling.plan.table import total_line, totals
from scaling.run import leftovers, nodes, store
from scaling.run.machine import Machine, this_machine
from scaling.run.planning import expectation, predicted_plan, prepared_data, stated_plan
from scaling.run.progress import Progress, count_line, name
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
    """DONE if every planned trial is done."""
    done = all(state.state == "done" for state in states)
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
    if known and (
        request.grid is None
        or not store.asks_for_more(out, known, _asked(request, known, tokens), extend)
    ):
        return known
    if machine:
        plan, rate = predicted_plan(request, tokens, machine, out / CACHE)
    else:
        plan, rate = stated_plan(request, tokens)
    slots = machine.n_slots if machine else request.launcher.stated_slots
    print(total_line(totals(plan, slots, rate)), flush=True)
    print(expectation(request, plan), flush=True)
    return store.place_plan(
        out, StoredPlan(plan, data.digest, request.launcher, fit=request.fit_changes), extend
    )


def _asked(request: Request, known: StoredPlan, tokens: int) -> Plan:
    """The grid asked for, without what did not fit where the stored plan was made."""
    assert request.grid is not None
    lost = {(cell.flops_budget, cell.n_layer, cell.n_embd) for cell in known.plan.left_out}
    return without(plan_grid(request.base, request.grid, tokens), lost)


def work(
    request: Request, stored: StoredPlan, machine: Machine, wait: bool
) -> Sequence[TrialState]:
    """Train what the sweep lacks, as one worker, and print how all its trials ended."""
    out, keep = request.command.folder, request.command.keep == "final"
    data = prepared_data(request.base)
    store.check_data(out, stored, data.digest)
    # Before anything is claimed, so that no trial waits for the copy.
    staged(data.folder, data.manifest, machine.runtime.stage, machine.runtime.timeout_s)
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
    states = store.read_states(out, stored.plan, watch)
    print(f"{out}: {count_line(store.count_states(states))}")
    for state in states:
        if state.record and state.record.status != "done":
            print(f"{name(state.trial)}  {state.record.summary}")
    return states
