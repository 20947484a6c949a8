"""How a plan is shown: one row a cell, totals, and what is left out; nothing here decides anything.

On a terminal a rich table, elsewhere the same columns as plain text.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

from model.flops import params_effective
from scaling.plan.cost import Rate, flops_exact, makespan_s
from scaling.plan.grid import Plan, Trial
from scaling.plan.space import Device, size

_COLUMNS = (
    *("FLOP", "L x d", "N_eff", "tokens", "tok/N", "batch", "steps", "lr"),
    *("epochs", "seeds", "each"),
)
_WIDTH = 100  # where the output is no terminal
_MOST_ROWS, _MOST_LEFT_OUT = 200, 40


@dataclass(frozen=True)
class Totals:
    """What a plan costs on `slots` trials at a time; seconds are None where nothing predicts them.

    slot_s is the sum over trials, wall_s the time until the last one ends, error the relative
    standard deviation of both (a machine is slow for all trials alike, so it does not average out).
    """

    trials: int
    cells: int
    flops: int
    slots: int
    slot_s: float | None
    wall_s: float | None
    error: float | None


def totals(plan: Plan, slots: int, step_time: Rate | None) -> Totals:
    """The cost of `plan`, whose trials `step_time` predicted (None: nothing did)."""
    seconds = [t.predicted_s for t in plan.trials if t.predicted_s is not None]
    known = len(seconds) == len(plan.trials)
    return Totals(
        trials=len(plan.trials),
        cells=len(_cells(plan.trials)),
        flops=sum(flops_exact(trial.config) for trial in plan.trials),
        slots=slots,
        slot_s=sum(seconds) if known else None,
        wall_s=makespan_s(seconds, slots) if known else None,
        error=step_time.error if step_time and known else None,
    )


def print_plan(
    plan: Plan,
    cost: Totals,
    dataset_tokens: int | None = None,
    device: Device | None = None,
    file: IO[str] | None = None,
) -> None:
    """Write the table, the totals and the cells left out to `file` (standard output).

    With `device` the table says what memory a trial is estimated to take there. A plan of very many
    cells has a line a budget.
    """
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=_WIDTH)
    cells = _cells(plan.trials)
    if len(cells) > _MOST_ROWS:
        for line in _by_budget(cells):
            console.print(line, soft_wrap=True)
    else:
        console.print(_table(cells, dataset_tokens, device, console.is_terminal))
    console.print(total_line(cost), soft_wrap=True)
    for cell in plan.left_out[:_MOST_LEFT_OUT]:
        console.print(
            f"left out: {cell.flops_budget:g} FLOP at ({cell.n_layer}, {cell.n_embd}): "
            f"{cell.reason}",
            soft_wrap=True,
        )
    if len(plan.left_out) > _MOST_LEFT_OUT:
        console.print(f"left out: {len(plan.left_out) - _MOST_LEFT_OUT} cells more")


def _table(
    cells: Sequence[Sequence[Trial]],
    dataset_tokens: int | None,
    device: Device | None,
    is_terminal: bool,
) -> Table:
    style = box.SIMPLE_HEAD if is_terminal else None
    table = Table(box=style, pad_edge=False, padding=(0, 1 if style else 2, 0, 0))
    armed = len({trials[0].arm for trials in cells}) > 1
    names = [name for name in _COLUMNS if dataset_tokens or name != "epochs"]
    for name in (*names, *(["memory"] if device else []), *(["arm"] if armed else [])):
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for trials in cells:
        first = trials[0]
        here = first.arm, first.flops_budget
        if before not in (None, here) and is_terminal:
            table.add_section()
        before = here
        memory = [size(device.run_bytes(first.config)).replace(" ", "")] if device else []
        table.add_row(*_row(trials, dataset_tokens), *memory, *([first.arm] if armed else []))
    return table


def _by_budget(cells: Sequence[Sequence[Trial]]) -> Iterator[str]:
    """A line for each arm and budget."""
    groups = defaultdict(list)
    for trials in cells:
        groups[trials[0].arm, trials[0].flops_budget].append(trials)
    for (arm, budget), found in groups.items():
        ends = [trials[0].config.model for trials in (found[0], found[-1])]
        shapes = " to ".join(dict.fromkeys(f"{m.n_layer}x{m.n_embd}" for m in ends))
        trials_there = sum(map(len, found))
        yield f"{budget:.3g} FLOP, {arm}: {len(found)} cells, {shapes}, {trials_there} trials"


def total_line(cost: Totals) -> str:
    """The cost in one sentence."""
    text = f"{cost.trials} trials in {cost.cells} cells, {cost.flops:.3g} FLOP"
    if cost.slot_s is None or cost.wall_s is None:
        return f"{text}; time not predicted: nothing here could be measured"
    share = f" +-{100 * cost.error:.0f}%" if cost.error is not None else ""
    return (
        f"{text}; predicted {duration(cost.wall_s)}{share} with {cost.slots} at a time "
        f"({duration(cost.slot_s)} in all)"
    )


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 6.0 min, 14 h, 1,090 h."""
    if seconds >= 3.6e6:
        return f"{seconds / 3600:,.0f} h"
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _cells(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials that differ by seed alone, by budget and size; those of the grid first."""
    cells = defaultdict(list)
    for trial in trials:
        config = trial.config
        rest = config.optimizer.lr, config.schedule.batch_tokens, trial.arm
        place = trial.flops_budget, params_effective(config.model)
        cells[trial.arm != "grid", *place, *rest].append(trial)
    return [cells[key] for key in sorted(cells)]


def _row(trials: Sequence[Trial], dataset_tokens: int | None) -> list[str]:
    first = trials[0]
    config, model, schedule = first.config, first.config.model, first.config.schedule
    n, tokens = params_effective(model), schedule.tokens_seen
    return [
        f"{first.flops_budget:.3g}",
        f"{model.n_layer}x{model.n_embd}",
        _short(n),
        _short(tokens),
        f"{tokens / n:.3g}",
        str(schedule.batch_tokens),
        str(schedule.steps),
        f"{config.optimizer.lr:.3g}",
        *([_epochs(tokens / dataset_tokens)] if dataset_tokens else []),
        str(len(trials)),
        "-" if first.predicted_s is None else duration(first.predicted_s),
    ]


def _epochs(epochs: float) -> str:
    return f"{epochs:.2f}" if epochs >= 0.01 else "<0.01"


def _short(count: float) -> str:
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.0f}"
