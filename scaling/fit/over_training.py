"""How loss falls with compute at a fixed ratio of tokens to parameters, over-trained or not.

    L(C, M) = E + (a' M^eta + b' M^-eta) C^-eta, M = D / N          Gadre et al. 2024

With C = 6 N D it is the surface E + A N^-k + B D^-k of one exponent k = 2 eta, a' = 6^eta A and
b' = 6^eta B; the best M is (b'/a')^(1/(2 eta)) at every budget. As in the authors' code it is
fitted by least squares on the loss itself.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.doubts import data_flags, unsteady
from scaling.fit.laws import Flag, LawFit
from scaling.fit.observations import Observations
from scaling.fit.squares import RESAMPLE, Solved, solve
from scaling.fit.uncertainty import case_weights, estimate, generator, t_scale

PARAMETERS = 4
_E, _U, _V, _K = range(4)  # floor, log of the size and data term at the runs' centre, k
_LOWER = np.array([0.0, -np.inf, -np.inf, 0.01])
_UPPER = np.array([np.inf, np.inf, np.inf, 3.0])
_NOTHING = 1e-9  # share of the other under which a term changes nothing
# Runs within this factor in D / N say nothing of over-training.
_NARROW = 4.0
# Residuals of this share of the loss are of the form or of mixed recipes: seeds differ by about
# 0.02 nats (Kaplan et al. 2020), under 1%.
_MISSED = 0.02
# Below so many runs, resampled cases leave parameters open that the runs together do not: normal
# draws of the residuals' size, with the doubt about that size, take their place.
_FEW = 20


@dataclass(frozen=True)
class OverTraining:
    """The law; numbers, or arrays (R,) of resamples."""

    E: Any
    a_prime: Any
    b_prime: Any
    eta: Any

    def predict_loss(self, flops: Any, multiplier: Any) -> Any:
        """Loss in nats per token of `flops` spent at `multiplier` tokens per parameter."""
        ratio = multiplier**self.eta
        return self.E + (self.a_prime * ratio + self.b_prime / ratio) * flops**-self.eta

    @property
    def best_multiplier(self) -> Any:
        """Tokens per parameter of least loss, the same at every budget."""
        return (self.b_prime / self.a_prime) ** (1 / (2 * self.eta))


def fit_over_training(
    observations: Observations, resamples: int, seed: int
) -> tuple[LawFit, OverTraining | None]:
    """Fit the law with a case bootstrap; refuses rather than raises."""
    reason = _too_little(observations)
    if reason is not None:
        return LawFit("over_training", reason=reason), None
    log_n, log_d = np.log(observations.params), np.log(observations.tokens)
    centre = np.array([log_n.mean(), log_d.mean()])
    x, y = log_n - centre[0], log_d - centre[1]
    loss, n = observations.loss, len(observations)

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = theta[:, _K, None]
        with np.errstate(over="ignore"):
            size = np.exp(theta[:, _U, None] - k * x)
            data = np.exp(theta[:, _V, None] - k * y)
        slopes = (np.ones_like(size), size, data, -size * x - data * y)
        return theta[:, _E, None] + size + data, np.stack(slopes, axis=2)

    starts = _starts(x, y, loss)
    found = solve(model, starts, loss, np.ones((len(starts), n)), _LOWER, _UPPER)
    best = found.best()
    theta = found.theta[best]
    if not found.converged[best]:
        return LawFit("over_training", reason="not converged: no start ended at a minimum"), None
    if not _whole(theta[None], x, y)[0]:
        text = "a term vanished: these runs do not show how loss falls with both N and D"
        return LawFit("over_training", reason=text), None
    law = _law(theta, centre)
    residual_sd = float(np.sqrt(found.squares[best] / (n - PARAMETERS)))
    rng = generator(seed, "over_training")
    targets, weights = loss, np.ones((resamples, n))
    if n < _FEW:
        noise = residual_sd * rng.standard_normal((resamples, n))
        targets = model(theta[None])[0] + noise * t_scale(n - PARAMETERS, resamples, rng)[:, None]
    else:
        weights = case_weights(n, resamples, rng)
    repeated = np.repeat(theta[None], resamples, axis=0)
    again = solve(model, repeated, targets, weights, _LOWER, _UPPER, RESAMPLE)
    samples = _law(_failed_to_nan(again, x, y), centre)
    failed = int(np.isnan(samples.eta).sum())
    details = {"n_points": n, "residual_sd": residual_sd, "failed_resamples": failed}
    reason = unsteady(failed, resamples)
    if reason is not None:
        return LawFit("over_training", details=details, reason=reason), law
    return _fitted(observations, law, samples, details), law


def _fitted(
    observations: Observations, law: OverTraining, samples: OverTraining, details: dict[str, Any]
) -> LawFit:
    floor = law.E <= 0
    with np.errstate(all="ignore"):
        estimates = {
            "E": estimate(None if floor else law.E, samples.E, "low" if floor else None),
            "a_prime": estimate(law.a_prime, samples.a_prime),
            "b_prime": estimate(law.b_prime, samples.b_prime),
            "eta": estimate(law.eta, samples.eta),
            "best_multiplier": estimate(law.best_multiplier, samples.best_multiplier),
        }
    flags = list(data_flags(observations))
    multiplier = observations.tokens / observations.params
    if multiplier.max() / multiplier.min() < _NARROW:
        text = f"tokens per parameter span only {multiplier.min():.3g} to {multiplier.max():.3g}"
        flags.insert(0, Flag("narrow_range", text))
    if floor:
        flags.insert(0, Flag("term_at_bound", "E ended at its bound 0: no floor shows"))
    floor_ci = estimates["E"].ci90
    if not floor and floor_ci and floor_ci[1] - floor_ci[0] > 0.5 * law.E:
        text = f"the 90% interval of E is {floor_ci[0]:.2f} to {floor_ci[1]:.2f}"
        flags.append(Flag("floor_unidentified", text))
    flags += _missed(observations, details["residual_sd"])
    eta = estimates["eta"]
    if eta.ci90 and eta.ci90[1] - eta.ci90[0] > 0.5 * law.eta:
        text = f"the 90% interval of eta is wide, {eta.ci90[0]:.3f} to {eta.ci90[1]:.3f}"
        flags.append(Flag("wide_interval", text))
    return LawFit("over_training", estimates, details, tuple(flags))


def _missed(observations: Observations, residual_sd: float) -> tuple[Flag, ...]:
    """The flag of a law that misses its runs by more than chance can, and what may be behind it."""
    mean = float(observations.loss.mean())
    if residual_sd <= _MISSED * mean:
        return ()
    text = (
        f"the law misses its runs by {residual_sd:.2g} (sd), {residual_sd / mean:.1%} of the "
        "loss, where seeds differ by under 1%: the form does not hold for them all"
    )
    apart = _spread_of_repeats(observations)
    if apart > _MISSED / 2 * mean:
        text += (
            f"; runs of one (N, D) differ by {apart:.2g} among themselves: if they are of "
            "several recipes, by=COLUMN fits each apart"
        )
    return (Flag("scatter", text),)


def _spread_of_repeats(observations: Observations) -> float:
    """Standard deviation of the loss within runs of one (N, D); 0 where none repeats another."""
    points = np.column_stack([observations.params, observations.tokens])
    _, group, sizes = np.unique(points, axis=0, return_inverse=True, return_counts=True)
    means = np.bincount(group.ravel(), observations.loss) / sizes
    squares = float(((observations.loss - means[group.ravel()]) ** 2).sum())
    return float(np.sqrt(squares / max(1, len(group) - len(sizes))))


def _too_little(observations: Observations) -> str | None:
    points = len(set(zip(observations.params, observations.tokens, strict=True)))
    if points < PARAMETERS + 1:
        return f"{plural(points, 'distinct (N, D) point')}, expected at least {PARAMETERS + 1}"
    if len(np.unique(observations.params)) < 2:
        return "one size only, expected several"
    multiplier = np.log(observations.tokens / observations.params)
    if np.ptp(multiplier) < 1e-6:
        return "all runs have one ratio of tokens to parameters: nothing shows over-training"
    return None


def _starts(x: np.ndarray, y: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """At each k of a grid the linear part solved, its negative terms put to a small share."""
    starts = []
    for k in np.geomspace(0.03, 2.0, 40):
        design = np.stack([np.ones_like(x), np.exp(-k * x), np.exp(-k * y)], axis=1)
        linear = np.maximum(np.linalg.lstsq(design, loss, rcond=None)[0], 1e-3 * loss.min())
        starts.append((linear[0], np.log(linear[1]), np.log(linear[2]), k))
    return np.array(starts)


def _whole(theta: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Whether both terms are there and k is inside its bounds, for each member."""
    inside = (theta[:, _K] > _LOWER[_K]) & (theta[:, _K] < _UPPER[_K])
    tilt = theta[:, _U, None] - theta[:, _V, None] - theta[:, _K, None] * (x - y)
    return inside & (tilt.max(axis=1) > np.log(_NOTHING)) & (tilt.min(axis=1) < -np.log(_NOTHING))


def _failed_to_nan(solved: Solved, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    stands = solved.converged & _whole(solved.theta, x, y)
    return np.where(stands[:, None], solved.theta, np.nan)


def _law(theta: np.ndarray, centre: np.ndarray) -> OverTraining:
    """The law of centred parameters (..., 4)."""
    k = theta[..., _K]
    with np.errstate(over="ignore"):
        return OverTraining(
            E=theta[..., _E],
            a_prime=np.exp(theta[..., _U] + k * centre[0] + 0.5 * k * np.log(6)),
            b_prime=np.exp(theta[..., _V] + k * centre[1] + 0.5 * k * np.log(6)),
            eta=0.5 * k,
        )
