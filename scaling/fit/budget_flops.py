"""The FLOP of a run where its budget is named."""

import numpy as np

# Runs of one budget may differ in FLOP by this factor from end to end, and no more.
WIDEST_BUDGET = 1.5
_NO_FLOP = 10.0  # a budget further than so many times from its runs' FLOP is the name of a group
_APART = 0.05  # as a share: within it 6 N D is the table's own count


def as_flops(budget: np.ndarray, flops: np.ndarray) -> np.ndarray:
    """Named budgets (n,) as FLOP, by the runs' own: labels as 1, 2, 3 are their runs' mean FLOP.

    So is a budget in another unit. The mean is geometric; nan where no budget is named.
    """
    found = budget.copy()
    for one in np.unique(budget[budget > 0]):
        own = (budget == one) & (flops > 0)
        mean = float(np.exp(np.log(flops[own]).mean())) if own.any() else one
        if not 1 / _NO_FLOP <= one / mean <= _NO_FLOP:
            found[budget == one] = mean
    return found


def at_budget(flops: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """FLOP (n,) of runs by their own count; the budget named where there is none, or against it.

    A budget that is named is the runs' C, however N is counted: 6 N D of parameters without
    embeddings, say, differs from it. Where the own counts of one budget's runs differ widely, they
    are no measure of it. Both are nan where unknown.
    """
    found = np.where(np.isnan(flops), budget, flops)
    for one in np.unique(budget[np.isfinite(budget)]):
        own = budget == one
        if found[own].max() > WIDEST_BUDGET * found[own].min():
            found[own] = one
    return found


def mixed_flops(given: np.ndarray, by_rule: np.ndarray) -> bool:
    """Whether some runs have FLOP (nan: none) by a count that is not `by_rule`, 6 N D of (n,)."""
    known = np.isfinite(given)
    if known.all() or not known.any():
        return False
    ratio = given[known] / by_rule[known]
    return bool((np.abs(ratio - 1) > _APART).any())
