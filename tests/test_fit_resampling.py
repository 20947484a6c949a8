"""Which resampling a table calls for, and what its draws keep of the residuals."""

import numpy as np
import pytest
from fit_examples import isoflop_rows, observations

from scaling.fit.laws import PUBLISHED
from scaling.fit.parametric import fit_parametric
from scaling.fit.resampling import how_to_resample, smooth_draws
from scaling.fit.uncertainty import generator

SURFACE = PUBLISHED["besiroglu"]
GRID = isoflop_rows(SURFACE, np.geomspace(1e17, 1e19, 4), np.geomspace(1 / 3, 3, 5), 0.01)


def test_a_grid_is_drawn_anew_about_its_surface():
    runs = observations(GRID)
    assert how_to_resample(runs) == "noise"
    assert fit_parametric(runs, 60, 0).law.details["resampling"] == "noise"
    runs.flops_budget[:] = np.nan
    assert how_to_resample(runs) == "noise"  # equal FLOP say as much


def test_the_rounding_of_steps_breaks_no_budget_and_other_flop_does():
    runs = observations(GRID)
    runs.flops_budget[:] = np.nan
    runs.flops[:] *= np.tile(np.linspace(0.995, 1.003, 5), 4)
    assert how_to_resample(runs) == "noise"
    runs.flops[:] *= np.tile(np.linspace(0.9, 1.1, 5), 4)
    assert how_to_resample(runs) == "cases"


@pytest.mark.parametrize("kept", [slice(0, 10), slice(0, 17)])
def test_two_budgets_or_a_budget_of_two_sizes_are_no_grid(kept):
    assert how_to_resample(observations(GRID[kept])) == "cases"


def test_runs_of_one_size_are_one_size():
    repeated = [*GRID[:15], *[GRID[15]] * 5]
    assert how_to_resample(observations(repeated)) == "cases"


def test_draws_have_the_spread_of_the_noise_and_the_tails_of_student():
    residuals = np.random.default_rng(1).normal(0.3, 0.01, 40)
    draws = smooth_draws(residuals, 5, 20_000, generator(0, "test"))
    dof = 35
    sd = residuals.std() * np.sqrt(40 / dof) * np.sqrt(dof / (dof - 2))
    assert draws.std() == pytest.approx(sd, rel=0.01)
    assert abs(draws.mean()) < 1e-4
    assert len(np.unique(draws)) == draws.size


def test_no_residuals_give_no_noise():
    assert (smooth_draws(np.zeros(12), 5, 50, generator(0, "test")) == 0).all()
