"""Lines through compute-optimal points that a table holds, where the runs behind them are unknown.

    minima   N* = k C^a, D* = k' C^b        Hoffmann et al. 2022, 3.2, the last step of approach 2

Every row is the minimum of one budget: its C, N* and D*, by whatever convention they are counted.
The lines are least squares in logarithms, without weights, since no minimum's own error is known,
and independent, so that a + b is a finding: it is 1 where C is a multiple of N D, and need not be
where C counts attention too, or N leaves a part of the model out. Intervals are Student's t.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from common.text import plural
from scaling.fit.bend import bend
from scaling.fit.data_flags import unidentified, wide_interval
from scaling.fit.flags import Flag
from scaling.fit.numerics import FEWEST_POINTS, estimate, generator, identify, normal_draws
from scaling.fit.observations import Observations
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import MinimaLaw

_APART = 0.02  # of a + b from 1, which is told
_ONE_BUDGET = 6  # digits of log C
_LINES = (("a", "n_coef"), ("b", "d_coef"), ("a_plus_b", None))


def fit_minima(observations: Observations, resamples: int, seed: int) -> MinimaLaw:
    """The law `minima`; refuses rather than raises, so with fewer than three budgets."""
    x = np.log(observations.flops)
    budgets = len(np.unique(x.round(_ONE_BUDGET)))
    if budgets < FEWEST_POINTS:
        reason = f"{plural(budgets, 'budget')}, expected at least {FEWEST_POINTS}"
        return MinimaLaw(**judged(reason=reason))
    design = np.column_stack([np.ones(len(x)), x - x.mean()])
    log_n, log_d = np.log(observations.params), np.log(observations.tokens)
    target = np.column_stack([log_n, log_d, log_n + log_d])
    inverse, dof = np.linalg.pinv(design), len(x) - design.shape[1]
    line = inverse @ target
    sd = np.sqrt(((target - design @ line) ** 2).sum(axis=0) / dof)
    found: dict[str, Any] = {}
    for column, (exponent, scale) in enumerate(_LINES):
        rng = generator(seed, f"minima {exponent}")
        draws = normal_draws(sd[column], len(x), dof, resamples, rng)
        level, slope = (line[:, column] + draws @ inverse.T).T
        found[exponent] = estimate(float(line[1, column]), slope)
        if scale:
            whole = float(line[0, column] - line[1, column] * x.mean())
            with np.errstate(over="ignore"):
                found[scale] = estimate(float(np.exp(whole)), np.exp(level - slope * x.mean()))
    share = 6 * observations.params * observations.tokens / observations.flops
    law = MinimaLaw(
        **judged(),
        **found,
        share_of_budget=(float(share.min()), float(share.max())),
        n_points=len(x),
        residual_sd=float(sd[0]),
        identifiability=identify(("k", "a"), design, np.ones(2), float(sd[:2].max())),
    )
    assert law.identifiability is not None
    why = f"budgets span a factor {float(np.exp(np.ptp(x))):.3g}"
    if lost := unidentified(law.identifiability, observations, {}, why):
        return MinimaLaw(**judged(reason=lost), identifiability=law.identifiability)
    return replace(law, **judged((*_flags(law), *bend(x, log_n))))


def _flags(law: MinimaLaw) -> tuple[Flag, ...]:
    flags = [*wide_interval(law.a), *wide_interval(law.b, "b")]
    total, (low, high) = law.a_plus_b, law.share_of_budget or (1.0, 1.0)
    if total.value is not None and abs(total.value - 1) > _APART:
        text = (
            f"a + b = {total.value:.3f}, not 1: 6 N D is {low:.3g} to {high:.3g} times C here, so "
            "that neither exponent follows from the other"
        )
        flags.append(Flag("exponents_not_one", text))
    return tuple(flags)
