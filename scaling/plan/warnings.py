"""What to know about a plan before paying for it: untuned learning rates, narrow IsoFLOP curves."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from model.config import GPTConfig
from model.flops import params_effective
from scaling.fit.flags import Flag
from scaling.fit.left_out import left_out_line
from scaling.plan.ladder import rungs
from scaling.plan.plan import Plan, by_arm

# Porian et al. 2024 (2406.19146), the steps from Kaplan's exponent to Hoffmann's.
UNTUNED = Flag(
    "untuned_rules",
    "no tuning before the grid: a learning rate or batch off by a constant factor moved the "
    "exponent a by 0.03 to 0.13 in published studies, and no interval shows it",
)
UNTUNED_ARMS = Flag(
    "untuned_arms",
    "no tuning before the grid: all arms have the rate and batch of rules that were made for one "
    "recipe, and an arm may look worse for that alone; add a tuning stage, as grid=[NAME,tuning]",
)
# An expected optimum is a guess: published laws differ by as much at most budgets.
_REACH = 2.0
_ONE_SIZE = 1.1  # times the least: shapes that are to be alike in size
_MOST_LINES = 6


def left_out(plan: Plan) -> str | None:
    """The cells that a plan does not run, in one line; None where it runs all of them."""
    cells = (
        (c.flops_budget, c.n_layer, c.n_embd, f"{c.arm}: {c.reason}" if c.arm else c.reason)
        for c in plan.left_out
    )
    return left_out_line(cells, {t.flops_budget for t in plan.trials if t.part == "grid"})


def plan_warnings(plan: Plan, tune: bool = True) -> list[Flag]:
    """Warnings about a grid's plan; `tune` is False where its tuning was left out by request."""
    arms = by_arm(plan)
    narrow = list(_of_arms(arms, _narrow_curves))
    if len(narrow) > _MOST_LINES:
        more = f"and {len(narrow) - _MOST_LINES} IsoFLOP curves more"
        narrow[_MOST_LINES:] = [Flag("narrow_curve", more)]
    skipped = left_out(plan)
    return [
        *([Flag("left_out_cells", skipped)] if skipped else []),
        *_of_arms(arms, _short_curves),
        *([UNTUNED] if _is_untuned(plan, tune) else []),
        *([UNTUNED_ARMS] if plan.grid.arms and not plan.grid.tuning else []),
        *narrow,
    ]


def _short_curves(plan: Plan) -> list[Flag]:
    """Budgets of which the ladder has fewer sizes than the grid asks for."""
    grid = plan.corrected_grid
    there, asked = len(rungs(grid.ladder, plan.base.model)), max(grid.sizes_by_budget.values())
    if asked <= there:
        return []
    text = f"grid.sizes asks for {asked}, and grid.ladder has {there}"
    return [Flag("left_out_cells", text)]


def _of_arms(arms: Sequence[Plan], find: Callable[[Plan], list[Flag]]) -> Iterator[Flag]:
    """What is found of the arms, each once, with the names of those it holds for if not of all."""
    found: dict[Flag, list[str]] = {}
    for arm in arms:
        for flag in find(arm):
            found.setdefault(flag, []).append(arm.arm or "")
    for flag, names in found.items():
        which = "" if len(names) == len(arms) else f"{', '.join(names)}: "
        yield replace(flag, text=which + flag.text)


def _is_untuned(plan: Plan, tune: bool) -> bool:
    if plan.grid.tuning or plan.learned.has("tuning"):
        return False
    rules = plan.grid.rules
    # The toy rules come of sweeps of these very models.
    return not (tune and rules.lr == rules.batch == "toy")


def _narrow_curves(plan: Plan) -> list[Flag]:
    """A warning for each curve that stays open if the optimum is not where it is expected."""
    grid = plan.corrected_grid
    ladder = sorted(rungs(grid.ladder, plan.base.model), key=params_effective)
    found = []
    for budget in sorted(grid.budgets):
        here = [t.config.model for t in plan.trials if (t.part, t.flops_budget) == ("grid", budget)]
        if not here:
            continue
        least, most = min(map(params_effective, here)), max(map(params_effective, here))
        whole = all(cell.flops_budget != budget for cell in plan.left_out)
        if whole and most < _ONE_SIZE * least:  # of shapes of one size no minimum is asked
            continue
        expected = grid.centre.n_effective(budget)
        if expected / least < _REACH:
            outer = [shape for shape in ladder if params_effective(shape) < least][::-1]
            found.append(_narrow(plan, budget, "smallest", least / expected, outer))
        if most / expected < _REACH:
            outer = [shape for shape in ladder if params_effective(shape) > most]
            found.append(_narrow(plan, budget, "largest", most / expected, outer))
    return found


def _narrow(
    plan: Plan, budget: float, which: str, times: float, outer: Sequence[GPTConfig]
) -> Flag:
    """`outer` are the shapes past that size, the nearest first."""
    skipped = {(c.n_layer, c.n_embd): c.reason for c in plan.left_out if c.flops_budget == budget}
    why = "the ladder ends there; grid.ladder as a list goes on"
    if outer:
        nearest = outer[0].n_layer, outer[0].n_embd
        why = skipped.get(nearest, "the next is not among grid.sizes; more sizes reach it")
    return Flag(
        "narrow_curve",
        f"{budget:.3g} FLOP: its {which} size is {times:.2g} times the expected optimum ({why}): "
        "if N* lies beyond it, the IsoFLOP curve has no minimum",
    )
