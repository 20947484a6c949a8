"""The exponent without a run, by every method: as a whole fit without it, but for its draws."""

import numpy as np
import pytest

from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.isoflop.leave_out import exponents_without
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import config, isoflop_rows, observations

BUDGETS, SIZES = np.geomspace(1e18, 1e20, 5), np.geomspace(1 / 4, 4, 9)


@pytest.fixture(scope="module")
def runs():
    """Five budgets of nine sizes with noise, and one run that came out 0.02 nats too high."""
    rows = isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, SIZES, 0.002, 0)
    rows[4]["loss"] += 0.02
    return observations(rows)


@pytest.mark.parametrize(
    ("method", "tolerance"),
    [("parabola", 1e-9), ("parabola_all", 1e-9), ("robust", 1e-3), ("spline", 2e-2)],
)
def test_exponents_without_are_those_of_whole_fits(runs, method, tolerance):
    """Also of a run at an end of its curve; a run of no curve changes nothing."""
    asked = config("runs=x", f"isoflop.method={method}").isoflop
    left = np.array([4, 9, 22])
    whole, found = exponents_without(runs, left, method, 0.2, 4.0)
    changes = [a - whole for a in found]
    law = fit_isoflop(runs, 0, 0, 0.2, asked).law
    for row, change in zip(left, changes, strict=True):
        kept = runs.take(np.arange(len(runs)) != row)
        exact = fit_isoflop(kept, 0, 0, 0.2, asked).law.a.value - law.a.value
        assert change == pytest.approx(exact, abs=tolerance)


def test_exponents_without_a_run_of_no_curve_are_those_of_all(runs):
    alone = observations(
        [*isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, SIZES, 0.002, 0)]
        + isoflop_rows(PUBLISHED["besiroglu"], [7e21], [1.0])
    )
    alone = alone.take(np.argsort(alone.flops, kind="stable"))
    alone.flops_budget[-1] = np.nan
    whole, (same,) = exponents_without(alone, np.array([len(alone) - 1]), "parabola", 0.2, 4.0)
    assert same == whole
