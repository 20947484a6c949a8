"""The smallest compute multiplier that a grid of two arms could tell from 1, before anything runs.

The minimum of an IsoFLOP curve has the variance of its parabola (delta method), a difference of two
arms 2 (1 - correlation) times that, and a loss turns into compute by the slope of the assumed law's
frontier, -dL*/dlog C = gamma (L* - E), gamma = alpha beta/(alpha + beta). Budgets are weighted by
inverse variance, as the fit does. Shapes: k sizes of a budget.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtrit

from scaling.fit.isoflop.profiles import FEWEST_SIZES, WINDOW_FACTOR, lowest_size, window
from scaling.fit.laws import Surface

LEVEL, POWER = 0.90, 0.80
_MOST_SEEDS = 64


@dataclass(frozen=True)
class SmallestMultiplier:
    """What a grid of two arms could show.

    k        the smallest multiplier whose 90% interval would leave out 1 in 80% of such studies;
             as likely is 1/k of a worse arm. None where no budget has a minimum under the law
    sd       standard deviation of log k over all budgets
    seeds    of each cell
    seeds_to_halve  those with which half of log k would do; None beyond 64
    half_widths     of the 90% interval of log k, with these seeds and with one more
    """

    k: float | None
    sd: float
    seeds: int
    seeds_to_halve: int | None
    half_widths: tuple[float, float] = (math.nan, math.nan)

    @property
    def line(self) -> str:
        """In one line, for a plan."""
        if self.k is None:
            return "compute multiplier: no budget's sizes have a minimum between them by that law"
        halved = f"more than {_MOST_SEEDS}" if self.seeds_to_halve is None else self.seeds_to_halve
        now, then = (f"{np.exp(-half):.3f} to {np.exp(half):.3f}" for half in self.half_widths)
        return (
            f"compute multiplier: {self.k:.3g} or more (or 1/{self.k:.3g}) would be told from 1 "
            f"by a {LEVEL:.0%} interval, in {POWER:.0%} of such studies; that interval would be k "
            f"times {now}, and {then} with {self.seeds + 1} seeds instead of {self.seeds}; "
            f"{halved} seeds would halve log k"
        )


def smallest_multiplier(
    law: Surface,
    budgets: Sequence[float],
    sizes: Sequence[Sequence[float]],
    noise: Sequence[float],
    seeds: int,
    correlation: float,
) -> SmallestMultiplier:
    """What a grid could tell, if both arms follow `law` but for a factor in compute near 1.

    budgets      FLOP
    sizes        N of each budget's cells, N effective as the law's
    noise        nats between two seeds, of each budget
    seeds        runs of each cell in either arm
    correlation  of the noise of two runs that share seed, budget and size; 0: nothing is shared
    """
    gamma = law.alpha * law.beta / (law.alpha + law.beta)
    inverse, dof = 0.0, 0  # of the variance of log k with one seed, over all budgets
    for flops, params, sd in zip(budgets, sizes, noise, strict=True):
        found = _minimum_variance(law, flops, np.sort(np.asarray(params, dtype=float)))
        if found is None:
            continue
        variance, free = found
        least = law.predict_loss(*law.optimal_allocation(flops))
        slope = gamma * (least - law.E)
        of_difference = 2 * (1 - correlation) * variance * sd**2
        inverse += slope**2 / max(of_difference, 1e-300)
        dof += free
    if not inverse:
        return SmallestMultiplier(None, float("nan"), seeds, None)

    def spread(runs: int) -> float:
        return float((inverse * runs) ** -0.5)

    def half_width(runs: int) -> float:
        # Residuals tell the noise of one seed; several seeds tell it themselves. Arms drawn apart
        # have residuals of their own each.
        known = runs > 1 or dof == 0
        arms = 1 if correlation else 2
        quantile = ndtri(0.5 + LEVEL / 2) if known else stdtrit(arms * dof, 0.5 + LEVEL / 2)
        return float(quantile) * spread(runs)

    def log_k(runs: int) -> float:
        return half_width(runs) + float(ndtri(POWER)) * spread(runs)

    own, halves = log_k(seeds), (half_width(seeds), half_width(seeds + 1))
    more = (runs for runs in range(seeds + 1, _MOST_SEEDS + 1) if log_k(runs) <= own / 2)
    return SmallestMultiplier(float(np.exp(own)), spread(seeds), seeds, next(more, None), halves)


def _minimum_variance(law: Surface, flops: float, params: np.ndarray) -> tuple[float, int] | None:
    """Variance of the least loss for runs of unit noise, and residuals' degrees of freedom."""
    if len(params) < FEWEST_SIZES:
        return None
    log_n = np.log(params)
    loss = law.predict_loss(params, flops / (6 * params))
    lowest = lowest_size(loss)
    if lowest in (0, len(params) - 1):
        return None
    near = window(log_n, lowest, WINDOW_FACTOR)
    x = log_n[near] - log_n[near].mean()
    design = np.stack([np.ones_like(x), x, x**2], axis=1)
    _, slope, bend = np.linalg.pinv(design) @ loss[near]
    if not bend > 0:
        return None
    # Of c - b^2/(4 a) in c, b and a, for the curve c + b x + a x^2.
    gradient = np.array([1.0, -slope / (2 * bend), slope**2 / (4 * bend**2)])
    return float(gradient @ np.linalg.inv(design.T @ design) @ gradient), len(x) - 3
