"""What the fits of batches and steps found: their entries of `laws` in fit.json."""

from dataclasses import dataclass
from typing import Literal

from scaling.fit.flags import Flag
from scaling.fit.results.estimate import UNKNOWN, Estimate, Identifiability
from scaling.fit.results.json_form import optional
from scaling.fit.results.laws import Status


@dataclass(frozen=True, kw_only=True)
class CriticalLevel:
    """Steps, tokens and batch at one loss of one size; unknown where its points do not show them.

    `S_min` steps are the least at any batch, `E_min` tokens the least, `B_crit` their ratio; they
    were read from the `steps` in which runs of so many tokens a step (`batches`) reached the loss.
    `noise_scale` is the gradient noise scale that they logged about there, in tokens.
    """

    params: float
    loss: float
    runs: int
    batches: tuple[float, ...] = ()
    steps: tuple[float, ...] = ()
    noise_scale: float | None = optional()
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


@dataclass(frozen=True)
class CurveOfSteps:
    """A training curve as the law saw it: losses at the steps that they would take at any batch."""

    run_id: str
    params: float
    batch_tokens: float
    S_min: tuple[float, ...]
    losses: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class SizeAndStepsLaw:
    """L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S, and the least compute that follows from it.

    critical_batch  whose B_star and alpha_B turn S into S_min; held where they are not fitted
    a, b            N = n_coef C_min^a and E_min = d_coef C_min^b, of least loss at C_min
    C_c, alpha_C    L = (C_c/C_min)^alpha_C along it
    run_sd          of log loss, as if the rows of a run erred together
    """

    status: Status
    flags: tuple[Flag, ...]
    reason: str | None
    N_c: Estimate = UNKNOWN
    alpha_N: Estimate = UNKNOWN
    S_c: Estimate = UNKNOWN
    alpha_S: Estimate = UNKNOWN
    critical_batch: Literal["fitted", "kaplan"] | None = None
    B_star: Estimate = UNKNOWN
    alpha_B: Estimate = UNKNOWN
    C_c: Estimate = UNKNOWN
    alpha_C: Estimate = UNKNOWN
    a: Estimate = UNKNOWN
    b: Estimate = UNKNOWN
    n_coef: Estimate = UNKNOWN
    d_coef: Estimate = UNKNOWN
    curves: tuple[CurveOfSteps, ...] = ()
    n_points: int | None = None
    run_sd: float | None = None
    failed_resamples: int | None = None
    identifiability: Identifiability | None = optional()
