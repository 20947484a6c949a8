"""What the fit of the critical batch found: its entry of `laws` in fit.json."""

from dataclasses import dataclass

from scaling.fit.flags import Flag
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.laws import Status


@dataclass(frozen=True, kw_only=True)
class CriticalLevel:
    """Steps, tokens and batch at one loss of one size; unknown where its points do not show them.

    `S_min` steps are the least at any batch, `E_min` tokens the least, `B_crit` their ratio.
    """

    params: float
    loss: float
    runs: int
    S_min: Estimate = UNKNOWN
    E_min: Estimate = UNKNOWN
    B_crit: Estimate = UNKNOWN


@dataclass(frozen=True, kw_only=True)
class CriticalBatchLaw:
    """B_crit = B* / L^(1/alpha_B) in tokens, and each loss by itself.

    `run_sd` and `point_sd` are nats by which a whole curve, and a point of it, scatter.
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    B_star: Estimate = UNKNOWN
    alpha_B: Estimate = UNKNOWN
    levels: tuple[CriticalLevel, ...] = ()
    runs: int | None = None
    run_sd: float | None = None
    point_sd: float | None = None
    failed_resamples: int | None = None
