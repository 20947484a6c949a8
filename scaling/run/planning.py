"""Before anything is spent: the data, the plan, what it will cost and what it will tell."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from configs.errors import BadInput, ExitStatus
from data.loader import Loader, evaluation_windows
from data.manifest import Manifest, read_manifest
from data.prepare import prepare
from data.shards import open_split
from scaling.plan import bill
from scaling.plan.cost import Rate, StatedRate, stated_rate
from scaling.plan.foresight import Foresight, foresight_lines, law_line
from scaling.plan.grid import Plan, plan_grid
from scaling.plan.prior import prior_of
from scaling.plan.space import Device, disk, memory_of, that_fit
from scaling.plan.table import print_plan, totals
from scaling.run.machine import Machine, this_machine
from scaling.run.measure import measure
from scaling.run.request import Request
from training.config import TrainConfig
from training.memory import Kind


def show_plan(request: Request) -> ExitStatus:
    """Print the plan, what it costs and what it promises; nothing is written into `out`.

    Timed by steps measured here, or by a stated rate: then no device of this machine is looked at,
    and data that are not here (data.path) only leave epochs unchecked.
    """
    launcher, stated = request.launcher, rate_of(request)
    data = None if stated and _is_absent(request.base) else prepared_data(request.base)
    tokens = data.tokens_per_epoch if data else None
    if stated:
        device, slots = _stated_device(request), launcher.stated_slots
        devices = slots * launcher.devices_per_trial // launcher.trials_per_device
        rate: Rate | None = stated
        plan, _ = stated_plan(request, tokens)
    else:
        machine = this_machine(request.base.runtime, launcher)
        device, slots = device_of(machine), machine.n_slots
        devices = len(machine.gpus) or machine.cores
        with tempfile.TemporaryDirectory(prefix="compile-") as cache:
            plan, rate = predicted_plan(request, tokens, machine, Path(cache))
    cost = totals(plan, slots, rate)
    print_plan(plan, cost, tokens, device)
    sharing = slots if device.kind == "cpu" else launcher.trials_per_device
    needed = disk(plan, slots, request.command.keep == "final", tokens)
    lines = [
        bill.data_line(plan, tokens, str(request.base.data.path)),
        bill.time_line(rate),
        bill.memory_line(plan, device, sharing),
        bill.disk_line(needed, _free_bytes(request.command.out)),
        *bill.price_line(cost, devices, launcher.price_per_hour),
        *foresight_lines(foreseen(request, plan), plan.base.model.vocab_size),
    ]
    print("\n".join(lines))
    return ExitStatus.DONE


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


def _free_bytes(out: str | None) -> int:
    """Free bytes where the sweep would lie."""
    place = Path(out or ".").absolute()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.exists())).free


def foreseen(request: Request, plan: Plan) -> Foresight:
    """The intervals that the fit of this plan is to be expected to give."""
    # Imported here: estimators take longer to import than a look at a sweep's state takes.
    from scaling.plan.precision import design_of, foresee

    config, out = request.foresight, request.command.out
    if not any(trial.arm == "grid" for trial in plan.trials):  # a stage before the grid
        assert request.grid is not None
        plan = plan_grid(request.base, request.grid, plan.dataset_tokens, learned=plan.learned)
    prior = prior_of(plan, config, Path(out) if out else None)
    target = config.target_flops or 10 * max(plan.grid.budgets)
    cells = design_of(plan)
    runs = config.runs(len(cells.params))
    return foresee(cells, prior, request.fit, target, runs, config.seed)


def expectation(request: Request, plan: Plan) -> str:
    """What is foreseen of the first law, in a line."""
    found = foreseen(request, plan)
    return f"expected: {law_line(found.laws[0], found.target_flops)} (mode=plan says more)"


def predicted_plan(
    request: Request, tokens: int | None, machine: Machine, cache: Path
) -> tuple[Plan, Rate | None]:
    """The plan with the seconds of every trial: as stated, or by a short measurement here.

    Without the cells that this machine's devices cannot hold.
    """
    device, rate = device_of(machine), rate_of(request)
    if rate:
        return _planned(request, tokens, device, rate), rate
    plan = _planned(request, tokens, device, None)
    step_time = measure(plan, machine.slots(cache), machine.runtime, machine.launcher)
    if step_time is None:
        return plan, None
    return _planned(request, tokens, device, step_time), step_time


def stated_plan(request: Request, tokens: int | None) -> tuple[Plan, Rate | None]:
    """The plan for a machine that is not here, timed where the launcher states its rate."""
    rate = rate_of(request)
    return _planned(request, tokens, _stated_device(request), rate), rate


def _planned(request: Request, tokens: int | None, device: Device, rate: Rate | None) -> Plan:
    assert request.grid is not None
    return that_fit(plan_grid(request.base, request.grid, tokens, rate), device.memory_bytes)


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
