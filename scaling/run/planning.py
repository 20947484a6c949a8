"""Before anything is spent: the data, the plan, its cost and the precision to expect."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from common.errors import BadInput, ExitStatus
from data.prepare import Estimate, estimate, fetch, is_absent, is_prepared, prepared_with
from data.shards import TOKEN_BYTES
from scaling.plan import table
from scaling.plan.compilation import Compilations, compilations
from scaling.plan.cost import TimeModel
from scaling.plan.data_needs import is_bounded_by_plan, tokens_needed
from scaling.plan.memory import disk
from scaling.plan.plan import Plan, StageResults, by_arm, merge_plans
from scaling.plan.precision.assumed_law import AssumedLaw, assume_law
from scaling.plan.precision.result import ExpectedPrecision, precision_lines
from scaling.plan.stages import plan_stages
from scaling.plan.table import Totals, print_plan, totals
from scaling.plan.warnings import plan_warnings
from scaling.run import store
from scaling.run.command import Request
from scaling.run.step_timing import measure
from scaling.run.store import StoredPlan
from scaling.run.target import Target, target_of, with_workers_for
from scaling.run.workers.devices import this_machine
from scaling.run.workers.gpus import visible_gpus
from scaling.run.workers.packing import packing_lines
from training.config import TrainConfig
from training.dataset import PreparedData, prepared_data, require_vocabulary
from training.trial.scratch import scratch_folder

_MOMENT_H = 1 / 60  # a plan does not wait longer for data


def plan_for(
    request: Request,
    data: PreparedData | None,
    target: Target,
    cache: Path | None = None,
    learned: StageResults | None = None,
) -> list[Plan]:
    """The plan of each stage with the seconds of every trial: as stated, or by steps taken here.

    Without the cells that the target's devices cannot hold. `learned` are the results of an earlier
    grid of the same sweep. The measured steps leave in `cache` what torch compiled. Without `data`
    steps are of random tokens, and epochs counted by the tokens that the config asks for, if any.
    """
    tokens = _tokens(request, data)

    def plans(step_time: TimeModel | None) -> list[Plan]:
        assert request.grid is not None
        memory = target.device.memory_bytes
        return plan_stages(request.base, request.grid, tokens, step_time, memory, learned)

    found, machine = plans(target.throughput), target.measured
    if target.throughput or machine is None:
        return found
    assert cache is not None
    folder = data.folder if data else None
    with machine.processes(cache, as_planned=True) as (processes, packing):
        whole, launcher = all_of(found), machine.launcher
        step_time = measure(whole, processes, machine.runtime, launcher, folder, packing)
    return plans(step_time) if step_time else found


def _tokens(request: Request, data: PreparedData | None) -> int | None:
    return data.tokens_per_epoch if data else request.base.data.train_tokens


def completed(request: Request, known: StoredPlan | None = None) -> Request:
    """The request with what it leaves open: as in the sweep that there is, else by its launcher.

    Batches are multiples of the ranks of a trial. A data set of the hub has as many training tokens
    as the longest run needs, or more where more is prepared.
    """
    grid, base, ranks = request.grid, request.base, request.launcher.devices_per_trial
    if grid is None:
        return request
    if grid.rules.batch_multiple is None:
        multiple = known.plan.grid.rules.batch_multiple if known else None if ranks == 1 else ranks
        grid = replace(grid, rules=replace(grid.rules, batch_multiple=multiple))
    data = base.data
    if is_bounded_by_plan(base) and known:
        data = replace(data, train_tokens=known.plan.base.data.train_tokens)
    elif is_bounded_by_plan(base) and (tokens := tokens_needed(plan_stages(base, grid, None))):
        missing = data.path is not None and not Path(data.path).exists()
        larger = None if missing else prepared_with(data, tokens, Path(base.runtime.data_dir))
        data = larger or replace(data, train_tokens=tokens)
    return replace(request, grid=grid, base=replace(base, data=data))


def show_plan(request: Request) -> ExitStatus:
    """Print the plan, its cost and the precision to expect; nothing is written into `out`.

    Timed by a stated throughput: then this machine's devices do not matter. Else by the data sheet
    of its GPUs, or by some seconds of steps on its cores; with mode=measure by steps on its GPUs
    too. Data that are not here, or not prepared in a moment, are counted; what is then measured, is
    on random tokens.
    """
    launcher, command = request.launcher, request.command
    there = command.out is not None and store.has_plan(command.folder)
    known = store.read_plan(command.folder) if there else None
    request = completed(request, known)
    base, target = request.base, target_of(request, None)
    require_vocabulary(base)
    measures, gpus = command.mode == "measure", base.runtime.device != "cpu" and visible_gpus()
    if measures and target.throughput:
        found = "launcher.tflops" if launcher.tflops else "launcher.device"
        raise BadInput(f"{found}: found with mode=measure, which times this machine; say mode=plan")
    costs = _data_costs(base, bool(target.throughput))
    data = None if costs else prepared_data(base, known.data_digest if known else None, check=False)
    if not target.throughput and (data or measures or gpus):
        target = target_of(request, this_machine(base.runtime, launcher))
    tokens = _tokens(request, data)
    with scratch_folder("compile") as cache:
        plans = plan_for(request, data, target, cache)
    if len(plans) == 1:  # else Slurm's array is as long as later stages may need
        target = with_workers_for(target, launcher.workers, len(plans[0].trials))
    print("\n".join(_answer(request, plans, target, tokens, costs)))
    _print_tables(plans, target, tokens, request.command.details)
    return ExitStatus.DONE


def fetch_data(request: Request) -> ExitStatus:
    """Prepare what the sweep reads of its data, fetched from the hub where they lie there."""
    request = completed(request)
    require_vocabulary(request.base)
    print(fetch(request.base.data, Path(request.base.runtime.data_dir)))
    return ExitStatus.DONE


def _data_costs(base: TrainConfig, stated: bool) -> Estimate | None:
    """What the data take to be prepared; None where they are, or will be in a moment.

    A data.path that is not there is refused, unless a stated machine needs none of it.
    """
    data_dir = Path(base.runtime.data_dir)
    absent = is_absent(base.data, data_dir)
    if not absent and is_prepared(base.data, data_dir):
        return None
    costs = estimate(base.data)
    quick = (costs.tokenising_hours or 0) <= _MOMENT_H
    counted = base.data.is_of_the_hub or stated if absent else not quick
    return costs if counted else None


def _answer(
    request: Request,
    plans: Sequence[Plan],
    target: Target,
    tokens: int | None,
    costs: Estimate | None,
) -> list[str]:
    """Cost, data, warnings and precision, in lines: what a plan is asked for.

    `costs` is what the data still cost, None where they are here.
    """
    launcher, base, whole = request.launcher, request.base, plans[-1]
    parallel, device = target.parallel, target.device
    compiled = compilations_of(plans, target)
    cost, every = total_cost(plans, parallel, compiled.waits), all_of(plans)
    sharing = parallel if device.kind == "cpu" else launcher.packed
    shards = costs.shard_bytes if costs else TOKEN_BYTES * (tokens or 0)
    needed = disk(every, parallel, request.command.keep == "final", shards)
    source, expected = base.data.path or base.data.name, precision_of(request, whole)
    return [
        cost.line,
        *table.arm_lines(every, parallel, whole.step_time),
        *filter(None, [table.trunk_line(every)]),
        table.time_line(whole.step_time),
        *([compiled.line] if compiled else []),
        *table.price_line(cost, target.devices, launcher.price_per_hour),
        *table.data_lines(every, tokens, source, costs),
        table.memory_line(every, device, sharing),
        table.disk_line(needed, _free_bytes(request.command.out)),
        *packing_lines(launcher, every),
        *_rounding(whole),
        *(warning.text for warning in plan_warnings(whole, request.command.tune)),
        *precision_lines(expected),
        *multiplier_lines(expected.assumed, whole),
    ]


def _rounding(plan: Plan) -> list[str]:
    multiple = plan.grid.rules.batch_multiple or 1
    each = f"a multiple of {multiple} sequences, so that as many ranks divide it"
    return [f"batch: that of every cell is {each} (grid.rules.batch_multiple)"] * (multiple > 1)


def _print_tables(plans: Sequence[Plan], target: Target, tokens: int | None, details: bool) -> None:
    """The grid's cells, and with `details` those of the stages before it."""
    for plan in plans:
        waits = compilations_of([plan], target).waits
        cost = totals(plan, target.parallel, plan.step_time, waits) if len(plans) > 1 else None
        if cost and plan is plans[-1]:
            print("grid stage, before pilot and tuning corrections:")
        elif cost and not details:
            print(f"{plan.stage} stage: {cost.line}; details=true shows its cells")
            continue
        elif cost:
            print(f"{plan.stage} stage:")
        print_plan(plan, cost, tokens, target.device)


