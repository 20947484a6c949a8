"""A number with its uncertainty."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty; every field is None where it is unknown.

    se is the standard deviation of the resamples, ci80, ci90 and ci95 their percentiles. A
    parameter that ended on its bound has no value, and `bound` says which one.
    """

    value: float | None
    se: float | None = None
    ci80: tuple[float, float] | None = None
    ci90: tuple[float, float] | None = None
    ci95: tuple[float, float] | None = None
    bound: Literal["low", "high"] | None = None


UNKNOWN = Estimate(None)
