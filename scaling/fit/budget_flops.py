"""The FLOP of a run where its budget is named."""

import numpy as np

# Runs of one budget may differ in FLOP by this factor from end to end, and no more.
WIDEST_BUDGET = 1.5
_APART = 0.05  # as a share: within it 6 N D is the table's own count


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
