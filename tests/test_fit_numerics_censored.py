"""Regression with censored targets: least squares without any, unbiased with many."""

import numpy as np
import pytest

from scaling.fit.numerics.censored import tobit

X = np.linspace(-1, 1, 40)
DESIGN = np.column_stack([np.ones(40), X])


def test_without_censoring_it_is_least_squares():
    """The line and its residual sd are those of ordinary regression."""
    y = 1 + 2 * X + 0.3 * np.random.default_rng(0).standard_normal(40)
    theta, sd = tobit(DESIGN, y[None], np.zeros((1, 40), dtype=int))
    expected = np.linalg.lstsq(DESIGN, y, rcond=None)[0]
    assert theta[0] == pytest.approx(expected, rel=1e-6)
    assert sd[0] == pytest.approx(np.sqrt(((y - DESIGN @ expected) ** 2).sum() / 38), rel=1e-6)


@pytest.mark.parametrize("side", [-1, 1])
def test_targets_cut_at_a_bound_do_not_bias_the_line(side):
    """With a third of the targets beyond a bound, slope and sd come back; the cut line's do not."""
    rng = np.random.default_rng(1)
    y = 1 + 2 * X + 0.3 * rng.standard_normal((400, 40))
    bound = 1 + 0.6 * side
    beyond = side * (y - bound) > 0
    cut, sides = np.where(beyond, bound, y), np.where(beyond, side, 0)
    theta, sd = tobit(DESIGN, cut, sides)
    assert theta.mean(axis=0) == pytest.approx([1, 2], abs=0.02)
    assert sd.mean() == pytest.approx(0.3, rel=0.03)
    assert np.linalg.lstsq(DESIGN, cut.mean(axis=0), rcond=None)[0][1] < 1.7


def test_too_few_known_targets_have_no_line():
    """Two known targets leave no degree of freedom: nan, not a number."""
    sides = np.ones((1, 40), dtype=int)
    sides[0, :2] = 0
    assert np.isnan(tobit(DESIGN, X[None], sides)[0]).all()
