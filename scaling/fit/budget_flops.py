"""The FLOP of a run where its budget is named."""

import numpy as np

# Runs of one budget may differ in FLOP by this factor from end to end, and no more.
WIDEST_BUDGET = 1.5


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
