"""What a change is worth in compute: the entries `multipliers` of fit.json."""

from dataclasses import dataclass
from typing import Literal

from scaling.fit.flags import Flag
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.json_form import optional
from scaling.fit.results.laws import Status

FrontierSource = Literal["isoflop", "envelope", "surface"]
Verdict = Literal["better", "worse", "no difference shown"]
TrendVerdict = Literal["growing", "constant", "vanishing"]


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The multiplier over all budgets, and how it changes with compute.

    k, k_data, k_size  weighted means over the budgets, by inverse variance, of log k
    slope      of log k in log C; growing or vanishing where its 90% interval leaves out 0
    verdict    by the 90% interval of k; None where there are no resamples
    flops      the budgets it spans, least and greatest
    frontier   what L*(C) is read off: minima of IsoFLOP curves, envelopes or surfaces
    E          irreducible loss, one for both arms; `E_pinned` where multiplier.E gave it
    gamma      the exponent of the baseline's L* above E, which turns loss into compute
    paired     whether runs of one seed, budget and size were resampled together
    correlation  of their noise; None where they were not
    scatter    sd of log k between budgets beyond what noise explains, where it is shown at 5%
    """

    k: Estimate
    k_data: Estimate
    k_size: Estimate
    slope: Estimate
    verdict: Verdict | None
    with_compute: TrendVerdict | None
    words: str
    flops: tuple[float, float]
    budgets: int
    frontier: FrontierSource
    E: Estimate
    E_pinned: bool
    gamma: Estimate
    paired: bool
    correlation: float | None
    scatter: float


@dataclass(frozen=True, kw_only=True)
class Multiplier:
    """k(C) of an arm at one budget: the compute the baseline needs for the arm's loss, over C.

    k_data and k_size are the same of the compute-optimal data and size. `flops` is None, and there
    is no `trend`, where the arm has no multiplier at all; `reason` says why.
    """

    arm: str
    baseline: str
    flops: float | None
    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    k: Estimate = UNKNOWN
    k_data: Estimate = UNKNOWN
    k_size: Estimate = UNKNOWN
    loss: Estimate = UNKNOWN
    baseline_loss: Estimate = UNKNOWN
    trend: Trend | None = optional()
