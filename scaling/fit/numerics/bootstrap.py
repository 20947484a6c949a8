"""Resampling: how the data might have come out otherwise, and what that says of an estimate.

A collection of runs could have been others: its cases are weighted anew (Rubin 1981, the smooth
form of the case bootstrap of Besiroglu et al. 2024). A profile or a planned grid has sizes fixed by
design and only the losses are random: residuals are resampled, or noise of a known size. Every draw
comes from a generator made of the fit's seed and a purpose.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaling.fit.results.estimate import Estimate

LEVELS = {"ci80": 0.80, "ci90": 0.90, "ci95": 0.95}
# Percentiles further out than this many resamples can show are noise: no interval is given.
FEWEST_RESAMPLES = 40


def generator(seed: int, purpose: str) -> np.random.Generator:
    """An independent stream for one use, so that adding a law moves no other law's interval."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode())])


def robust_sd(residuals_n: np.ndarray, fitted: int) -> float:
    """The standard deviation by the median of |r|; 0 where no residual is left to tell it by.

    A fit of absolute values passes through as many rows as it has constants: they are left out.
    """
    others = np.sort(np.abs(residuals_n))[fitted:]
    return float(np.median(others)) / 0.6745 if others.size else 0.0


def estimate(
    value: float | None, samples: np.ndarray, bound: Literal["low", "high"] | None = None
) -> Estimate:
    """`value` with the spread of its resamples (R,); nan marks a resample without an answer."""
    samples = samples[np.isfinite(samples)]
    if value is None or not np.isfinite(value):
        return Estimate(None, bound=bound)
    if samples.size < FEWEST_RESAMPLES:
        return Estimate(float(value), bound=bound)
    at = [0.5 + side * level / 2 for level in LEVELS.values() for side in (-1, 1)]
    ends = np.quantile(samples, at).reshape(-1, 2).tolist()
    intervals: dict[str, Any] = dict(zip(LEVELS, map(tuple, ends), strict=True))
    with np.errstate(over="ignore"):
        se = float(samples.std())
    return Estimate(float(value), se if np.isfinite(se) else None, **intervals, bound=bound)


@dataclass(frozen=True)
class Sampled:
    """A number and its resamples (R,); nan marks a resample without an answer."""

    value: Any
    samples: Any

    @property
    def estimate(self) -> Estimate:
        """The number with the spread of its resamples."""
        return estimate(self.value, self.samples)

    def over(self, other: "Sampled") -> "Sampled":
        """The ratio to another number of the same resamples."""
        with np.errstate(all="ignore"):
            return Sampled(self.value / other.value, self.samples / other.samples)


def estimates(law: Any, samples: Any, names: Iterable[str]) -> dict[str, Any]:
    """Estimates by name: attributes of a law with those of its resamples."""
    with np.errstate(all="ignore"):
        return {name: estimate(getattr(law, name), getattr(samples, name)) for name in names}


def case_weights(n: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """How often each of `n` rows occurs in each resample, (resamples, n) float64."""
    return rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def bayesian_weights(n: int, fitted: int, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Weights of `n` rows in each resample, (resamples, n), mean 1: Rubin's Bayesian bootstrap.

    Unlike case resampling it leaves no row out: a planned grid of 35 runs that loses a third of
    its cells is a poorer design than the one that was run (case resampling of the surface covered
    97% at a nominal 90%). Residuals are smaller than the noise by the `fitted` parameters, so the
    weights are Dirichlet with (n - fitted)/n for each row in place of 1.
    """
    weights = rng.standard_gamma(max(n - fitted, 1) / n, (resamples, n))
    return weights * (n / weights.sum(axis=1, keepdims=True))


def t_scale(dof: float, resamples: int, rng: np.random.Generator) -> np.ndarray:
    """Factors (resamples,) by which an estimated sd may be off: sqrt(dof / chi2_dof).

    Multiplying resampled residuals by them carries the uncertainty of the noise level itself into
    the percentiles, which a plain residual bootstrap leaves out: with 8 degrees of freedom its
    90% interval covers about 86%.
    """
    if not np.isfinite(dof):
        return np.ones(resamples)
    return np.sqrt(dof / rng.chisquare(dof, size=resamples))


def normal_draws(
    sd: float, n: int, dof: float, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Normal noise (resamples, n) of a residual sd of `dof`, with its uncertainty."""
    noise = sd * rng.standard_normal((resamples, n))
    return noise * t_scale(dof, resamples, rng)[:, None]
