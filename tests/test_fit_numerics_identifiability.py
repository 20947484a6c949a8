"""What a Jacobian says of a law's constants: null directions, standard errors, condition."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics import identify

X = np.linspace(-1, 1, 20)
ONES = np.ones_like(X)


def test_identify_finds_the_constants_of_a_null_direction():
    """Two columns that are one are undetermined; the third is not."""
    found = identify(("p", "q", "r"), np.stack([ONES, 3 * ONES, X], axis=1), np.ones(3), 0.01)
    assert (found.rank, found.constants, found.condition) == (2, 3, None)
    assert found.undetermined == ("p", "q")
    assert found.relative_se["r"] == pytest.approx(0.01 / np.linalg.norm(X))


def test_identify_names_a_constant_that_moves_nothing():
    found = identify(("p", "q"), np.stack([ONES, 0 * X], axis=1), np.ones(2), 0.01)
    assert found.undetermined == ("q",) and found.relative_se["q"] is None


def test_identify_has_the_standard_errors_of_least_squares():
    """They are those of sd^2 (J'J)^-1, as shares of the sizes."""
    jacobian = np.stack([ONES, X, X**2 + 0.3 * X], axis=1)
    sizes = np.array([2.0, 0.5, 7.0])
    expected = 0.02 * np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian))) / sizes
    found = identify(("p", "q", "r"), jacobian, sizes, 0.02)
    assert list(found.relative_se.values()) == pytest.approx(expected)
    assert found.undetermined == ()


def test_identify_knows_no_unit():
    """The condition number does not depend on the units of the constants."""
    jacobian = np.stack([ONES, X, X**2], axis=1)
    one = identify(("p", "q", "r"), jacobian, np.ones(3), 0.02)
    other = identify(("p", "q", "r"), jacobian * [1e6, 1e-6, 1], np.array([1e-6, 1e6, 1]), 0.02)
    assert other.condition == pytest.approx(one.condition)
    assert other.relative_se == pytest.approx(one.relative_se)


def test_identify_says_undetermined_where_noise_hides_a_constant():
    jacobian = np.stack([ONES, ONES + 1e-3 * X], axis=1)
    assert identify(("p", "q"), jacobian, np.ones(2), 1e-4).undetermined == ()
    assert identify(("p", "q"), jacobian, np.ones(2), 1e-2).undetermined == ("p", "q")


def test_surface_jacobian_has_the_derivatives_of_the_log_loss():
    """Central differences of log L in each of the five constants."""
    surface = PUBLISHED["besiroglu"]
    n, d = np.array([1e8, 1e9]), np.array([1e9, 5e10])
    theta = np.array([surface.E, surface.A, surface.B, surface.alpha, surface.beta])
    found = surface.jacobian(n, d)
    for index, value in enumerate(theta):
        up, down = theta.copy(), theta.copy()
        up[index], down[index] = value * (1 + 1e-6), value * (1 - 1e-6)
        losses = [np.log(type(surface)(*t).predict_loss(n, d)) for t in (up, down)]
        assert found[:, index] == pytest.approx((losses[0] - losses[1]) / (2e-6 * value), rel=1e-6)
