"""N* and D* of a law with its resamples: at a budget, and the budget of a size."""

import numpy as np
import pytest

from scaling.fit.frontier import Frontier
from scaling.fit.laws import PUBLISHED, PowerLaw, Surface

SURFACE = PUBLISHED["besiroglu"]
assert isinstance(SURFACE, Surface)
ALPHA = np.append(SURFACE.alpha * np.linspace(0.95, 1.05, 50), np.nan)
SAMPLES = Surface(SURFACE.E, SURFACE.A, SURFACE.B, ALPHA, SURFACE.beta)


def test_frontier_of_a_surface_is_its_closed_form():
    found = Frontier.of(SURFACE, SAMPLES)
    n, d = found.at(1e21)
    assert (n.value, d.value) == SURFACE.optimal_allocation(1e21)
    assert n.samples[:50].tolist() == SAMPLES.optimal_allocation(1e21)[0][:50].tolist()
    assert found.failed == 1


@pytest.mark.parametrize("asked", ["size", "data"])
def test_frontier_budget_inverts_at(asked):
    """The budget of an optimum is the one that it is the optimum of, in every resample."""
    found = Frontier.of(SURFACE, SAMPLES)
    n, d = found.at(1e21)
    place, optimum = (0, n.value) if asked == "size" else (1, d.value)
    budget = (found.budget_of_size, found.budget_of_data)[place](optimum)
    assert budget.value == pytest.approx(1e21, rel=1e-9)
    assert found.at(budget)[place].samples[:50] == pytest.approx(np.full(50, optimum))
    assert np.isnan(budget.samples[-1])


def test_frontier_that_does_not_rise_has_no_budget():
    falling = PowerLaw(1.0, -0.1)
    found = Frontier(falling, falling, falling, falling)
    assert np.isnan(found.budget_of_size(1e9).value)


def test_frontier_estimates_are_exponents_and_coefficients():
    line = PowerLaw(np.log(0.1), 0.5)
    cloud = PowerLaw(np.log(0.1) + np.linspace(-1, 1, 60), np.linspace(0.4, 0.6, 60))
    found = Frontier(line, line, cloud, cloud).estimates
    assert found["a"].value == 0.5
    assert found["n_coef"].value == pytest.approx(0.1)
    assert found["a"].ci90 == pytest.approx((0.41, 0.59), abs=1e-3)
