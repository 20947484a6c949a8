"""A number with its uncertainty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scaling.fit.results.json_form import optional


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty; every field is None where it is unknown.

    se is the standard deviation of the resamples, ci80, ci90 and ci95 their percentiles. A
    parameter that ended on its bound has no value, and `bound` says which one; one that was given
    and not fitted is `held`.
    """

    value: float | None
    se: float | None = None
    ci80: tuple[float, float] | None = None
    ci90: tuple[float, float] | None = None
    ci95: tuple[float, float] | None = None
    bound: Literal["low", "high"] | None = None
    held: bool | None = optional()


UNKNOWN = Estimate(None)


@dataclass(frozen=True)
class Identifiability:
    """Which of a law's constants its runs determine, to first order about the optimum.

    rank          directions of the constants that move the residuals, of `constants`
    condition     of the Jacobian, its columns of one length; None where the rank falls short
    relative_se   standard error of each constant as a share of its size (terms are taken at the
                  runs' geometric means); None where nothing tells it
    undetermined  constants without one, or with one over 0.5
    """

    rank: int
    constants: int
    condition: float | None
    relative_se: Mapping[str, float | None]
    undetermined: tuple[str, ...]
