"""What should be known of a plan before it is paid for: rates that are guessed, narrow valleys."""

from collections.abc import Sequence

from model.config import GPTConfig
from model.flops import params_effective
from scaling.plan.grid import Plan
from scaling.plan.ladder import rungs

# Porian et al. 2024 (2406.19146), the steps from Kaplan's exponent to Hoffmann's.
UNTUNED = (
    "no tuning before the grid: a rate or batch off by a constant factor moved the exponent a by "
    "0.03 to 0.13 in published studies, and no interval shows it"
)
# An expected optimum is a guess: published laws differ by as much at most budgets.
_REACH = 2.0
_MOST_LINES = 6


def doubts(plan: Plan, tune: bool = True) -> list[str]:
    """Lines on the plan of a grid; `tune` is False where its tuning was left out by request."""
    narrow = _narrow_valleys(plan)
    if len(narrow) > _MOST_LINES:
        narrow[_MOST_LINES:] = [f"and {len(narrow) - _MOST_LINES} valleys more"]
    return [*([UNTUNED] if _is_untuned(plan, tune) else []), *narrow]


def _is_untuned(plan: Plan, tune: bool) -> bool:
    if plan.grid.tuning or plan.learned.has("tuning"):
        return False
    rules = plan.grid.rules
    # The toy rules come of sweeps of these very models.
    return not (tune and rules.lr == rules.batch == "toy")


def _narrow_valleys(plan: Plan) -> list[str]:
    """A line on each valley that stays open if the optimum is not where it is expected."""
    grid = plan.learned.applied(plan.grid)
    ladder = sorted(rungs(grid.ladder, plan.base.model), key=params_effective)
    lines = []
    for budget in sorted(grid.budgets):
        here = [t.config.model for t in plan.trials if (t.arm, t.flops_budget) == ("grid", budget)]
        if not here:
            continue
        least, most = min(map(params_effective, here)), max(map(params_effective, here))
        expected = grid.centre.n_effective(budget)
        if expected / least < _REACH:
            beyond = [shape for shape in ladder if params_effective(shape) < least][::-1]
            lines.append(_narrow(plan, budget, "smallest", least / expected, beyond))
        if most / expected < _REACH:
            beyond = [shape for shape in ladder if params_effective(shape) > most]
            lines.append(_narrow(plan, budget, "largest", most / expected, beyond))
    return lines


def _narrow(
    plan: Plan, budget: float, which: str, times: float, beyond: Sequence[GPTConfig]
) -> str:
    """`beyond` are the shapes past that size, the nearest first."""
    lost = {(c.n_layer, c.n_embd): c.reason for c in plan.left_out if c.flops_budget == budget}
    if not beyond:
        why = "the ladder ends there; grid.ladder as a list goes on"
    else:
        nearest = beyond[0].n_layer, beyond[0].n_embd
        why = lost.get(nearest, "the next is not among grid.sizes; more sizes reach it")
    return (
        f"{budget:.3g} FLOP: its {which} size is {times:.2g} times the expected optimum ({why}): "
        "were N* beyond it, the valley would be open"
    )
