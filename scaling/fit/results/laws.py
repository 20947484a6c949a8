"""What the fits of the three approaches found: their entries of `laws` in fit.json.

The names of fields are the keys of fit.json. Every law has `status`, `flags` and `reason`; one
that is refused has a reason and, beside it, what was learned before it was refused: its other
fields are at their defaults, estimates unknown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypedDict

from scaling.fit.flags import Flag
from scaling.fit.results.estimate import UNKNOWN, Estimate, Identifiability
from scaling.fit.results.json_form import optional

Status = Literal["ok", "flagged", "refused"]
Headline = Literal["isoflop", "parametric"]
Ends = tuple[float | None, float | None]


class Law(Protocol):
    """What every law says: `ok`, `flagged` (numbers with flags) or `refused` (a reason)."""

    @property
    def status(self) -> Status: ...  # noqa: D102
    @property
    def flags(self) -> tuple[Flag, ...]: ...  # noqa: D102
    @property
    def reason(self) -> str | None: ...  # noqa: D102
    @property
    def failed_resamples(self) -> int | None: ...  # noqa: D102


class Judged(TypedDict):
    """The fields that every law has."""

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None


def judged(flags: tuple[Flag, ...] = (), reason: str | None = None) -> Judged:
    """Refused where there is a reason, flagged where there is a flag, else ok."""
    status: Status = "refused" if reason is not None else "flagged" if flags else "ok"
    return {"status": status, "flags": flags, "reason": reason}


@dataclass(frozen=True)
class Exponents:
    """The exponents of N* and of D* in C, by one method."""

    a: Estimate
    b: Estimate


@dataclass(frozen=True)
class IsoflopMinimum:
    """The minimum of one budget's IsoFLOP curve; its estimates are unknown where it has none."""

    flops: float
    n_opt: Estimate
    d_opt: Estimate
    loss: Estimate
    n_points: int
    flags: tuple[Flag, ...]


@dataclass(frozen=True, kw_only=True)
class IsoflopLaw:
    """Approach 2: N* = n_coef C^a and D* = d_coef C^b through the minima of the IsoFLOP curves.

    `methods` has the exponents by each method, None where it gives none; `method` is the
    headline's, `method_errors` the root mean square error of a of each method in simulations (of
    one that often has no answer None), None where there were none. `scatter_between_valleys` is in
    log N, beyond what noise explains.
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    n_coef: Estimate = UNKNOWN
    d_coef: Estimate = UNKNOWN
    method: Literal["parabola", "parabola_all", "spline", "robust"] | None = None
    method_reason: str | None = None
    method_errors: Mapping[str, float | None] | None = None
    methods: Mapping[str, Exponents | None] = field(default_factory=dict)
    valleys: tuple[IsoflopMinimum, ...]
    scatter_between_valleys: float | None = None
    failed_resamples: int | None = None


@dataclass(frozen=True)
class ProfileEnds:
    """Intervals by profile likelihood; an end is None where the profile is open."""

    ci80: Ends
    ci90: Ends
    ci95: Ends


@dataclass(frozen=True)
class ProfileResult:
    """Profiles of a and of E, and whether the one of a agrees with its interval by resamples.

    `E` is None where it is held.
    """

    a: ProfileEnds
    E: ProfileEnds | None
    agrees: bool | None


@dataclass(frozen=True, kw_only=True)
class ParametricLaw:
    """Approach 3: the surface L = E + A N^-alpha + B D^-beta, with what certifies the minimum.

    `residuals` are log(observed/fitted) of the observations in order; None in a comparison. `form`
    and `equation` are those of another form that was asked for, `k` or `ceiling` its own constant.
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    E: Estimate = UNKNOWN
    A: Estimate = UNKNOWN
    B: Estimate = UNKNOWN
    alpha: Estimate = UNKNOWN
    beta: Estimate = UNKNOWN
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    objective: float | None = None
    gradient_norm: float | None = None
    converged: bool | None = None
    starts: int | None = None
    starts_at_optimum: int | None = None
    resampling: Literal["noise", "cases"] | None = None
    residuals: tuple[float, ...] | None = optional()
    failed_resamples: int | None = None
    profile: ProfileResult | None = None
    identifiability: Identifiability | None = optional()
    form: Literal["tied", "coupled", "bounded"] | None = optional()
    equation: str | None = optional()
    k: Estimate | None = optional()
    ceiling: float | None = optional()


@dataclass(frozen=True)
class Crossing:
    """A budget at which the envelope passes from one size to the next."""

    flops: float
    n_opt: float
    d_opt: float


@dataclass(frozen=True, kw_only=True)
class EnvelopeLaw:
    """Approach 1: N* and D* along the envelope of the training curves.

    `settled_share` is that of the envelope's points from runs within `settled_within` (a share)
    of their end.
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    n_coef: Estimate = UNKNOWN
    d_coef: Estimate = UNKNOWN
    method: Literal["crossings"] | None = None
    methods: Mapping[str, Exponents | None] = field(default_factory=dict)
    crossings: tuple[Crossing, ...] = ()
    settled_share: float | None = None
    settled_within: float | None = None
    budgets: int | None = None
    smoothing_steps: float | None = None
    curves: int | None = None
    curves_on_envelope: int | None = None
    failed_resamples: int | None = None


@dataclass(frozen=True)
class NestedTest:
    """The quasi-likelihood ratio of a form within another: F(1, n - constants), and its p."""

    statistic: float
    p: float


@dataclass(frozen=True, kw_only=True)
class FormLaw:
    """Another form of the surface, `coupled` (with k) or `bounded` (with its ceiling log V)."""

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    E: Estimate = UNKNOWN
    A: Estimate = UNKNOWN
    B: Estimate = UNKNOWN
    alpha: Estimate = UNKNOWN
    beta: Estimate = UNKNOWN
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    k: Estimate | None = optional()
    ceiling: float | None = optional()
    objective: float | None = None
    objective_of_hoffmann: float | None = None
    against_hoffmann: NestedTest | None = None
    identifiability: Identifiability | None = optional()
    n_points: int | None = None
    failed_resamples: int | None = None
