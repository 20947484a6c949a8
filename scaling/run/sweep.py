"""A sweep on this machine: plan it, and work on it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from common.errors import ExitStatus
from scaling.fit.table.sweep_directory import write_runs_csv
from scaling.plan.stages import is_request_of, plan_stages, stage_results
from scaling.plan.warnings import left_out, plan_warnings
from scaling.run import cleanup, next_stage, store, torchrun, trial_states
from scaling.run.command import Request
from scaling.run.planning import (
    compilations_of,
    completed,
    plan_for,
    precision_of,
    total_cost,
)
from scaling.run.progress import Progress, count_line, name, stale_line
from scaling.run.store import StoredPlan
from scaling.run.target import target_of
from scaling.run.trial_states import TrialState
from scaling.run.workers.devices import Machine, require_divisible, this_machine
from scaling.run.workers.trunks import Trunks
from scaling.run.workers.worker import Worker
from training.dataset import node_copy, prepared_data
from training.tracking import where_rows_go
from training.trial.attempt import RECORD, Watch
from training.trial.identity import at_path
from training.trial.record import set_damaged_aside

CACHE = "compile_cache"


def run(request: Request) -> Sequence[TrialState]:
    """Plan, and train what is missing; the states of all trials afterwards."""
    command = request.command
    machine = this_machine(request.base.runtime, request.launcher)
    stored = plan_sweep(request, machine)
    if command.retry:
        again = trial_states.retry(command.folder, stored.plan, command.retry)
        print(f"retrying {len(again)} trials that ended as {' or '.join(command.retry)}")
    return work(completed(request, stored), stored, machine, wait=True)


def join(request: Request) -> Sequence[TrialState]:
    """Work on a sweep that another process planned, until nothing is left to claim.

    Under torchrun until every trial has ended: were a node to leave while others train, torchrun
    would take its status for a failure of them all.
    """
    command = request.command
    torchrun.await_plan(command.folder, request.base.runtime.timeout_s)
    stored = store.read_plan(command.folder)
    request = completed(request, stored)
    store.check_setting(command.folder, stored, request.base)
    machine = this_machine(request.base.runtime, request.launcher)
    return work(request, stored, machine, wait=torchrun.is_under_torchrun())


def outcome(states: Sequence[TrialState]) -> ExitStatus:
    """DONE if every planned trial is done; a study is to find where a learning rate diverges."""
    ended = {"tuning": ("done", "diverged"), "scout": ("done", "diverged")}
    done = all(state.state in ended.get(state.trial.part, ("done",)) for state in states)
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


def plan_sweep(request: Request, machine: Machine | None) -> StoredPlan:
    """The stored plan, made if it is missing; every refusal comes before that.

    Without a machine nothing is measured here, since the trials run elsewhere.
    """
    out, extend = request.command.folder, request.command.extend
    known = store.read_plan(out) if store.has_plan(out) else None
    request = completed(request, known)
    base = request.base
    if known:
        store.check_setting(out, known, base)
    data = prepared_data(base, known.data_digest if known else None)
    tokens = data.tokens_per_epoch
    if known:
        store.check_data(out, known, data.digest)
        base = at_path(base, known.plan.base.data.path)  # which the ids of its trials digest
        request = replace(request, base=base)
        if skipped := left_out(known.plan):
            print(skipped, flush=True)
    if known and (request.grid is None or is_request_of(known.plan, base, request.grid)):
        return next_stage.extend_open_curves(out, known) if extend else known
    assert request.grid is not None
    learned = stage_results(known.plan) if known else None
    if known:
        there = known.plan.memory_bytes
        asked = plan_stages(base, request.grid, tokens, None, there, learned)[0]
        if not store.asks_for_more(out, known, asked, extend):
            return known
    target = target_of(request, machine)
    plans = plan_for(request, data, target, out / CACHE, learned)
    waits = compilations_of(plans, target).waits
    print(total_cost(plans, target.parallel, waits).line, flush=True)
    for warning in plan_warnings(plans[-1], request.command.tune):
        print(warning.text, flush=True)
    precision = precision_of(request, plans[-1]).headline
    print(f"expected precision: {precision} (mode=plan says more)", flush=True)
    placed = StoredPlan(plans[0], data.digest, request.launcher, fit=request.fit_changes)
    merged = store.store_plan(out, placed, extend)
    if merged.stale:
        print(stale_line(merged), flush=True)
    return merged


def work(
    request: Request, stored: StoredPlan, machine: Machine, wait: bool
) -> Sequence[TrialState]:
    """Train what the sweep lacks, stage by stage, as one worker, and print how all trials ended."""
    out = request.command.folder
    data = prepared_data(request.base, stored.data_digest)
    store.check_data(out, stored, data.digest)
    # Before anything is claimed, so that no trial waits for the copy.
    node_copy(replace(request.base, runtime=machine.runtime), data.folder, data.manifest)
    if request.base.runtime.tracking == "wandb":
        print(where_rows_go(out / "trials" / "*" / "attempt-*"), flush=True)
    following: StoredPlan | None = stored
    while following:
        stored = following
        # Who is to take the next step stays for it, though others train the last of this stage.
        stay = wait or stored.plan.stage != "grid"
        states = _train(out, stored, machine, data.folder, stay, request.command.keep == "final")
        following = next_stage.next_stage(out, stored, states)
    print(f"{out}: {count_line(trial_states.count_states(states))}")
    for state in states:
        if state.record and state.record.status != "done":
            print(f"{name(state.trial)}  {state.record.summary}")
    return states


def _train(
    out: Path, stored: StoredPlan, machine: Machine, data: Path, wait: bool, keep: bool
) -> Sequence[TrialState]:
    """Train what one stage's plan lacks; the states of all its trials afterwards."""
    watch = Watch(machine.launcher.lease_s)
    states = trial_states.read_states(out, stored.plan, watch)
    for state in states:
        if state.damage and (
            done := set_damaged_aside(trial_states.trial_folder(out, state.trial))
        ):
            print(f"warning: {done}", flush=True)
    cleanup.clean_sweep(out, states, watch)
    trunks = Trunks(out, stored.plan.trials if stored.plan.grid.trunk else ())
    trunks.clean()
    missing = [state.trial for state in states if state.record is None]
    require_divisible(states, machine.launcher)
    if missing:
        runtime, launcher = machine.runtime, machine.launcher
        with (
            machine.processes(out / CACHE) as (processes, packing),
            Progress(states, len(processes)) as display,
        ):
            worker = Worker(
                out,
                missing,
                processes,
                runtime,
                display,
                launcher,
                shape_of=machine.shape_of(),
                data=data,
                keep=keep,
                wait=wait,
                packing=packing,
                trunks=trunks,
            )
            worker.run()
    return trial_states.read_states(out, stored.plan, watch)
