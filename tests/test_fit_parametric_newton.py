"""Newton's method on the Huber objective of the surface."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics.rows import Rows
from scaling.fit.parametric.minimum import minimise
from scaling.fit.parametric.newton import ALPHA, BETA, huber_objective, newton_minimise
from scaling.fit.parametric.profile_likelihood import profile_likelihood
from scaling.fit.results.estimate import Estimate
from tests.support.fit_examples import isoflop_rows, observations


def test_newton_derivatives_are_those_of_the_objective():
    """Gradient and Hessian are those of the objective."""
    rng = np.random.default_rng(0)
    rows = Rows(rng.normal(size=30), rng.normal(size=30), rng.uniform(2, 4, 30))
    weights = rng.integers(0, 3, (1, 30)).astype(float)
    theta = np.array([[1.7, 0.6, 0.5, 0.3, 0.4]])
    for residual in ("log", "loss"):
        data = Rows(rows.log_n, rows.log_d, rows.loss, residual)
        _, slope, curvature = huber_objective(theta, data, weights, 0.2)
        for index in range(5):
            step = np.zeros(5)
            step[index] = 1e-6
            ahead, _, _ = huber_objective(theta + step, data, weights, 0.2)
            behind, _, _ = huber_objective(theta - step, data, weights, 0.2)
            assert slope[0, index] == pytest.approx((ahead - behind)[0] / 2e-6, rel=1e-5)
            up = huber_objective(theta + step, data, weights, 0.2)[1]
            down = huber_objective(theta - step, data, weights, 0.2)[1]
            assert curvature[0, index] == pytest.approx((up - down)[0] / 2e-6, rel=2e-4, abs=1e-4)


def test_newton_cut_short_is_not_converged():
    """A descent cut short is not called converged."""
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.01
    )
    runs = observations(rows)
    data = Rows.of(runs.params, runs.tokens, runs.loss)
    start = np.array([[1.0, 1.0, 1.0, 1.0, 1.0]])
    cut = newton_minimise(start, data, np.ones((1, len(runs))), (1e-3,), max_steps=2)
    assert not cut.converged[0]


SURFACE = PUBLISHED["besiroglu"]
BUDGETS, SIZES = np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7)


def profiled(rows, delta=1e-3):
    runs = observations(rows)
    data = Rows.of(runs.params, runs.tokens, runs.loss)
    point = minimise(data, delta)
    found = profile_likelihood(data, point.theta, point.objective, delta, Estimate(None))
    return found, data, point


def test_newton_with_a_held_ratio_is_best():
    """Holding the ratio of exponents is the best of all that have it."""
    rows = isoflop_rows(SURFACE, BUDGETS, SIZES, 0.01, 3)
    _, data, point = profiled(rows)
    ratio, ones = 1.4, np.ones((1, len(rows)))
    start = point.theta[None].copy()
    start[0, BETA] = ratio * start[0, ALPHA]
    widths = (1e-2, 3e-3, 1e-3)
    tied = newton_minimise(start, data, ones, widths, ratio_S=np.array([ratio]))
    assert tied.converged.all()
    assert tied.theta[0, BETA] == pytest.approx(ratio * tied.theta[0, ALPHA])
    cells = np.repeat(tied.theta, 9, axis=0)
    cells[:, ALPHA] *= np.linspace(0.98, 1.02, 9)
    cells[:, BETA] = ratio * cells[:, ALPHA]
    free = (True, True, True, False, False)
    around = newton_minimise(cells, data, np.repeat(ones, 9, axis=0), (1e-3,), free)
    assert tied.objective[0] <= around.objective.min() * (1 + 1e-9)
    assert int(np.argmin(around.objective)) == 4