def all_of(plans: Sequence[Plan]) -> Plan:
    """The trials of all stages in one plan."""
    return merge_plans(plans[-1], (trial for plan in plans for trial in plan.trials))


def compilations_of(plans: Sequence[Plan], target: Target) -> Compilations:
    """What the trials of all stages wait for compilation, as far as it is known."""
    return compilations(plans, target.throughput, target.device)


def total_cost(
    plans: Sequence[Plan], parallel: int, waits: Mapping[str, float] = MappingProxyType({})
) -> Totals:
    """The cost of all stages, each beginning when the one before has ended; no trial runs twice.

    `waits`: seconds by a trial's id that come before its first step.
    """
    whole, walls = all_of(plans), []
    ran: set[str] = set()
    for plan in plans:
        new = replace(plan, trials=tuple(t for t in plan.trials if t.id not in ran))
        walls.append(totals(new, parallel, plan.step_time, waits).wall_s)
        ran |= {trial.id for trial in plan.trials}
    wall_s = None if None in walls else sum(wall for wall in walls if wall is not None)
    return replace(totals(whole, parallel, whole.step_time, waits), wall_s=wall_s)


def precision_of(request: Request, plan: Plan) -> ExpectedPrecision:
    """The precision to expect of this plan's fit."""
    # Imported here: estimators take longer to import than a look at a sweep's state takes.
    from scaling.plan.precision.simulate import design_of, expect_precision

    config, out = request.foresight, request.command.out
    plan = by_arm(plan)[0]  # the others have its design
    assumed = assume_law(plan, config, Path(out) if out else None)
    target = config.target_flops or 10 * max(plan.grid.budgets)
    cells = design_of(plan)
    runs = config.runs(len(cells.params))
    return expect_precision(cells, assumed, request.fit, target, runs, config.seed)


def multiplier_lines(assumed: AssumedLaw, plan: Plan) -> list[str]:
    """The smallest compute multiplier that a plan of several arms could tell, and by pairs."""
    from scaling.plan.precision.multiplier import smallest_multiplier
    from scaling.plan.precision.simulate import design_of

    baseline, *others = by_arm(plan)
    if not others:
        return []
    cells = design_of(baseline)
    budgets = np.unique(cells.budget)
    sizes = [cells.params[cells.budget == flops] for flops in budgets]
    # What arms of one seed share of their noise no plan knows; nothing is the careful guess.
    noise, seeds = assumed.sd(budgets).tolist(), int(cells.seeds.min())
    return [
        smallest_multiplier(assumed.law, budgets.tolist(), sizes, noise, seeds, 0.0).line,
        "  as if the noise of two arms were apart; they share seeds, order of data and held-out "
        "text, and noise that correlates by r makes the interval sqrt(1 - r) times as wide: a "
        f"correlation of {1 / (seeds + 1):.2g} is worth the seed more",
    ]


def _free_bytes(out: str | None) -> int:
    """Free bytes where the sweep would lie."""
    place = Path(out or ".").absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free
