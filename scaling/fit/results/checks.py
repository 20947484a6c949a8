"""How far a fit can be relied on: its entries `diagnostics` and `holdout` of fit.json."""

from dataclasses import dataclass
from typing import Literal

from scaling.fit.results.estimate import Estimate
from scaling.fit.results.json_form import optional
from scaling.fit.results.laws import Headline, NestedTest, Status


@dataclass(frozen=True)
class ResidualsOfBudget:
    """Mean and sd of log(observed/fitted) over the runs between two FLOP."""

    flops_low: float
    flops_high: float
    runs: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class Influence:
    """How the exponent a of a law moves without one run; None where a refit has no answer."""

    run_id: str
    params: float
    tokens: float
    law: Headline
    leverage: float | None
    residual: float | None
    a_without: float | None
    a_change: float | None


@dataclass(frozen=True)
class Outlier:
    """A run whose residual is `score` robust standard deviations from the median."""

    run_id: str
    params: float
    tokens: float
    residual: float
    score: float


@dataclass(frozen=True)
class WithoutOutliers:
    """A law fitted to the runs that are no outliers; None for a constant it does not have."""

    law: Headline
    status: Status
    reason: str | None
    runs: int
    a: Estimate | None
    b: Estimate | None
    E: Estimate | None
    alpha: Estimate | None
    beta: Estimate | None


@dataclass(frozen=True)
class Outliers:
    """The outliers by a rule, and the laws without them."""

    rule: str
    runs: tuple[Outlier, ...]
    without: tuple[WithoutOutliers, ...]


@dataclass(frozen=True)
class Diagnostics:
    """Residuals, influence, outliers; empty where no law stands."""

    residuals_by_budget: tuple[ResidualsOfBudget, ...]
    influence: tuple[Influence, ...]
    outliers: Outliers


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """A budget predicted by the law fitted to the runs below it.

    loss_error is (predicted - observed)/observed, n_opt_error predicted/observed - 1; runs_below
    stands in `rolling` alone.
    """

    status: Literal["ok", "none", "refused"]
    reason: str | None
    flops: float | None
    law: Headline | None
    loss_predicted: Estimate
    loss_observed: float | None
    loss_error: float | None
    n_opt_error: float | None
    inside90: bool | None
    runs_below: int | None = optional()


@dataclass(frozen=True)
class Holdout:
    """The held-out budget, as `HeldOut`, and each budget predicted by all below it."""

    status: Literal["ok", "none", "refused"]
    reason: str | None
    flops: float | None
    law: Headline | None
    loss_predicted: Estimate
    loss_observed: float | None
    loss_error: float | None
    n_opt_error: float | None
    inside90: bool | None
    rolling: tuple[HeldOut, ...]
    rolling_reason: str | None


@dataclass(frozen=True)
class FormErrors:
    """Rms of log(predicted/observed) on unseen runs: the held-out budget, and rolling by C, N, D.

    None where the runs below are too few.
    """

    top: float | None = None
    flops: float | None = None
    params: float | None = None
    tokens: float | None = None


@dataclass(frozen=True, kw_only=True)
class FormRow:
    """A form of the surface beside others; `k` of the coupled form alone; rank 1 is the best."""

    form: Literal["hoffmann", "tied", "coupled", "bounded"]
    equation: str
    status: Literal["ok", "refused"]
    reason: str | None
    parameters: int
    objective: float
    k: Estimate | None = optional()
    against_hoffmann: NestedTest | None
    held_out: FormErrors
    rank: int | None
