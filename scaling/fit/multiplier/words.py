"""A multiplier in words: how much compute an arm saves or costs, and how that changes."""

import math
from collections.abc import Sequence

from common.numbers import compact, fixed
from common.text import listed
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.multipliers import TrendVerdict, Verdict

_LEAST, _MOST = 2, 4  # decimals


def in_words(
    arm: str,
    baseline: str,
    k: Estimate,
    slope: Estimate,
    verdict: Verdict | None,
    course: TrendVerdict | None,
    flops: tuple[float, float],
    at_ends: tuple[float, float],
    far: Sequence[float] = (),
) -> str:
    """One sentence; `at_ends` is k at the least and the greatest budget. Intervals are 90%.

    `far` are the budgets at which k rests on the baseline's law beyond its budgets.
    """
    over = f"from {compact(flops[0])} to {compact(flops[1])} FLOP"
    if far:
        over += f" (at {listed(map(compact, far))} FLOP the baseline's law is extrapolated)"
    if k.value is None:
        return f"{arm}: no multiplier over {baseline}, {over}"
    if k.ci90 is None:
        return f"{arm} over {baseline}: k = {fixed(k.value, 3)}, without an interval, {over}"
    value, ends = k.value, k.ci90
    if verdict == "no difference shown":
        said, start = f"no difference shown: {arm} over {baseline}, k = ", "{}"
    elif verdict == "better":
        said, start = f"{arm} reaches the loss of {baseline} with ", "1/{} of the compute"
    else:
        said, start = f"{arm} reaches the loss of {baseline} with ", "{} times the compute"
        value, ends = 1 / value, (1 / ends[1], 1 / ends[0])
    shown = _decimals(*ends)
    low, high = (fixed(end, shown) for end in ends)
    whole = f"{said}{start.format(fixed(value, shown))} (90% interval {low} to {high}), {over}"
    return whole + _course(slope, course, verdict, at_ends)


def _course(
    slope: Estimate,
    course: TrendVerdict | None,
    verdict: Verdict | None,
    at_ends: tuple[float, float],
) -> str:
    if course is None or slope.value is None or slope.ci90 is None:
        return ""
    decimals = _decimals(*slope.ci90)
    value, low, high = (f"{end:+.{decimals}f}" for end in (slope.value, *slope.ci90))
    ends = f"d log k/d log C = {value} ({low} to {high})"
    if course == "constant":
        return f"; no trend with compute is shown, {ends}"
    over = f"k from {fixed(at_ends[0], 2)} to {fixed(at_ends[1], 2)}, {ends}"
    if verdict == "no difference shown":
        return f"; k {'rises' if slope.value > 0 else 'falls'} with compute, {over}"
    what = "the advantage" if verdict == "better" else "the disadvantage"
    return f"; {what} is {course} with compute, {over}"


def _decimals(low: float, high: float) -> int:
    """Decimals whose unit is at most a third of an interval."""
    if not high > low:
        return _LEAST + 1
    return min(_MOST, max(_LEAST, -math.floor(math.log10((high - low) / 3))))
