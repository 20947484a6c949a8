"""How a plan is shown: one row a cell, totals, and what is left out; nothing here decides anything.

On a terminal a rich table, elsewhere the same columns as plain text.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from rich import box
from rich.console import Console
from rich.table import Table

from model.flops import params_effective
from scaling.plan.cost import StepTime, flops_exact, makespan_s
from scaling.plan.grid import Plan, Trial

# Narrow enough for a terminal of 80 columns.
_COLUMNS = (
    *("FLOP", "L x d", "N_eff", "tokens", "tok/N", "batch", "steps", "lr"),
    *("epochs", "seeds", "each"),
)
_PLAIN_WIDTH = 160


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


def totals(plan: Plan, slots: int, step_time: StepTime | None) -> Totals:
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
    file: IO[str] | None = None,
) -> None:
    """Write the table, the totals and the cells left out to `file` (standard output)."""
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(file=file, highlight=False, width=_PLAIN_WIDTH)
    style = box.SIMPLE_HEAD if console.is_terminal else None
    table = Table(box=style, pad_edge=False, padding=(0, 1 if style else 2, 0, 0))
    for name in _COLUMNS:
        table.add_column(name, justify="right", no_wrap=True)
    budget = None
    for trials in _cells(plan.trials):
        if budget not in (None, trials[0].flops_budget) and console.is_terminal:
            table.add_section()
        budget = trials[0].flops_budget
        table.add_row(*_row(trials, dataset_tokens))
    console.print(table)
    console.print(total_line(cost), soft_wrap=True)
    for cell in plan.left_out:
        console.print(
            f"left out: {cell.flops_budget:g} FLOP at ({cell.n_layer}, {cell.n_embd}): "
            f"{cell.reason}",
            soft_wrap=True,
        )


def total_line(cost: Totals) -> str:
    """The cost in one sentence."""
    text = f"{cost.trials} trials in {cost.cells} cells, {cost.flops:.3g} FLOP"
    if cost.slot_s is None or cost.wall_s is None:
        return f"{text}; time not predicted (measure this machine first)"
    share = f" +-{100 * cost.error:.0f}%" if cost.error is not None else ""
    return (
        f"{text}; predicted {duration(cost.wall_s)}{share} with {cost.slots} at a time "
        f"({duration(cost.slot_s)} in all)"
    )


def duration(seconds: float) -> str:
    """Seconds for people: 42 s, 6.0 min, 14 h."""
    if seconds < 120:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def _cells(trials: Sequence[Trial]) -> list[list[Trial]]:
    """Trials that differ by seed alone, by budget and size."""
    cells = defaultdict(list)
    for trial in trials:
        size = params_effective(trial.config.model)
        cells[trial.flops_budget, size].append(trial)
    return [cells[key] for key in sorted(cells)]


def _row(trials: Sequence[Trial], dataset_tokens: int | None) -> list[str]:
    first = trials[0]
    config, model, schedule = first.config, first.config.model, first.config.schedule
    size, tokens = params_effective(model), schedule.tokens_seen
    return [
        f"{first.flops_budget:.3g}",
        f"{model.n_layer}x{model.n_embd}",
        _short(size),
        _short(tokens),
        f"{tokens / size:.3g}",
        str(schedule.batch_tokens),
        str(schedule.steps),
        f"{config.optimizer.lr:.3g}",
        _epochs(tokens, dataset_tokens),
        str(len(trials)),
        "-" if first.predicted_s is None else duration(first.predicted_s),
    ]


def _epochs(tokens: int, dataset_tokens: int | None) -> str:
    if dataset_tokens is None:
        return "-"
    epochs = tokens / dataset_tokens
    return f"{epochs:.2f}" if epochs >= 0.01 else "<0.01"


def _short(count: float) -> str:
    for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}"
    return f"{count:.0f}"
