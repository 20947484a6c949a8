"""How the report writes an estimate: its value with its 90% interval, or what is known instead."""

import math
from collections.abc import Callable, Sequence

from common.numbers import UNKNOWN, compact, count, fixed
from scaling.fit.results.estimate import Estimate

Writer = Callable[[float], str]
_SIDES = {"low": "lower", "high": "upper"}


def decimals_for(estimate: Estimate, least: int = 2, most: int = 4) -> int:
    """Decimals whose unit is at most a third of the width of an estimate's 90% interval."""
    ends = estimate.ci90
    if ends is None or ends[1] <= ends[0]:
        return least + 1
    return min(most, max(least, -math.floor(math.log10((ends[1] - ends[0]) / 3))))


def with_interval(
    estimate: Estimate | None, write: Writer | None = None, missing: str = UNKNOWN
) -> str:
    """`0.42 (0.39 to 0.45)`: value and 90% interval; a bound, or that it is held, in words."""
    if estimate is None or estimate.value is None:
        bound = estimate.bound if estimate else None
        return f"not identified (at its {_SIDES[bound]} bound)" if bound else missing
    if write is None:
        decimals = decimals_for(estimate)
        write = compact if abs(estimate.value) >= 1000 else lambda number: fixed(number, decimals)
    if estimate.ci90 is None:
        return write(estimate.value) + (" (held)" if estimate.held else "")
    low, high = map(write, estimate.ci90)
    return f"{write(estimate.value)} ({low} to {high})"


def in_counts(estimate: Estimate | None, missing: str = UNKNOWN) -> str:
    """Parameters or tokens with their interval: `14.6k (13.7k to 15.5k)`."""
    return with_interval(estimate, count, missing)


def in_loss(estimate: Estimate, missing: str = UNKNOWN) -> str:
    """A loss with the decimals that its interval bears out."""
    decimals = decimals_for(estimate, least=3)
    return with_interval(estimate, lambda loss: fixed(loss, decimals), missing)


def joined(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
