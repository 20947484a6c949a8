"""How a plan is shown: one row a cell, what it costs, and the cells left out; it decides nothing.

On a terminal a rich table, elsewhere the same columns as plain text.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

from common.numbers import byte_size, count, duration, hours_text
from common.text import plural
from data.prepare import Estimate
from model.flops import params_effective
from scaling.plan.cost import StatedThroughput, TimeModel, flops_exact, makespan_s
from scaling.plan.memory import Device, Disk
from scaling.plan.plan import Plan, Trial, by_arm
from scaling.plan.trunks import branches_of, flops_spent

_COLUMNS = (
    *("FLOP", "L x d", "N_eff", "tokens", "tok/N", "batch", "steps", "lr"),
    *("epochs", "seeds", "each"),
)
_WIDTH = 100  # where the output is no terminal
_MOST_ROWS, _MOST_LEFT_OUT = 200, 40


@dataclass(frozen=True)
class Totals:
    """What a plan costs with `parallel` trials at a time; seconds are None if not predicted.

    work_s is the sum over trials, wall_s the time until the last one ends, error the relative
    standard deviation of both (a machine is slow for all trials alike, so it does not average out).
    """

    trials: int
    cells: int
    flops: int
    parallel: int
    work_s: float | None
    wall_s: float | None
    error: float | None

    @property
    def line(self) -> str:
        """The cost in one sentence."""
        text = f"{self.trials} trials in {self.cells} cells, {self.flops:.3g} FLOP"
        if self.work_s is None or self.wall_s is None:
            return f"{text}; time not predicted: nothing here could be measured"
        return (
            f"{text}; predicted {duration(self.wall_s)}{self.error_text} with {self.parallel} at a "
            f"time ({duration(self.work_s)} in all)"
        )

    @property
    def error_text(self) -> str:
        """The error in percent, to stand behind a number; empty where it is not known."""
        return f" +-{100 * self.error:.0f}%" if self.error is not None else ""


def totals(
    plan: Plan,
    parallel: int,
    step_time: TimeModel | None,
    waits: Mapping[str, float] = MappingProxyType({}),
) -> Totals:
    """The cost of `plan`, whose trials `step_time` predicted (None: nothing did).

    `waits`: seconds by a trial's id that come before its first step.
    """
    predicted = [(t.predicted_s, waits.get(t.id, 0.0)) for t in plan.trials]
    seconds = [trial_s + wait_s for trial_s, wait_s in predicted if trial_s is not None]
    known = len(seconds) == len(plan.trials)
    return Totals(
        trials=len(plan.trials),
        cells=len(_cells(plan.trials)),
        flops=sum(flops_exact(trial.config) for trial in plan.trials),
        parallel=parallel,
        work_s=sum(seconds) if known else None,
        wall_s=makespan_s(seconds, parallel) if known else None,
        error=step_time.error if step_time and known else None,
    )


def print_plan(
    plan: Plan,
    cost: Totals | None,
    dataset_tokens: int | None = None,
    device: Device | None = None,
    file: IO[str] | None = None,
) -> None:
    """Write the table, its totals (None: they are said) and the cells left out to `file`.

    `file` is standard output, where None. With `device` the table says what memory a trial is
    estimated to take there. A plan of very many cells has a line a budget.
    """
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=_WIDTH)
    cells = _cells(plan.trials)
    lines = [cost.line] if cost else []
    if len(cells) > _MOST_ROWS:
        lines = [*_by_budget(cells), *lines]
    else:
        console.print(_table(cells, dataset_tokens, device, console.is_terminal))
    for cell in plan.left_out[:_MOST_LEFT_OUT]:
        shape = cell.n_layer, cell.n_embd
        lines.append(f"left out: {cell.flops_budget:g} FLOP at {shape}: {cell.reason}")
    if len(plan.left_out) > _MOST_LEFT_OUT:
        lines.append(f"left out: {len(plan.left_out) - _MOST_LEFT_OUT} cells more")
    for line in lines:
        console.print(line, soft_wrap=True)


def data_lines(
    plan: Plan, dataset_tokens: int | None, source: str, costs: Estimate | None
) -> list[str]:
    """The tokens that the longest run reads, and those of the data set; `costs` to prepare it.

    Without `costs` the data are here; tokens are None where they are not known.
    """
    longest = max(trial.config.schedule.tokens_planned for trial in plan.trials)
    asked = f"the longest run reads {count(longest)}"
    if dataset_tokens is not None:
        epochs = f"{longest / dataset_tokens:.2g} epochs (at most {plan.base.data.max_epochs:g})"
        asked = f"{asked}, {epochs}"
    if costs is None:
        known = count(dataset_tokens)
        return [f"data: {known} training tokens; {asked}"]
    if dataset_tokens is None:
        lines = [f"data: {source} is not prepared, epochs are not checked; {asked} tokens"]
    else:
        lines = [f"data: {count(dataset_tokens)} training tokens of {source}", f"  {asked}"]
    lines.append(f"  not prepared (mode=prepare): {costs.line}")
    if costs.tokens and longest > plan.base.data.max_epochs * costs.tokens:
        lines.append(
            f"  the data set has about {count(costs.tokens)}: cells of more than data.max_epochs "
            f"{plan.base.data.max_epochs:g} are left out when it runs"
        )
    return lines


def time_line(step_time: TimeModel | None) -> str:
    """Where the hours come from."""
    if step_time is None:
        machine = "launcher.device=H200 or launcher.tflops=200"
        return f"time: state a machine to plan for, as {machine}, or say mode=measure"
    if isinstance(step_time, StatedThroughput):
        return f"time: {step_time.basis}; not measured"
    return "time: by steps measured on this machine"


def memory_line(plan: Plan, device: Device, at_once: int) -> str:
    """The largest trial's estimated memory against the device's."""
    needed = max(device.run_bytes(trial.config) for trial in plan.trials)
    memory = "unknown size" if device.memory_bytes is None else byte_size(device.memory_bytes)
    return f"memory: up to {byte_size(needed)} a trial (estimated), {at_once} at once in {memory}"


def disk_line(needed: Disk, free: int) -> str:
    """What the sweep leaves on disk at the most."""
    trunks = f"those of trunks for their branches {byte_size(needed.trunks)}, "
    text = (
        f"disk: {byte_size(needed.total)} at most: checkpoints {byte_size(needed.checkpoints)}, "
        f"{trunks if needed.trunks else ''}records {byte_size(needed.records)}, data "
        f"{byte_size(needed.data) if needed.data else 'not counted'}"
    )
    return f"{text}; {byte_size(free)} are free" if needed.total > free else text


def price_line(cost: Totals, devices: int, price_per_hour: float) -> Sequence[str]:
    """Device-hours, and with a price of one their money; nothing where no time is predicted."""
    if cost.wall_s is None:
        return []
    hours = cost.wall_s / 3600 * devices
    held = f"{plural(devices, 'device')} held for {duration(cost.wall_s)}"
    if not price_per_hour:
        return [f"device-hours: {hours_text(hours)}{cost.error_text}: {held}, idle ones included"]
    return [
        f"price: {hours * price_per_hour:.2f}{cost.error_text}: {hours_text(hours)} "
        f"device-hours at {price_per_hour:g}, {held}, idle ones included"
    ]


def arm_lines(plan: Plan, parallel: int, step_time: TimeModel | None) -> Iterator[str]:
    """What each arm costs alone, with its early stages; nothing of a plan without arms.

    FLOP and time are those spent: of a branch without its trunk's.
    """
    spent = _spent(plan)
    for arm in by_arm(plan) if plan.grid.arms else ():
        cost = totals(arm, parallel, step_time)
        hours = "" if cost.work_s is None else f", {duration(cost.work_s)} in all"
        role = " (baseline)" if arm.arm == next(iter(plan.grid.arms or {})) else ""
        own = sum(spent[trial.id] for trial in arm.trials)
        share = f"{own:.3g} FLOP ({own / sum(spent.values()):.0%})"
        yield f"arm {arm.arm}{role}: {plural(cost.trials, 'trial')}, {share}{hours}"


def _spent(plan: Plan) -> dict[str, int]:
    """Training FLOP that each trial takes itself, by its id."""
    trials = plan.trials
    branches = branches_of((t.id, t.config) for t in trials) if plan.grid.trunk else {}
    return {t.id: flops_spent(t.config, branches.get(t.id)) for t in trials}


def trunk_line(plan: Plan) -> str | None:
    """What shared trunks save; None where no run has a part of another."""
    branches = branches_of((t.id, t.config) for t in plan.trials) if plan.grid.trunk else {}
    if not branches:
        return None
    whole = sum(flops_exact(trial.config) for trial in plan.trials)
    spent = sum(_spent(plan).values())
    return (
        f"trunks: {plural(len(branches), 'run')} begin with the state of a longer one: "
        f"{spent:.3g} FLOP are spent instead of {whole:.3g} (-{1 - spent / whole:.0%})"
    )


def _table(
    cells: Sequence[Sequence[Trial]],
    dataset_tokens: int | None,
    device: Device | None,
    is_terminal: bool,
) -> Table:
    style = box.SIMPLE_HEAD if is_terminal else None
    table = Table(box=style, pad_edge=False, padding=(0, 1 if style else 2, 0, 0))
    firsts = [trials[0] for trials in cells]
    has_parts, has_arms = len({t.part for t in firsts}) > 1, any(t.arms for t in firsts)
    names = [name for name in _COLUMNS if dataset_tokens or name != "epochs"]
    names += ["memory"] * bool(device) + ["part"] * has_parts + ["arm"] * has_arms
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for trials in cells:
        first = trials[0]
        here = first.arms, first.part, first.flops_budget
        if before not in (None, here) and is_terminal:
            table.add_section()
        before = here
        memory = [byte_size(device.run_bytes(first.config)).replace(" ", "")] if device else []
        kinds = [first.part] * has_parts + [_names(first)] * has_arms
        table.add_row(*_row(trials, dataset_tokens), *memory, *kinds)
    return table


def _row(trials: Sequence[Trial], dataset_tokens: int | None) -> list[str]:
    first = trials[0]
    config, model, schedule = first.config, first.config.model, first.config.schedule
    n, tokens = params_effective(model), schedule.tokens_planned
    epochs = tokens / dataset_tokens if dataset_tokens else 0.0
    return [
        f"{first.flops_budget:.3g}",
        f"{model.n_layer}x{model.n_embd}",
        count(n),
        count(tokens),
        f"{tokens / n:.3g}",
        str(schedule.batch_tokens),
        str(schedule.steps),
        f"{config.optimizer.lr:.3g}",
        *([f"{epochs:.2f}" if epochs >= 0.01 else "<0.01"] if dataset_tokens else []),
        str(len(trials)),
        "-" if first.predicted_s is None else duration(first.predicted_s),
    ]


def _by_budget(cells: Sequence[Sequence[Trial]]) -> Iterator[str]:
    """A line for each part, arm and budget."""
    groups = defaultdict(list)
    for trials in cells:
        kind = " of ".join(filter(None, (trials[0].part, _names(trials[0]))))
        groups[kind, trials[0].flops_budget].append(trials)
    for (kind, budget), found in groups.items():
        ends = [trials[0].config.model for trials in (found[0], found[-1])]
        shapes = " to ".join(dict.fromkeys(f"{m.n_layer}x{m.n_embd}" for m in ends))
        n_trials = sum(map(len, found))
        yield f"{budget:.3g} FLOP, {kind}: {len(found)} cells, {shapes}, {n_trials} trials"


def _cells(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials that differ by seed alone, by arm, budget and size; those of the grid first."""
    cells = defaultdict(list)
    for trial in trials:
        config = trial.config
        rest = config.optimizer.lr, config.schedule.batch_tokens, trial.part
        place = trial.flops_budget, params_effective(config.model)
        # Arms may differ in what no column shows; they stand in the order of the plan.
        cells[trial.part != "grid", _names(trial), *place, *rest].append(trial)
    return [cells[key] for key in sorted(cells)]


def _names(trial: Trial) -> str:
    return "+".join(name for name, _ in trial.arms)
