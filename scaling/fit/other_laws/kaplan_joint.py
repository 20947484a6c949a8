"""Kaplan's joint law of size and data through all runs, by least squares on log loss.

    L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D        Kaplan et al. 2020, eq. 1.5

Along C = 6 N D its least loss lies where N ~ C^a and D ~ C^b with a = alpha_D/(alpha_N + alpha_D),
b = 1 - a, and falls as C^-alpha_C, 1/alpha_C = 1/alpha_N + 1/alpha_D. Data limit the loss by less
than a share x where D >= k N^p, p = alpha_N/alpha_D,
k = D_c N_c^-p / ((1 + x)^(1/alpha_D) - 1); for Kaplan's numbers and x = 0.02 that is 5.5e3 N^0.74.
"""

from functools import partial

import numpy as np

from scaling.fit.data_flags import (
    collinear,
    data_flags,
    poor_design,
    too_few_points,
    unidentified,
    unsteady,
    wide_interval,
)
from scaling.fit.laws import EXCESS, KaplanLaw
from scaling.fit.numerics import Rows, estimate, estimates, generator
from scaling.fit.numerics.one_step import MANY_ROWS
from scaling.fit.observations import Observations
from scaling.fit.other_laws.small_law import SmallLaw, both_terms, inside
from scaling.fit.results.estimate import Identifiability
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import KaplanJoint, Overfitting

PARAMETERS = 4
_NAMES = ("N_c", "D_c", "alpha_N", "alpha_D")
# log of the size term and of the data term at the runs' centre, alpha_N / alpha_D, alpha_D.
_U, _V, _RATIO, _POWER = range(4)
_LOWER = np.array([-np.inf, -np.inf, 0.01, 1e-3])
_UPPER = np.array([np.inf, np.inf, 10.0, 5.0])


def fit_joint(
    observations: Observations, resamples: int, seed: int
) -> tuple[KaplanJoint, KaplanLaw | None]:
    """Fit eq. 1.5 with a case bootstrap; refuses rather than raises."""
    return fit_with_samples(observations, resamples, seed)[:2]


def fit_with_samples(
    observations: Observations, resamples: int, seed: int
) -> tuple[KaplanJoint, KaplanLaw | None, KaplanLaw | None]:
    """The same, and the law of each resample, arrays of (R,)."""
    reason = too_few_points(observations, PARAMETERS) or poor_design(observations)
    if reason is not None:
        return KaplanJoint(**judged(reason=reason)), None, None
    rows = Rows.of(observations.params, observations.tokens, observations.loss)
    log_loss, n = np.log(observations.loss), len(observations)
    whole = partial(_whole, _corners(rows))
    small = SmallLaw(
        partial(_model, rows),
        _LOWER,
        _UPPER,
        whole,
        _NAMES,
        _log_size,
        lambda at: partial(_model, rows.take(at)),
    )
    found = small.fit(_starts(float(log_loss.mean())), log_loss)
    if isinstance(found, str):
        return KaplanJoint(**judged(reason=found)), None, None
    law = _law(found.theta, rows)
    known = {"alpha_N": law.alpha_N, "alpha_D": law.alpha_D}
    if reason := unidentified(found.identified, observations, known):
        return KaplanJoint(**judged(reason=reason), identifiability=found.identified), None, None
    rng = generator(seed, "kaplan.L_ND")
    samples = _law(small.case_refit(found.theta, log_loss, resamples, rng), rows)
    failed = int(np.isnan(samples.alpha_N).sum())
    if reason := unsteady(failed, resamples):
        return KaplanJoint(**judged(reason=reason)), None, None
    residual_sd = float(np.sqrt(found.squares / (n - PARAMETERS)))
    joint = _fitted(observations, law, samples, residual_sd, failed, found.identified)
    return joint, law, samples


def short_of_data(law: KaplanLaw, observations: Observations) -> np.ndarray:
    """Which runs have fewer tokens than keep their loss within 2% of that of unlimited data."""
    needed = law.data_scale() * observations.params**law.data_power
    return observations.tokens < needed


def _fitted(
    observations: Observations,
    law: KaplanLaw,
    samples: KaplanLaw,
    sd: float,
    failed: int,
    identified: Identifiability,
) -> KaplanJoint:
    named = ("alpha_N", "alpha_D", "N_c", "D_c", "a", "b", "alpha_C")
    found = estimates(law, samples, named)
    with np.errstate(all="ignore"):
        condition = Overfitting(
            excess=EXCESS,
            k=estimate(law.data_scale(), samples.data_scale()),
            p=estimate(law.data_power, samples.data_power),
            violations=int(short_of_data(law, observations).sum()),
            runs=len(observations),
        )
    return KaplanJoint(
        **judged(
            (
                *collinear(identified, observations),
                *wide_interval(found["a"]),
                *data_flags(observations),
            )
        ),
        **found,
        n_points=len(observations),
        residual_sd=sd,
        failed_resamples=failed,
        overfitting=condition,
        identifiability=identified,
    )


def _model(rows: Rows, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = theta[:, _U, None] - theta[:, _RATIO, None] * rows.log_n
    total = np.logaddexp(size, theta[:, _V, None] - rows.log_d)
    share, power = np.exp(size - total), theta[:, _POWER, None]
    slopes = (power * share, power * (1 - share), -power * share * rows.log_n, total)
    return power * total, np.stack(slopes, axis=2)


def _starts(mean: float) -> np.ndarray:
    """Starts over both exponents and over which term is the greater, all through the mean."""
    return np.array(
        [
            (
                mean / power - np.log1p(np.exp(-tilt)),
                mean / power - np.log1p(np.exp(tilt)),
                ratio,
                power,
            )
            for power in np.geomspace(0.04, 1.0, 7)
            for ratio in (0.3, 0.6, 1.0, 1.7, 3.0)
            for tilt in (-2.0, 0.0, 2.0)
        ]
    )


def _corners(rows: Rows) -> Rows:
    """Rows among which the ratio of the two terms is least and greatest, whatever its exponent."""
    if rows.loss.size <= MANY_ROWS:
        return rows
    ratios = np.geomspace(_LOWER[_RATIO], _UPPER[_RATIO], 60)
    ends = [find(rows.log_d - r * rows.log_n) for r in ratios for find in (np.argmin, np.argmax)]
    return rows.take(np.unique(ends))


def _whole(rows: Rows, theta: np.ndarray) -> np.ndarray:
    ratio = theta[:, _RATIO, None] * rows.log_n
    log_ratio = theta[:, _U, None] - ratio - theta[:, _V, None] + rows.log_d
    return inside(theta[:, _RATIO:], _LOWER[_RATIO:], _UPPER[_RATIO:]) & both_terms(log_ratio)


def _log_size(theta: np.ndarray) -> float:
    """The power alpha_D stands outside: a term in its bracket is known by its alpha_D-th power."""
    return float(1 / theta[_POWER])


def _law(theta: np.ndarray, rows: Rows) -> KaplanLaw:
    """The law in raw N and D of centred parameters (..., 4)."""
    ratio, power = theta[..., _RATIO], theta[..., _POWER]
    return KaplanLaw(
        log_N_c=theta[..., _U] / ratio + rows.centre[0],
        log_D_c=theta[..., _V] + rows.centre[1],
        alpha_N=ratio * power,
        alpha_D=power,
    )
