"""What the fits of the laws beside the headline found: their entries of `laws` in fit.json."""

from dataclasses import dataclass
from typing import Literal

from scaling.fit.flags import Flag
from scaling.fit.results.estimate import UNKNOWN, Estimate, Identifiability
from scaling.fit.results.json_form import optional
from scaling.fit.results.laws import Status

FormName = Literal["power", "floor"]


@dataclass(frozen=True, kw_only=True)
class PowerForm:
    """L = E + (X_c / X)^alpha, or without E; X_c is the one of N_c, D_c and C_c that there is."""

    alpha: Estimate
    N_c: Estimate | None = optional()
    D_c: Estimate | None = optional()
    C_c: Estimate | None = optional()
    E: Estimate | None = optional()
    squares: float
    criterion: float


@dataclass(frozen=True)
class PowerForms:
    """Both forms of a law of one variable; `floor` is None where it could not be fitted."""

    power: PowerForm
    floor: PowerForm | None


@dataclass(frozen=True, kw_only=True)
class KaplanOneVariable:
    """Kaplan's L(N), L(D) or L(C): its better form, and both beside it.

    rule        how its points were chosen
    runs        run_id of each, with `tokens`, since rows of one run may be several observations
    floor_gain  delta BIC in favour of an irreducible loss
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    alpha: Estimate = UNKNOWN
    N_c: Estimate | None = optional()
    D_c: Estimate | None = optional()
    C_c: Estimate | None = optional()
    E: Estimate | None = optional()
    rule: str
    runs: tuple[str, ...]
    tokens: tuple[float, ...]
    form: FormName | None = None
    forms: PowerForms | None = None
    floor_gain: float | None = None
    comparison: str | None = None
    n_points: int
    failed_resamples: int | None = None
    identifiability: Identifiability | None = optional()


@dataclass(frozen=True)
class Overfitting:
    """Data limit the loss by less than a share `excess` where D >= k N^p; runs with less data."""

    excess: float
    k: Estimate
    p: Estimate
    violations: int
    runs: int


@dataclass(frozen=True, kw_only=True)
class KaplanJoint:
    """Kaplan's L(N, D), equation 1.5."""

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    alpha_N: Estimate = UNKNOWN
    alpha_D: Estimate = UNKNOWN
    N_c: Estimate = UNKNOWN
    D_c: Estimate = UNKNOWN
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    alpha_C: Estimate = UNKNOWN
    n_points: int | None = None
    residual_sd: float | None = None
    failed_resamples: int | None = None
    overfitting: Overfitting | None = None
    identifiability: Identifiability | None = optional()


@dataclass(frozen=True)
class ImpliedFrontier:
    """The exponents of the frontier that two of the laws imply."""

    laws: tuple[str, ...]
    form: FormName
    a: Estimate
    b: Estimate
    alpha_C: Estimate


@dataclass(frozen=True, kw_only=True)
class KaplanLaws:
    """Kaplan's four laws, each standing or refused by itself; refused where all are."""

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    L_N: KaplanOneVariable
    L_D: KaplanOneVariable
    L_C: KaplanOneVariable
    L_ND: KaplanJoint
    implied: tuple[ImpliedFrontier, ...]
    failed_resamples: int


@dataclass(frozen=True, kw_only=True)
class OverTrainingLaw:
    """L = E + (a_prime M^eta + b_prime M^-eta) C^-eta with M = D/N, least at `best_multiplier`."""

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    E: Estimate = UNKNOWN
    a_prime: Estimate = UNKNOWN
    b_prime: Estimate = UNKNOWN
    eta: Estimate = UNKNOWN
    best_multiplier: Estimate = UNKNOWN
    n_points: int | None = None
    residual_sd: float | None = None
    failed_resamples: int | None = None
    identifiability: Identifiability | None = optional()


@dataclass(frozen=True, kw_only=True)
class LearningCurve:
    """L(D) at one size, `params`: its better form, and both beside it."""

    params: float
    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    alpha: Estimate = UNKNOWN
    D_c: Estimate | None = optional()
    E: Estimate | None = optional()
    form: FormName | None = None
    forms: PowerForms | None = None
    floor_gain: float | None = None
    comparison: str | None = None
    n_points: int
    failed_resamples: int | None = None
    tokens: tuple[float, ...]
    identifiability: Identifiability | None = optional()


@dataclass(frozen=True, kw_only=True)
class LearningCurveLaw:
    """The learning curves of the sizes that have enough amounts of data."""

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    sizes: tuple[LearningCurve, ...] = ()
    failed_resamples: int | None = None


@dataclass(frozen=True)
class TunedCell:
    """The best value of a hyperparameter at one (N, D), or why it has none, and what was tried.

    Where the least loss is at an end of what was tried the best value lies beyond `bound`.
    """

    params: float
    tokens: float
    value: float | None
    n_values: int
    tried: tuple[float, ...]
    losses: tuple[float, ...]
    reason: str | None
    beyond: Literal["low", "high"] | None = optional()
    bound: float | None = optional()


@dataclass(frozen=True, kw_only=True)
class TunedLaw:
    """The best learning rate, c N^p D^q, or batch in tokens, c D^q or c N^p D^q.

    `n_cells` have an optimum; of `n_censored` only the side of theirs is known.
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    c: Estimate = UNKNOWN
    p: Estimate | None = optional()
    q: Estimate = UNKNOWN
    cells: tuple[TunedCell, ...]
    n_cells: int
    n_censored: int | None = optional()
    residual_sd: float | None = None
    failed_resamples: int | None = None
    identifiability: Identifiability | None = optional()


@dataclass(frozen=True, kw_only=True)
class MinimaLaw:
    """N* = n_coef C^a and D* = d_coef C^b through minima that a table holds, one a row.

    `share_of_budget` is the least and the greatest 6 N* D* / C, `residual_sd` that of log N*.
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    a_plus_b: Estimate = UNKNOWN
    n_coef: Estimate = UNKNOWN
    d_coef: Estimate = UNKNOWN
    share_of_budget: tuple[float, float] | None = None
    n_points: int | None = None
    residual_sd: float | None = None
    failed_resamples: int | None = None
    identifiability: Identifiability | None = optional()


@dataclass(frozen=True)
class RepeatMinimum:
    """A minimum of the objective in R_D* and R_N*; R_N is None where no N is in excess."""

    R_D: float
    R_N: float | None
    objective: float


@dataclass(frozen=True)
class Worth:
    """What so many passes over one text are worth, as a share of as many new tokens."""

    epochs: float
    share: Estimate


@dataclass(frozen=True, kw_only=True)
class DataConstrainedLaw:
    """R_D* and R_N* of repeated data and excess parameters (`R_D`, `R_N`), and the surface.

    open_above  those of R_D and R_N whose 90% interval has hardly an upper end
    surface     `fitted` with the rest, or the name of the published one that was held
    minima      every minimum of the objective, the least first, which is the estimate
    n_repeating runs that repeat data
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    R_D: Estimate = UNKNOWN
    R_N: Estimate = UNKNOWN
    E: Estimate = UNKNOWN
    A: Estimate = UNKNOWN
    B: Estimate = UNKNOWN
    alpha: Estimate = UNKNOWN
    beta: Estimate = UNKNOWN
    open_above: tuple[Literal["R_D", "R_N"], ...] = ()
    surface: str | None = None
    objective: float | None = None
    objective_without_decay: float | None = None
    minima: tuple[RepeatMinimum, ...] = ()
    worth: tuple[Worth, ...] = ()
    n_points: int | None = None
    n_repeating: int | None = None
    failed_resamples: int | None = None
