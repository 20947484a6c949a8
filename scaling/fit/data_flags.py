"""Flags that several laws share: of the runs, of wide intervals; and shared refusals."""

from typing import Any

import numpy as np

from common.text import listed, plural, shown
from scaling.fit.flags import Flag
from scaling.fit.observations import Observations
from scaling.fit.results.estimate import Estimate

# A 90% interval of a of this width leaves N* open by a factor 1.26 a decade of extrapolation.
WIDE = 0.1
# Width of a 90% interval, as a share of the value, beyond which a constant is not known.
WIDE_SHARE = 0.5
E_AT_BOUND = "E ended at its bound 0: these runs show no irreducible loss"
# Values this near each other tell an exponent from a constant by the noise alone.
NARROW = 4.0
ENOUGH_BUDGETS = 5  # for a law through their minima to rely on
FEWEST_VALUES = 3  # of N, and of D, that show an exponent
_MOST_FAILED = 0.5  # share of the resamples
# Optima are computed with C = 6 N D: beyond this share of difference they are for another budget.
_FLOP_MISMATCH = 0.05
_LONG_WARMUP = 0.25


def data_flags(observations: Observations) -> tuple[Flag, ...]:
    """Flags of the runs themselves, which any law through them inherits."""
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
        text = f"FLOP are {ratio.min():.3g} to {ratio.max():.3g} times 6 N D; optima assume 6 N D, "
        text += "but for minima of IsoFLOP curves, which are at the FLOP given"
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
    if failed <= _MOST_FAILED * resamples:
        return None
    return (
        f"the fit failed in {failed} of {resamples} bootstrap resamples; the estimate is not "
        "reliable"
    )


def too_few_points(observations: Observations, parameters: int) -> str | None:
    """Why a law of so many parameters in N and D is refused; None if the runs are enough."""
    points = len(set(zip(observations.params, observations.tokens, strict=True)))
    if points > parameters:
        return None
    return f"{plural(points, 'distinct (N, D) point')}, expected at least {parameters + 1}"


def too_few_values(observations: Observations) -> str | None:
    """Why a law with an exponent of N and one of D is refused; None if both vary enough."""
    for name, values in (("N", observations.params), ("D", observations.tokens)):
        if (distinct := len(np.unique(values))) < FEWEST_VALUES:
            return f"{distinct} distinct {name}, expected at least 3 to see an exponent"
    return None


def is_wide(found: Estimate, most: float) -> bool:
    """Whether the 90% interval is wider than `most`; not where it is unknown."""
    return found.ci90 is not None and found.ci90[1] - found.ci90[0] > most


def wide_interval(exponent: Estimate, name: str = "a", most: float = WIDE) -> tuple[Flag, ...]:
    """The flag of an exponent that is too uncertain to extrapolate with, if it is."""
    if exponent.ci90 is None or not is_wide(exponent, most):
        return ()
    low, high = exponent.ci90
    text = f"the 90% interval of {name} is wide, {low:.3f} to {high:.3f}"
    return (Flag("wide_interval", text),)


def wide_share(exponent: Estimate, name: str) -> tuple[Flag, ...]:
    """The same of an exponent whose size is not known in advance: as a share of its value."""
    return wide_interval(exponent, name, WIDE_SHARE * exponent.value) if exponent.value else ()


def wide_floor(E: Estimate) -> tuple[Flag, ...]:
    """The flag of an irreducible loss that is not known, if it is not."""
    if E.ci90 is None or not E.value or not is_wide(E, WIDE_SHARE * E.value):
        return ()
    text = (
        f"the 90% interval of E, {E.ci90[0]:.2f} to {E.ci90[1]:.2f}, is wider than half of E; "
        "do not extrapolate far"
    )
    return (Flag("floor_unidentified", text),)
