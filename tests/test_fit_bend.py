"""The quadratic through minima against a line: weights, scatter, and what is too little for it."""

import numpy as np
import pytest

from scaling.fit.bend import bend


@pytest.mark.parametrize("apart", [0.0, 1e-10])
def test_bend_is_not_seen_in_budgets_that_differ_by_rounding(apart):
    """Two groups of budgets are two points, and have no quadratic."""
    log_c = np.log(1e17 * np.array([1, 1 + apart, 1 + 2 * apart, 100, 100 + 100 * apart]))
    draws = 0.5 * log_c + 0.01 * np.random.default_rng(0).standard_normal((200, 5))
    assert bend(log_c, draws[0], draws) == ()


def test_bend_weighs_minima_by_the_covariance_of_their_resamples():
    """The error of the quadratic is that of weighted fits to the draws; some miss minima."""
    rng = np.random.default_rng(0)
    log_c = np.log(np.geomspace(1e17, 1e20, 6))
    sd = np.array([0.3, 0.02, 0.03, 0.02, 0.03, 0.2])
    x = log_c - log_c.mean()
    shared = 0.01 * (x**2 - (x**2).mean())  # one shape for all moves them together
    noise = sd * rng.standard_normal((20_000, 6)) + shared * rng.standard_normal((20_000, 1))
    errors = np.polyfit(x, noise.T, 2, w=1 / noise.std(axis=0))[0]
    least = 2.576 * errors.std()
    noise[rng.random(noise.shape) < 0.1] = np.nan
    for factor, flagged in ((1.1, True), (-1.1, True), (0.9, False), (-0.9, False)):
        bent = 0.5 * x + factor * least * x**2
        assert bool(bend(log_c, bent, bent + noise)) == flagged
        lost = np.append(bent, np.nan)
        more = np.append(bent + noise, np.full((20_000, 1), np.nan), axis=1)
        assert bool(bend(np.append(log_c, 60.0), lost, more)) == flagged


def test_bend_counts_scatter_beyond_the_noise_of_the_minima():
    """A bend as large as its error by the scatter about it is none, however exact each minimum."""
    log_c = np.log(np.geomspace(1e17, 1e20, 6))
    x = log_c - log_c.mean()
    off = 0.1 * np.array([1, -1, -1, 1, 1, -1])
    off = off - np.polyval(np.polyfit(x, off, 2), x)
    design = np.vander(x, 3)
    error = np.sqrt(off @ off / 3 * np.linalg.inv(design.T @ design)[0, 0])
    draws = 1e-3 * np.random.default_rng(0).standard_normal((400, 6))
    for errors, flagged in ((6.5, True), (5.2, False)):  # Student's t of three degrees: 5.84
        bent = 0.5 * x + off + errors * error * x**2
        assert bool(bend(log_c, bent, bent + draws)) == flagged
