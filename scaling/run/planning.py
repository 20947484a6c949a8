"""Before anything is spent: the data, the plan, what it will cost and what it will tell."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from configs.errors import BadInput, ExitStatus
from data.loader import Loader, evaluation_windows
from data.manifest import Manifest, read_manifest
from data.prepare import prepare
from data.shards import open_split
from scaling.plan.cost import StepTime
from scaling.plan.foresight import Foresight, foresight_lines, law_line
from scaling.plan.grid import Plan, plan_grid
from scaling.plan.prior import prior_of
from scaling.plan.table import print_plan, totals
from scaling.run.machine import Machine, this_machine
from scaling.run.measure import measure
from scaling.run.request import Request
from training.config import TrainConfig


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
    print("\n".join(foresight_lines(foreseen(request, plan), plan.base.model.vocab_size)))
    return ExitStatus.DONE


def foreseen(request: Request, plan: Plan) -> Foresight:
    """The intervals that the fit of this plan is to be expected to give."""
    # Imported here: estimators take longer to import than a look at a sweep's state takes.
    from scaling.plan.precision import design_of, foresee

    config, out = request.foresight, request.command.out
    prior = prior_of(plan, config, Path(out) if out else None)
    target = config.target_flops or 10 * max(plan.grid.budgets)
    return foresee(design_of(plan), prior, request.fit, target, config.simulations, config.seed)


def expectation(request: Request, plan: Plan) -> str:
    """What is foreseen of the first law, in a line."""
    found = foreseen(request, plan)
    return f"expected: {law_line(found.laws[0], found.target_flops)} (mode=plan says more)"


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
