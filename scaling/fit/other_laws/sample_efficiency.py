"""How many tokens models of several sizes need for one loss, from training curves at one batch.

    D(L, N) = D_L N^-slope           a description of Kaplan et al. 2020, figures 2 and 4: larger
                                     models reach a loss with fewer tokens and steps
Each curve, without its first twentieth, becomes a falling one (steps_to_loss.py), and the tokens
to each loss of a ladder are read off. The slope is of least squares in logarithms, each loss with a
factor of its own; curves err as a whole, so a resample adds to all points of a run its own misses
times one normal number.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.text import plural
from scaling.fit.batches.critical_batch import MOST_RESAMPLES, unsettled
from scaling.fit.batches.steps_to_loss import batch_of, falling_curve
from scaling.fit.data_flags import wide_share
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.numerics import estimate, generator, normal_draws
from scaling.fit.observations import Observations
from scaling.fit.results.experiments import SampleEfficiencyLaw, TokensToLoss
from scaling.fit.results.laws import judged

LEVELS = 6
_FEWEST = 3  # sizes that reach a loss


def fit_sample_efficiency(
    observations: Observations, resamples: int, seed: int, traces: Sequence[Trace]
) -> SampleEfficiencyLaw:
    """The law of the batch that most curves have; refuses rather than raises."""
    if not traces:
        return _refused("no training curves: they come from a sweep, or rows with a step column")
    batches = [float(f"{batch_of(trace):.2g}") for trace in traces]
    (batch, _), *_ = Counter(batches).most_common()
    mine = [trace for trace, of in zip(traces, batches, strict=True) if of == batch]
    sizes = len({trace.params for trace in mine})
    if sizes < _FEWEST:
        return _refused(
            f"curves of {plural(sizes, 'size')} at one batch, expected at least {_FEWEST}"
        )
    levels = _levels(mine)
    if not levels:
        return _refused(f"no loss is reached by curves of {_FEWEST} sizes")
    level = np.repeat(np.arange(len(levels)), [len(one.run) for one in levels])
    run, x, y = (np.concatenate([getattr(one, n) for one in levels]) for n in ("run", "x", "y"))
    same = level[:, None] == level
    within = np.eye(len(x)) - same / same.sum(axis=1, keepdims=True)
    centred, squares = within @ x, float((within @ x) @ (within @ x))
    slope = -float(centred @ y) / squares
    miss, used = within @ y + slope * centred, len(np.unique(run))
    dof = used - 2
    resamples, rng = min(resamples, MOST_RESAMPLES), generator(seed, "sample_efficiency")
    weight = np.sqrt(used / dof) * normal_draws(1.0, len(mine), dof, resamples, rng)
    slopes = np.append(slope, slope - (weight[:, run] * miss) @ centred / squares)
    reach = max(float(np.ptp(one.x)) for one in levels)
    found, saving = (estimate(float(of[0]), of[1:]) for of in (slopes, np.exp(slopes * reach)))
    return SampleEfficiencyLaw(
        **judged((*unsettled(mine, range(len(mine))), *wide_share(found, "slope"))),
        slope=found,
        saving=saving,
        batch_tokens=batch_of(mine[0]),
        levels=tuple(
            TokensToLoss(one.loss, tuple(np.exp(one.x).tolist()), tuple(np.exp(one.y).tolist()))
            for one in levels
        ),
        runs=used,
        failed_resamples=0,
    )


@dataclass(frozen=True)
class _Level:
    """One loss: which runs reach it (n,), log N and log D of each there."""

    loss: float
    run: np.ndarray
    x: np.ndarray
    y: np.ndarray


def _levels(traces: Sequence[Trace]) -> list[_Level]:
    """Losses between the first that all curves have and the last that enough sizes reach."""
    curves = [falling_curve(trace) for trace in traces]
    first = min(float(loss[0]) for _, loss in curves)
    sizes: dict[float, float] = {}
    for trace, (_, loss) in zip(traces, curves, strict=True):
        sizes[trace.params] = min(float(loss[-1]), sizes.get(trace.params, np.inf))
    last = sorted(sizes.values())[_FEWEST - 1]
    if last >= first:
        return []
    levels = []
    for target in np.geomspace(first, last, LEVELS + 1)[1:]:
        # The last one is a curve's very end, but for rounding.
        rows = [i for i, (_, loss) in enumerate(curves) if loss[-1] <= target * (1 + 1e-12)]
        at = [np.interp(-target, -curves[i][1], curves[i][0]) for i in rows]
        tokens = np.array(at) + np.log([batch_of(traces[i]) for i in rows])
        params = np.log([traces[i].params for i in rows])
        levels.append(_Level(float(target), np.array(rows), params, tokens))
    return levels


def _refused(reason: str) -> SampleEfficiencyLaw:
    return SampleEfficiencyLaw(**judged(reason=reason))
