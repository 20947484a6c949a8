"""Kaplan's joint law of size and data through all runs, by least squares on log loss.

    L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D        Kaplan et al. 2020, eq. 1.5

Along C = 6 N D its least loss lies where N ~ C^a and D ~ C^b with a = alpha_D/(alpha_N + alpha_D),
b = 1 - a, and falls as C^-alpha_C, 1/alpha_C = 1/alpha_N + 1/alpha_D. Data limit the loss by less
than a share x where D >= k N^p, p = alpha_N/alpha_D,
k = D_c N_c^-p / ((1 + x)^(1/alpha_D) - 1); for Kaplan's numbers and x = 0.02 that is 5.5e3 N^0.74.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.doubts import data_flags, unsteady, wide_interval
from scaling.fit.laws import LawFit
from scaling.fit.observations import Observations
from scaling.fit.squares import RESAMPLE, Solved, solve
from scaling.fit.uncertainty import case_weights, estimate, generator

PARAMETERS = 4
# The share of the loss that too little data may cost: Kaplan's own, the spread between seeds.
EXCESS = 0.02
# log of the size term and of the data term at the runs' centre, alpha_N / alpha_D, alpha_D.
_U, _V, _RATIO, _POWER = range(4)
_LOWER = np.array([-np.inf, -np.inf, 0.01, 1e-3])
_UPPER = np.array([np.inf, np.inf, 10.0, 5.0])
_NOTHING = 1e-9  # share of the other under which a term changes nothing


@dataclass(frozen=True)
class JointLaw:
    """Eq. 1.5; numbers, or arrays (R,) of resamples. Scales are held as logarithms."""

    log_N_c: Any
    log_D_c: Any
    alpha_N: Any
    alpha_D: Any

    @property
    def a(self) -> Any:
        """Exponent of N* in C."""
        return self.alpha_D / (self.alpha_N + self.alpha_D)

    @property
    def alpha_C(self) -> Any:
        """Exponent of the least loss in C."""
        return self.alpha_N * self.alpha_D / (self.alpha_N + self.alpha_D)

    @property
    def data_power(self) -> Any:
        """p of the data against overfitting, D >= k N^p."""
        return self.alpha_N / self.alpha_D

    def data_scale(self, excess: float = EXCESS) -> Any:
        """k of the data that keep the loss within `excess` of that of unlimited data."""
        room = np.expm1(np.log1p(excess) / self.alpha_D)
        return np.exp(self.log_D_c - self.data_power * self.log_N_c) / room

    def predict_loss(self, params: Any, tokens: Any) -> Any:
        """Loss in nats per token."""
        size = np.exp(self.data_power * (self.log_N_c - np.log(params)))
        return (size + np.exp(self.log_D_c) / tokens) ** self.alpha_D


def fit_joint(
    observations: Observations, resamples: int, seed: int
) -> tuple[LawFit, JointLaw | None]:
    """Fit eq. 1.5 with a case bootstrap; refuses rather than raises."""
    reason = _too_little(observations)
    if reason is not None:
        return LawFit("L_ND", reason=reason), None
    log_n, log_d = np.log(observations.params), np.log(observations.tokens)
    centre = np.array([log_n.mean(), log_d.mean()])
    x, y = log_n - centre[0], log_d - centre[1]
    log_loss, n = np.log(observations.loss), len(observations)

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        size = theta[:, _U, None] - theta[:, _RATIO, None] * x
        total = np.logaddexp(size, theta[:, _V, None] - y)
        share, power = np.exp(size - total), theta[:, _POWER, None]
        slopes = (power * share, power * (1 - share), -power * share * x, total)
        return power * total, np.stack(slopes, axis=2)

    starts = _starts(float(log_loss.mean()))
    found = solve(model, starts, log_loss, np.ones((len(starts), n)), _LOWER, _UPPER)
    best = found.best()
    theta = found.theta[best]
    if not found.converged[best]:
        return LawFit("L_ND", reason="not converged: no start ended at a minimum"), None
    if not _whole(theta[None], x, y)[0]:
        text = "a term vanished: these runs do not show how loss falls with both N and D"
        return LawFit("L_ND", reason=text), None
    weights = case_weights(n, resamples, generator(seed, "kaplan.L_ND"))
    repeated = np.repeat(theta[None], resamples, axis=0)
    again = solve(model, repeated, log_loss, weights, _LOWER, _UPPER, RESAMPLE)
    samples = _law(_failed_to_nan(again, x, y), centre)
    failed = int(np.isnan(samples.alpha_N).sum())
    reason = unsteady(failed, resamples)
    if reason is not None:
        return LawFit("L_ND", reason=reason), None
    law = _law(theta, centre)
    residual_sd = float(np.sqrt(found.squares[best] / (n - PARAMETERS)))
    return _fitted(observations, law, samples, residual_sd, failed), law


def short_of_data(law: JointLaw, observations: Observations) -> np.ndarray:
    """Which runs have fewer tokens than keep their loss within 2% of that of unlimited data."""
    needed = law.data_scale() * observations.params**law.data_power
    return observations.tokens < needed


def _fitted(
    observations: Observations, law: JointLaw, samples: JointLaw, sd: float, failed: int
) -> LawFit:
    with np.errstate(all="ignore"):
        estimates = {
            "alpha_N": estimate(law.alpha_N, samples.alpha_N),
            "alpha_D": estimate(law.alpha_D, samples.alpha_D),
            "N_c": estimate(np.exp(law.log_N_c), np.exp(samples.log_N_c)),
            "D_c": estimate(np.exp(law.log_D_c), np.exp(samples.log_D_c)),
            "a": estimate(law.a, samples.a),
            "b": estimate(1 - law.a, 1 - samples.a),
            "alpha_C": estimate(law.alpha_C, samples.alpha_C),
        }
        condition = {
            "excess": EXCESS,
            "k": estimate(law.data_scale(), samples.data_scale()).document(),
            "p": estimate(law.data_power, samples.data_power).document(),
            "violations": int(short_of_data(law, observations).sum()),
            "runs": len(observations),
        }
    details = {
        "n_points": len(observations),
        "residual_sd": sd,
        "failed_resamples": failed,
        "overfitting": condition,
    }
    flags = (*wide_interval(estimates["a"]), *data_flags(observations))
    return LawFit("L_ND", estimates, details, flags)


def _too_little(observations: Observations) -> str | None:
    points = len(set(zip(observations.params, observations.tokens, strict=True)))
    if points < PARAMETERS + 1:
        return f"{plural(points, 'distinct (N, D) point')}, expected at least {PARAMETERS + 1}"
    for name, values in (("N", observations.params), ("D", observations.tokens)):
        if len(np.unique(values)) < 3:
            return f"{len(np.unique(values))} distinct {name}, expected at least 3"
    return None


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


def _whole(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether both terms are there and no exponent is at its bound, for each member."""
    inside = ((theta[:, 2:] > _LOWER[2:]) & (theta[:, 2:] < _UPPER[2:])).all(axis=1)
    tilt = theta[:, _U, None] - theta[:, _RATIO, None] * x - theta[:, _V, None] + y
    least, most = tilt.min(axis=1), tilt.max(axis=1)
    return inside & (most > np.log(_NOTHING)) & (least < -np.log(_NOTHING))


def _failed_to_nan(solved: Solved, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.where((solved.converged & _whole(solved.theta, x, y))[:, None], solved.theta, np.nan)


def _law(theta: np.ndarray, centre: np.ndarray) -> JointLaw:
    """The law in raw N and D of centred parameters (..., 4)."""
    ratio, power = theta[..., _RATIO], theta[..., _POWER]
    return JointLaw(
        log_N_c=theta[..., _U] / ratio + centre[0],
        log_D_c=theta[..., _V] + centre[1],
        alpha_N=ratio * power,
        alpha_D=power,
    )
