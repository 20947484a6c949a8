"""Least squares of a small law from several starts, its resamples, and what is no answer."""

import numpy as np
import pytest

from scaling.fit.other_laws.small_law import Minimum, SmallLaw, both_terms, inside

X = np.linspace(-1, 1, 9)
LOWER, UPPER = np.array([-10.0, 0.0]), np.array([10.0, 3.0])


def model(theta):
    """The line theta_0 + theta_1 x and its derivatives."""
    f = theta[:, 0, None] + theta[:, 1, None] * X
    return f, np.stack([np.ones_like(f), np.broadcast_to(X, f.shape)], axis=2)


def whole(theta):
    return inside(theta[:, [1]], LOWER[[1]], UPPER[[1]])


LAW = SmallLaw(model, LOWER, UPPER, whole, ("offset", "slope"))


def test_small_law_fit_and_refit():
    found = LAW.fit(np.array([[0.0, 1.0], [5.0, 0.1]]), 2 + 0.5 * X)
    assert isinstance(found, Minimum)
    assert found.theta == pytest.approx([2, 0.5])
    assert set(found.identified.relative_se) == {"offset", "slope"}
    targets = np.stack([1 + 0.4 * X, 1 - 0.4 * X])
    again = LAW.refit(found.theta, targets, np.ones((2, 9)))
    assert again[0] == pytest.approx([1, 0.4], abs=1e-4)
    assert np.isnan(again[1]).all()  # its exponent ends at the bound


def test_small_law_at_a_bound_is_no_answer():
    assert str(LAW.fit(np.array([[0.0, 1.0]]), 2 - 0.5 * X)).startswith("a term vanished")


def test_both_terms_count_somewhere():
    ratios = np.array([[-1.0, 1.0], [30.0, 40.0], [-40.0, -30.0]])
    assert both_terms(ratios).tolist() == [True, False, False]
