"""Before anything is spent: the data, the plan, what it will cost and what it will tell."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.errors import BadInput, ExitStatus
from data.loader import Loader, evaluation_windows
from data.manifest import Manifest, read_manifest
from data.prepare import is_prepared, prepare
from data.shards import open_split
from scaling.plan import bill
from scaling.plan.cost import Rate, StatedRate, stated_rate
from scaling.plan.doubts import doubts
from scaling.plan.foresight import Foresight, foresight_lines, law_line
from scaling.plan.grid import Learned, Plan, united
from scaling.plan.prior import prior_of
from scaling.plan.space import Device, disk, memory_of
from scaling.plan.stages import foreseen
from scaling.plan.table import Totals, print_plan, total_line, totals
from scaling.run.machine import Machine, this_machine
from scaling.run.measure import measure
from scaling.run.request import Request
from training.config import TrainConfig
from training.memory import Kind


def show_plan(request: Request) -> ExitStatus:
    """Print the plan, what it costs and what it promises; nothing is written into `out`.

    Timed by steps measured here, or by a stated rate: then no device of this machine is looked at.
    Data that are not here only leave epochs unchecked, and steps unmeasured: a data set of the hub
    that is yet to be prepared, or with a stated rate a data.path.
    """
    launcher, stated = request.launcher, rate_of(request)
    absent = _is_unprepared(request.base) or (stated is not None and _is_absent(request.base))
    data = None if absent else prepared_data(request.base)
    tokens = data.tokens_per_epoch if data else None
    if stated or absent:
        device, slots = _stated_device(request), launcher.stated_slots
        devices = slots * launcher.devices_per_trial // launcher.trials_per_device
        plans = stated_plans(request, tokens)
    else:
        machine = this_machine(request.base.runtime, launcher)
        device, slots = device_of(machine), machine.n_slots
        devices = len(machine.gpus) or machine.cores
        with tempfile.TemporaryDirectory(prefix="compile-") as cache:
            plans = predicted_plans(request, tokens, machine, Path(cache))
    cost, whole = total_cost(plans, slots), plans[-1]
    for plan in plans:
        if len(plans) > 1:
            print(f"stage {plan.stage}{', before anything is learned' * (plan is whole)}:")
        print_plan(plan, totals(plan, slots, plan.step_time), tokens, device)
    if len(plans) > 1:
        print(f"all stages: {total_line(cost)}")
    every = all_of(plans)
    sharing = slots if device.kind == "cpu" else launcher.trials_per_device
    needed = disk(every, slots, request.command.keep == "final", tokens)
    lines = [
        *doubts(whole, request.command.tune),
        bill.data_line(every, tokens, request.base.data.path or request.base.data.name),
        bill.time_line(whole.step_time),
        bill.memory_line(every, device, sharing),
        bill.disk_line(needed, _free_bytes(request.command.out)),
        *bill.price_line(cost, devices, launcher.price_per_hour),
        *foresight_lines(intervals(request, whole), whole.base.model.vocab_size),
    ]
    print("\n".join(lines))
    return ExitStatus.DONE


def all_of(plans: Sequence[Plan]) -> Plan:
    """The trials of all stages in one plan."""
    return united(plans[-1], (trial for plan in plans for trial in plan.trials))


def total_cost(plans: Sequence[Plan], slots: int) -> Totals:
    """What the stages cost, each beginning when the one before has ended; no trial runs twice."""
    whole, walls = all_of(plans), []
    ran: set[str] = set()
    for plan in plans:
        new = replace(plan, trials=tuple(t for t in plan.trials if t.id not in ran))
        walls.append(totals(new, slots, plan.step_time).wall_s)
        ran |= {trial.id for trial in plan.trials}
    wall_s = None if None in walls else sum(wall for wall in walls if wall is not None)
    return replace(totals(whole, slots, whole.step_time), wall_s=wall_s)


def rate_of(request: Request) -> StatedRate | None:
    """The rate that the launcher states; None where the machine is to be measured."""
    launcher = request.launcher
    return stated_rate(
        launcher.device,
        launcher.tflops,
        request.base.precision,
        launcher.devices_per_trial,
        launcher.trials_per_device,
    )


def device_of(machine: Machine) -> Device:
    """What a trial on this machine runs on."""
    kind: Kind = "cuda" if machine.gpus else "cpu"
    return Device(kind, machine.memory_bytes, machine.launcher.devices_per_trial)


def _stated_device(request: Request) -> Device:
    name = request.launcher.device
    memory = memory_of(name) if name else None
    return Device("cuda", memory, request.launcher.devices_per_trial)


def _is_absent(config: TrainConfig) -> bool:
    return config.data.path is not None and not Path(config.data.path).exists()


def _is_unprepared(config: TrainConfig) -> bool:
    """Whether the text is yet to be fetched from the hub (data.prepare): no plan waits for that."""
    data_dir = Path(config.runtime.data_dir)
    return config.data.is_of_the_hub and not is_prepared(config.data, data_dir)


def _free_bytes(out: str | None) -> int:
    """Free bytes where the sweep would lie."""
    place = Path(out or ".").absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free


def intervals(request: Request, plan: Plan) -> Foresight:
    """The intervals that the fit of this plan is to be expected to give."""
    # Imported here: estimators take longer to import than a look at a sweep's state takes.
    from scaling.plan.precision import design_of, foresee

    config, out = request.foresight, request.command.out
    prior = prior_of(plan, config, Path(out) if out else None)
    target = config.target_flops or 10 * max(plan.grid.budgets)
    cells = design_of(plan)
    runs = config.runs(len(cells.params))
    return foresee(cells, prior, request.fit, target, runs, config.seed)


def expectation(request: Request, plan: Plan) -> str:
    """What is foreseen of the first law, in a line."""
    found = intervals(request, plan)
    return f"expected: {law_line(found.laws[0], found.target_flops)} (mode=plan says more)"


def predicted_plans(
    request: Request,
    tokens: int | None,
    machine: Machine,
    cache: Path,
    learned: Learned | None = None,
) -> list[Plan]:
    """The plan of each stage with the seconds of every trial: as stated, or by steps taken here.

    Without the cells that this machine's devices cannot hold. `learned` is what an earlier grid of
    the same sweep was corrected by, and so is this one.
    """
    device, rate = device_of(machine), rate_of(request)
    if rate:
        return _planned(request, tokens, device, rate, learned)
    plans = _planned(request, tokens, device, None, learned)
    slots = machine.slots(cache)
    step_time = measure(all_of(plans), slots, machine.runtime, machine.launcher)
    return _planned(request, tokens, device, step_time, learned) if step_time else plans


def stated_plans(
    request: Request, tokens: int | None, learned: Learned | None = None
) -> list[Plan]:
    """The plan of each stage for a machine that is not here, timed where the launcher can."""
    return _planned(request, tokens, _stated_device(request), rate_of(request), learned)


def _planned(
    request: Request,
    tokens: int | None,
    device: Device,
    rate: Rate | None,
    learned: Learned | None = None,
) -> list[Plan]:
    assert request.grid is not None
    return foreseen(request.base, request.grid, tokens, rate, device.memory_bytes, learned)


@dataclass(frozen=True)
class Prepared:
    """What a plan needs to know of its data: where it is, what it is, and its training tokens."""

    folder: Path
    manifest: Manifest
    tokens_per_epoch: int

    @property
    def digest(self) -> str:
        """Identity by content."""
        return self.manifest.digest


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
    evaluation = config.evaluation
    val = open_split(folder, manifest, "val")
    evaluation_windows(val, block_size, evaluation.tokens, evaluation.windows)
    return Prepared(folder, manifest, loader.tokens_per_epoch)
