"""The cells that a sweep was asked for and does not run, in one line."""

from collections import defaultdict
from collections.abc import Collection, Iterable

from common.text import plural

_MOST_BUDGETS = 4
Cell = tuple[float, int, int, str]  # FLOP budget, layers, width, why


def left_out_line(cells: Iterable[Cell], planned: Collection[float]) -> str | None:
    """What is left out, by budget, each with its first reason; None where nothing is.

    `planned` are the budgets that have a trial in the grid.
    """
    by_budget = defaultdict(list)
    for budget, n_layer, n_embd, reason in cells:
        by_budget[budget].append((f"{n_layer}x{n_embd}", reason))
    parts = []
    for budget, found in sorted(by_budget.items())[:_MOST_BUDGETS]:
        shapes = ", ".join(dict.fromkeys(shape for shape, _ in found[:3]))
        more = ", ..." if len(found) > 3 else ""
        which = f" ({shapes}{more})" if budget in planned else ""
        number = plural(len(found), "cell")
        whole = number if budget in planned else f"the whole budget, {number},"
        parts.append(f"{whole} of {budget:g} FLOP{which}: {found[0][1]}")
    rest = sum(map(len, by_budget.values())) - sum(
        len(found) for _, found in sorted(by_budget.items())[:_MOST_BUDGETS]
    )
    parts += [f"{plural(rest, 'cell')} of other budgets"] * bool(rest)
    return f"left out of the grid: {'; '.join(parts)}" if parts else None
