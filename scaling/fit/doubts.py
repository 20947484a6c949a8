"""Doubts that stand beside a law's numbers: those about the runs, and when an interval is wide."""

from typing import Any

import numpy as np

from configs.errors import shown
from scaling.fit.cells import listed, plural
from scaling.fit.laws import Estimate, Flag
from scaling.fit.observations import Observations

# A 90% interval of a of this width leaves N* open by a factor 1.26 a decade of extrapolation.
_WIDE = 0.1
# Optima are computed with C = 6 N D: beyond this share of difference they are for another budget.
_FLOP_MISMATCH = 0.05
_LONG_WARMUP = 0.25


def data_flags(observations: Observations) -> tuple[Flag, ...]:
    """Doubts about the runs themselves, which any law through them inherits."""
    flags = []
    pairs: list[Any] = list(zip(observations.params, observations.tokens, strict=True))
    repeated = len(pairs) - len(set(pairs))
    if repeated:
        runs = plural(repeated, "run repeats", "runs repeat")
        text = f"{runs} the (N, D) of another; reduce=best keeps the lowest loss"
        if names := observations.told_apart_by:
            best = shown(names[0])
            text += (
                f"; they differ in {listed(names[:6])}: by={best} fits each apart, "
                f"where.{best}=VALUE one of them"
            )
        flags.append(Flag("repeated_points", text))
    ratio = observations.flops / (6 * observations.params * observations.tokens)
    if np.abs(ratio - 1).max() > _FLOP_MISMATCH:
        text = f"FLOP are {ratio.min():.3g} to {ratio.max():.3g} times 6 N D; optima assume 6 N D"
        flags.append(Flag("flops_mismatch", text))
    warmup = observations.columns.get("warmup_tokens")
    if warmup is not None:
        late = int((warmup > _LONG_WARMUP * observations.tokens).sum())
        if late:
            text = f"{plural(late, 'run')} spent over a quarter of their tokens in warm-up"
            flags.append(Flag("unsettled_schedule", text))
    unmarked = observations.columns.get("unmarked_end")
    if unmarked is not None:
        runs = plural(int(np.nansum(unmarked)), "run has", "runs have")
        text = f"{runs} no row with is_final=1, so that the last is taken"
        flags.append(Flag("unsettled_schedule", text))
    return tuple(flags)


def unsteady(failed: int, resamples: int) -> str | None:
    """Why a law whose fit fails in most resamples is refused; None if it does not."""
    if failed <= 0.5 * resamples:
        return None
    return f"{failed} of {resamples} resamples have no answer: chance made the one of these runs"


def wide_interval(exponent: Estimate) -> tuple[Flag, ...]:
    """The flag of an exponent `a` that is too uncertain to extrapolate with, if it is."""
    if exponent.ci90 is None or exponent.ci90[1] - exponent.ci90[0] <= _WIDE:
        return ()
    text = f"the 90% interval of a is wide, {exponent.ci90[0]:.3f} to {exponent.ci90[1]:.3f}"
    return (Flag("wide_interval", text),)
