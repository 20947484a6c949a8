"""Which resampling a table calls for, and what its draws keep of the residuals."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics.bootstrap import case_weights, generator
from scaling.fit.numerics.rows import Rows
from scaling.fit.parametric.bootstrap import refit, resampling_scheme, smooth_draws
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.minimum import minimise
from tests.support.fit_examples import isoflop_rows, observations

SURFACE = PUBLISHED["besiroglu"]
GRID = isoflop_rows(SURFACE, np.geomspace(1e17, 1e19, 4), np.geomspace(1 / 3, 3, 5), 0.01)


def test_resampling_scheme_of_a_grid():
    """A grid is drawn anew about its surface."""
    runs = observations(GRID)
    assert resampling_scheme(runs) == "noise"
    assert fit_parametric(runs, 60, 0).law.resampling == "noise"
    runs.flops_budget[:] = np.nan
    assert resampling_scheme(runs) == "noise"  # equal FLOP say as much


def test_resampling_scheme_allows_rounding():
    """The rounding of steps breaks no budget and other FLOP does."""
    runs = observations(GRID)
    runs.flops_budget[:] = np.nan
    runs.flops[:] *= np.tile(np.linspace(0.995, 1.003, 5), 4)
    assert resampling_scheme(runs) == "noise"
    runs.flops[:] *= np.tile(np.linspace(0.9, 1.1, 5), 4)
    assert resampling_scheme(runs) == "cases"


@pytest.mark.parametrize("kept", [slice(0, 10), slice(0, 17)])
def test_resampling_scheme_of_no_grid(kept):
    """Two budgets or a budget of two sizes are no grid."""
    assert resampling_scheme(observations(GRID[kept])) == "cases"


def test_resampling_scheme_counts_distinct_sizes():
    """Runs of one size are one size."""
    repeated = [*GRID[:15], *[GRID[15]] * 5]
    assert resampling_scheme(observations(repeated)) == "cases"


def test_smooth_draws_spread_and_tails():
    """Draws have the spread of the noise and the tails of Student."""
    residuals = np.random.default_rng(1).normal(0.3, 0.01, 40)
    draws = smooth_draws(residuals, 5, 20_000, generator(0, "test"))
    dof = 35
    sd = residuals.std() * np.sqrt(40 / dof) * np.sqrt(dof / (dof - 2))
    assert draws.std() == pytest.approx(sd, rel=0.01)
    assert abs(draws.mean()) < 1e-4
    assert len(np.unique(draws)) == draws.size


def test_smooth_draws_of_no_residuals():
    """No residuals give no noise."""
    assert (smooth_draws(np.zeros(12), 5, 50, generator(0, "test")) == 0).all()


def test_refit_ends_at_the_fit_of_its_rows():
    """A resample ends where a fit of its rows ends."""
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.01
    )
    runs = observations(rows)
    data = Rows.of(runs.params, runs.tokens, runs.loss)
    weights = case_weights(len(runs), 12, generator(0, "test"))
    together = refit(data, minimise(data, 1e-3).theta, weights, 1e-3)
    for member, weight in zip(together.objective, weights, strict=True):
        index = np.repeat(np.arange(len(runs)), weight.astype(int))
        alone = minimise(Rows(data.log_n[index], data.log_d[index], data.loss[index]), 1e-3)
        assert member == pytest.approx(alone.objective, rel=1e-6)
