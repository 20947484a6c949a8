"""Weighted regression in logarithms, and the scatter between points beyond their own variance."""

import json

import numpy as np
import pytest

from scaling.fit.numerics.weighted_regression import between_profiles, regress


def test_between_profiles_is_excess_variance():
    """Scatter between points is what their own variance leaves over."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 10, 400)
    y = 1 + 0.5 * x + rng.normal(0, 0.1, 400) + rng.normal(0, 0.2, 400)
    assert between_profiles(x, y, np.full(400, 0.01)) == pytest.approx(0.04, rel=0.2)
    assert between_profiles(x, y, np.full(400, 0.2)) == 0.0
    bent = y + 0.1 * x**2
    assert between_profiles(x, bent, np.full(400, 0.01)) > 0.2
    about = between_profiles(x, bent, np.full(400, 0.01), degree=2)
    assert about == pytest.approx(between_profiles(x, y, np.full(400, 0.01)), rel=0.05)


def test_regress_weights_and_needs_three_points():
    """Regress is weighted and needs three points."""
    x = np.array([[0.0, 1.0, 2.0, 3.0]])
    y = np.array([[0.0, 1.0, 2.0, 99.0]])
    line = regress(x, y, np.array([1.0, 1.0, 1.0, 0.0]))
    assert (line.slope[0], line.log_scale[0]) == pytest.approx((1.0, 0.0))
    assert np.isnan(regress(x, np.array([[0.0, 1.0, np.nan, np.nan]]), np.ones(4)).slope[0])


@pytest.mark.needs_reference
def test_regress_reproduces_porian_exponents(reference_dir):
    """The published optima of Porian give the published exponents."""
    published = json.loads((reference_dir / "porian2024_refinedweb.targets.json").read_text())
    for recipe in published:
        names = ("flops", "n_star", "log_n_star_std")
        bracketed = [optimum for optimum in recipe["optima"] if optimum["n_star"] is not None]
        optima = {name: np.array([optimum[name] for optimum in bracketed]) for name in names}
        line = regress(
            np.log(optima["flops"])[None],
            np.log(optima["n_star"])[None],
            optima["log_n_star_std"] ** -2,
        )
        assert line.slope[0] == pytest.approx(recipe["a_published"], abs=1e-4)
