"""How loss falls with compute at a fixed ratio of tokens to parameters, over-trained or not.

    L(C, M) = E + (a' M^eta + b' M^-eta) C^-eta, M = D / N          Gadre et al. 2024

With C = 6 N D it is the surface E + A N^-k + B D^-k of one exponent k = 2 eta, a' = 6^eta A and
b' = 6^eta B; the best M is (b'/a')^(1/(2 eta)) at every budget. As in the authors' code it is
fitted by least squares on the loss itself.
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from scaling.fit.data_flags import (
    E_AT_BOUND,
    NARROW,
    collinear,
    data_flags,
    design_in_words,
    too_few_points,
    unidentified,
    unsteady,
    wide_floor,
    wide_share,
)
from scaling.fit.flags import Flag
from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows, estimates, generator, normal_draws
from scaling.fit.numerics.one_step import MANY_ROWS
from scaling.fit.observations import Observations
from scaling.fit.other_laws.small_law import SmallLaw, both_terms, inside
from scaling.fit.other_laws.tied_exponents import tied_exponents
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import OverTrainingLaw

PARAMETERS = 4
_NAMES = ("E", "a_prime", "b_prime", "eta")
_E, _U, _V, _K = range(4)  # E, log of the size and data term at the runs' centre, k
_LOWER = np.array([0.0, -np.inf, -np.inf, 0.01])
_UPPER = np.array([np.inf, np.inf, np.inf, 3.0])
# Residuals of this share of the loss are of the form or of mixed recipes: seeds differ by about
# 0.02 nats (Kaplan et al. 2020), under 1%.
_MISSED = 0.02
# Below so many runs, resampled cases leave parameters open that the runs together do not: normal
# draws of the residuals' size, with the uncertainty of that size, take their place.
_FEW = 20


@dataclass(frozen=True)
class OverTraining:
    """The law; numbers, or arrays (R,) of resamples."""

    E: Any
    a_prime: Any
    b_prime: Any
    eta: Any

    @staticmethod
    def of(law: OverTrainingLaw) -> "OverTraining":
        """The law that a fit found; E is 0 where it ended at its bound."""
        values = (getattr(law, name).value for name in ("E", "a_prime", "b_prime", "eta"))
        return OverTraining(*(value or 0.0 for value in values))

    def predict_loss(self, flops: Any, multiplier: Any) -> Any:
        """Loss in nats per token of `flops` spent at `multiplier` tokens per parameter."""
        ratio = multiplier**self.eta
        return self.E + (self.a_prime * ratio + self.b_prime / ratio) * flops**-self.eta

    @property
    def surface(self) -> Surface:
        """The same law in N and D, where C = 6 N D."""
        A, B = self.a_prime * 6.0**-self.eta, self.b_prime * 6.0**-self.eta
        return Surface(self.E, A, B, 2 * self.eta, 2 * self.eta)

    @property
    def best_multiplier(self) -> Any:
        """Tokens per parameter of least loss, the same at every budget."""
        return (self.b_prime / self.a_prime) ** (1 / (2 * self.eta))


def fit_over_training(observations: Observations, resamples: int, seed: int) -> OverTrainingLaw:
    """Fit the law with a case bootstrap; refuses rather than raises."""
    return fit_with_samples(observations, resamples, seed)[0]


def fit_with_samples(
    observations: Observations, resamples: int, seed: int
) -> tuple[OverTrainingLaw, OverTraining | None, OverTraining | None]:
    """The same, and the law in numbers and in arrays (R,) of its resamples; None if refused."""
    reason = too_few_points(observations, PARAMETERS)
    if reason is not None:
        return OverTrainingLaw(**judged(reason=reason)), None, None
    rows = Rows.of(observations.params, observations.tokens, observations.loss)
    n, rng = len(observations), generator(seed, "over_training")
    apart = rows.log_n - rows.log_d
    whole = partial(_whole, rows.take(np.array([apart.argmin(), apart.argmax()])))
    small = SmallLaw(
        partial(_model, rows),
        _LOWER,
        _UPPER,
        whole,
        _NAMES,
        part=lambda at: partial(_model, rows.take(at)),
    )
    found = small.fit(_starts(rows), rows.loss)
    if isinstance(found, str):
        why = design_in_words(observations.params, observations.tokens)
        reason = f"{why}: {found}" if why else found
        return OverTrainingLaw(**judged(reason=reason)), None, None
    law = _law(found.theta, rows)
    if reason := unidentified(found.identified, observations, {"eta": law.eta}):
        refused = OverTrainingLaw(**judged(reason=reason), identifiability=found.identified)
        return refused, None, None
    residual_sd = float(np.sqrt(found.squares / (n - PARAMETERS)))
    if n < _FEW:
        noise = normal_draws(residual_sd, n, n - PARAMETERS, resamples, rng)
        targets = _model(rows, found.theta[None])[0] + noise
        refitted = small.refit(found.theta, targets, np.ones((resamples, n)))
    else:
        refitted = small.case_refit(found.theta, rows.loss, resamples, rng, floor=_E)
    samples = _law(refitted, rows)
    failed = int(np.isnan(samples.eta).sum())
    result = OverTrainingLaw(
        **judged(reason=unsteady(failed, resamples)),
        n_points=n,
        residual_sd=residual_sd,
        failed_resamples=failed,
        identifiability=found.identified,
    )
    if result.reason is not None:
        return result, None, None
    constants = estimates(law, samples, ("E", "a_prime", "b_prime", "eta", "best_multiplier"))
    if law.E <= 0:
        constants["E"] = Estimate(None, bound="low")
    result = replace(result, **constants)
    centred = Surface(law.E, *np.exp(found.theta[[_U, _V]]), *found.theta[[_K, _K]])
    flags = (*collinear(found.identified, observations), *tied_exponents(observations, centred))
    judgement = judged((*flags, *_flags(observations, result)))
    return replace(result, **judgement), law, samples


def _flags(observations: Observations, law: OverTrainingLaw) -> tuple[Flag, ...]:
    flags = list(data_flags(observations))
    multiplier = observations.tokens / observations.params
    if multiplier.max() / multiplier.min() < NARROW:
        text = f"tokens per parameter span only {multiplier.min():.3g} to {multiplier.max():.3g}"
        flags.insert(0, Flag("narrow_range", text))
    if law.E.bound:
        flags.insert(0, Flag("term_at_bound", E_AT_BOUND))
    missed = _missed(observations, law.residual_sd or 0.0)
    return (*flags, *wide_floor(law.E), *missed, *wide_share(law.eta, "eta"))


def _missed(observations: Observations, residual_sd: float) -> tuple[Flag, ...]:
    """The flag of a law that misses its runs by more than chance can, and what may be behind it."""
    mean = float(observations.loss.mean())
    if residual_sd <= _MISSED * mean:
        return ()
    text = (
        f"residual standard deviation {residual_sd:.2g}, {residual_sd / mean:.1%} of the loss, "
        "where seeds differ by under 1%: the form does not hold for all runs"
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


def _model(rows: Rows, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    k = theta[:, _K, None]
    with np.errstate(over="ignore"):
        size = np.exp(theta[:, _U, None] - k * rows.log_n)
        data = np.exp(theta[:, _V, None] - k * rows.log_d)
    slopes = (np.ones_like(size), size, data, -size * rows.log_n - data * rows.log_d)
    return theta[:, _E, None] + size + data, np.stack(slopes, axis=2)


def _starts(rows: Rows) -> np.ndarray:
    """At each k of a grid the linear part solved, its negative terms put to a small share."""
    x, y, loss = rows.log_n, rows.log_d, rows.loss
    starts = []
    if loss.size > MANY_ROWS:  # the starts of a part lead to the minimum of all
        part = np.linspace(0, loss.size - 1, MANY_ROWS).astype(int)
        x, y, loss = x[part], y[part], loss[part]
    for k in np.geomspace(0.03, 2.0, 40):
        design = np.stack([np.ones_like(x), np.exp(-k * x), np.exp(-k * y)], axis=1)
        linear = np.maximum(np.linalg.lstsq(design, loss, rcond=None)[0], 1e-3 * loss.min())
        starts.append((linear[0], np.log(linear[1]), np.log(linear[2]), k))
    return np.array(starts)


def _whole(rows: Rows, theta: np.ndarray) -> np.ndarray:
    """Whether both terms count; the ratio of the two is least and greatest at two of the rows."""
    apart = rows.log_n - rows.log_d
    log_ratio = theta[:, _U, None] - theta[:, _V, None] - theta[:, _K, None] * apart
    return inside(theta[:, [_K]], _LOWER[[_K]], _UPPER[[_K]]) & both_terms(log_ratio)


def _law(theta: np.ndarray, rows: Rows) -> OverTraining:
    """The law of centred parameters (..., 4)."""
    k = theta[..., _K]
    with np.errstate(over="ignore"):
        return OverTraining(
            E=theta[..., _E],
            a_prime=np.exp(theta[..., _U] + k * rows.centre[0] + 0.5 * k * np.log(6)),
            b_prime=np.exp(theta[..., _V] + k * rows.centre[1] + 0.5 * k * np.log(6)),
            eta=0.5 * k,
        )
