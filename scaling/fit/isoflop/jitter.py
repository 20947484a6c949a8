"""The losses of one budget at one FLOP, where its runs differ in theirs.

Budgets that no column names are found by their gaps, and runs of one may differ in FLOP by many
percent, with which loss falls. At a size N the loss at the budget's own C in the place of the run's
C_i is

    L + B (D^-beta - D_i^-beta), D = D_i C / C_i

where B and beta are of a surface through all budgets: only this difference counts, so that
exponents of a grid serve. Uncorrected, FLOP that rise with N tilt the curve and move its minimum.

Where FLOP scatter because they were read off a figure, or counted by another rule, the runs are
already at one, and a correction would add the scatter to their losses: the losses are taken to the
mean only where the surface through the runs' own tokens misses them by less than that through the
tokens of the mean.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scaling.fit.budget_flops import WIDEST_BUDGET
from scaling.fit.observations import Observations

# Exponents of N and of D: every pair ever reported lies near one; then steps about the best.
_EXPONENTS = np.arange(0.1, 1.01, 0.1)
_STEPS = np.arange(-0.08, 0.081, 0.02)
_ROUNDING = 1e-3  # relative difference of FLOP that moves no loss beyond its digits
_FEWEST, _MOST = 8, 20_000  # rows that show how loss falls with data; more need not be seen
_FEWEST_BUDGETS = 2


def at_one_flops(
    observations: Observations, groups: Sequence[tuple[float, np.ndarray]]
) -> Observations:
    """The observations with tokens, flops and loss of each budget's runs at their mean FLOP.

    `groups` are budgets, (FLOP, row indices). One that is named is its runs' C, and stays as it is;
    so do runs that differ too widely to be one budget, and all where fewer than two budgets show
    how loss falls with data.
    """
    log_c = np.log(observations.flops)
    moved = np.zeros(len(observations))
    for _, rows in groups:
        spread = np.ptp(log_c[rows])
        if np.isfinite(observations.flops_budget[rows]).any():
            continue
        if _ROUNDING < spread <= np.log(WIDEST_BUDGET):
            moved[rows] = log_c[rows].mean() - log_c[rows]
    if not moved.any():
        return observations
    rows = np.concatenate([rows for _, rows in groups])
    if len(groups) < _FEWEST_BUDGETS or len(rows) < _FEWEST:
        return observations
    rows = rows[:: len(rows) // _MOST + 1]
    log_n, log_d, loss = np.log(observations.params), np.log(observations.tokens), observations.loss
    B, beta, squares = _data_term(log_n[rows], log_d[rows], loss[rows])
    if squares >= _data_term(log_n[rows], (log_d + moved)[rows], loss[rows])[2]:
        return observations
    change = B * (np.exp(-beta * (log_d + moved)) - np.exp(-beta * log_d))
    return replace(
        observations,
        tokens=np.exp(log_d + moved),
        flops=np.exp(log_c + moved),
        loss=observations.loss + change,
    )


def _data_term(x: np.ndarray, y: np.ndarray, loss: np.ndarray) -> tuple[float, float, float]:
    """B, beta and squares left of E + A N^-alpha + B D^-beta over log N and log D, each (n,).

    The exponents are of a grid, and of a finer one about its best pair.
    """
    centre = x.mean(), y.mean()

    def solved(alpha: float, beta: float) -> tuple[float, float]:
        """Squares left, infinite where loss rises with data; the data term at the centre."""
        terms = np.exp(-alpha * (x - centre[0])), np.exp(-beta * (y - centre[1]))
        design = np.column_stack([np.ones(len(loss)), *terms])
        found = np.linalg.lstsq(design, loss, rcond=None)[0]
        squares = float(((loss - design @ found) ** 2).sum())
        return (squares if found[2] > 0 else np.inf), max(float(found[2]), 0.0)

    pairs = [(float(alpha), float(beta)) for alpha in _EXPONENTS for beta in _EXPONENTS]
    alpha, beta = min(pairs, key=lambda pair: solved(*pair)[0])
    near = [(alpha + float(i), beta + float(j)) for i in _STEPS for j in _STEPS]
    alpha, beta = min(near, key=lambda pair: solved(*pair)[0])
    squares, term = solved(alpha, beta)
    return term * float(np.exp(beta * centre[1])), beta, squares
