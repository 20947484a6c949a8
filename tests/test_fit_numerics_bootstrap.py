"""Intervals cover what they say they cover, and resampling repeats itself."""

import numpy as np
import pytest

from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics.bootstrap import (
    bayesian_weights,
    case_weights,
    estimate,
    generator,
    robust_sd,
    t_scale,
)
from scaling.fit.parametric.estimator import fit_parametric
from tests.support.fit_examples import isoflop_rows, observations

SURFACE = PUBLISHED["besiroglu"]


def coverage(fit, simulations, budgets, factors, sigma):
    """Share of simulated sweeps whose 90% interval of a holds the truth."""
    inside = []
    for seed in range(simulations):
        runs = observations(isoflop_rows(SURFACE, budgets, factors, sigma, seed))
        interval = fit(runs, seed).a.ci90
        inside.append(interval[0] <= SURFACE.a <= interval[1])
    return np.mean(inside)


DESIGN = (np.geomspace(1e16, 1e18, 5), np.geomspace(1 / 4, 4, 7))


def by_valleys(runs, seed):
    return fit_isoflop(runs, 300, seed, 0.2, methods=("parabola",)).law


def by_surface(runs, seed):
    return fit_parametric(runs, 200, seed).law


@pytest.mark.parametrize(
    ("fit", "simulations", "sigma"),
    [(by_valleys, 200, 0.005), (by_valleys, 200, 0.02), (by_surface, 60, 0.02)],
)
def test_intervals_cover_90_percent(fit, simulations, sigma):
    assert 0.82 <= coverage(fit, simulations, *DESIGN, sigma) <= 0.97


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fit", "sigma", "least", "most"),
    [
        (by_valleys, 0.005, 0.87, 0.93),
        (by_valleys, 0.02, 0.87, 0.93),
        (by_surface, 0.005, 0.87, 0.93),
        (by_surface, 0.02, 0.87, 0.93),
    ],
)
def test_intervals_cover_in_a_thousand(fit, sigma, least, most):
    """Nominal 90 percent covers in a thousand."""
    assert least <= coverage(fit, 1000, *DESIGN, sigma) <= most


def test_intervals_of_four_small_profiles_cover():
    """Nominal 90 percent of four small profiles covers."""
    share = coverage(by_valleys, 200, np.geomspace(1e16, 3e17, 4), np.geomspace(1 / 3, 3, 5), 0.01)
    assert 0.82 <= share <= 0.97


def test_bayesian_weights_leave_no_row_out():
    weights = bayesian_weights(20, 0, 4000, generator(0, "test"))
    assert weights.sum(axis=1) == pytest.approx(20)
    assert (weights > 0).all()
    assert weights.var(axis=0).mean() == pytest.approx(19 / 21, rel=0.03)
    wider = bayesian_weights(20, 5, 4000, generator(0, "test"))
    assert wider.var(axis=0).mean() == pytest.approx(19 / 16, rel=0.03)


def test_estimate_percentiles_and_spread():
    """Percentiles and spread of known samples."""
    samples = np.arange(1001) / 1000
    found = estimate(0.5, samples)
    assert found.se == pytest.approx(np.sqrt(1 / 12), rel=2e-3)
    assert found.ci80 == pytest.approx((0.1, 0.9))
    assert found.ci90 == pytest.approx((0.05, 0.95))
    assert found.ci95 == pytest.approx((0.025, 0.975))


def test_estimate_leaves_out_failed_resamples():
    """Failed resamples are left out and too few give no interval."""
    samples = np.arange(100.0)
    samples[:50] = np.nan
    assert estimate(1.0, samples).ci90 is not None
    samples[:70] = np.nan
    assert estimate(1.0, samples).ci90 is None
    assert estimate(1.0, samples).value == 1.0


def test_estimate_of_nan_is_unknown():
    """A value that is no number is unknown."""
    assert estimate(float("nan"), np.arange(100.0)).value is None
    assert estimate(float("inf"), np.arange(100.0)).value is None


def test_generator_depends_on_seed_and_purpose():
    """Draws depend on seed and purpose alone."""
    first = case_weights(20, 5, generator(0, "parametric"))
    assert (first == case_weights(20, 5, generator(0, "parametric"))).all()
    assert (first != case_weights(20, 5, generator(1, "parametric"))).any()
    assert (first != case_weights(20, 5, generator(0, "isoflop"))).any()
    assert (first.sum(axis=1) == 20).all()


def test_t_scale_has_the_tails_of_student():
    """An unknown noise level has the tails of Student."""
    rng = generator(0, "test")
    spread = t_scale(8, 200_000, rng) * rng.standard_normal(200_000)
    assert np.quantile(spread, 0.95) == pytest.approx(1.860, abs=0.02)
    assert (t_scale(np.inf, 10, rng) == 1).all()


def test_robust_sd_needs_more_residuals_than_constants():
    """The five that a fit of five constants passes through say nothing of the noise."""
    exact = np.zeros(5)
    assert robust_sd(exact, 5) == 0.0
    assert robust_sd(np.append(exact, [0.6745, -0.6745]), 5) == pytest.approx(1.0)
