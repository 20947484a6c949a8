"""The smallest multiplier that a grid could tell from 1, against simulated studies of that grid."""

import numpy as np
import pytest

from scaling.fit.multiplier.estimator import Asked, multipliers
from scaling.plan.precision.multiplier import smallest_multiplier
from tests.support.arms import BUDGETS, LAW, SIZES, arms

N = [LAW.optimal_allocation(flops)[0] * SIZES for flops in BUDGETS]


def _expected(noise=0.01, seeds=1, correlation=0.0, sizes=N):
    return smallest_multiplier(LAW, BUDGETS, sizes, [noise] * len(BUDGETS), seeds, correlation)


def _power(k, noise, seeds, correlation, studies=100):
    """The share of simulated studies whose 90% interval of k leaves out 1."""
    told = 0
    for seed in range(studies):
        pair = arms(k, noise, seed, correlation or None, seeds)
        trend = multipliers(*pair, Asked(200, seed))[0].trend
        told += trend.verdict == "better"
    return told / studies


@pytest.mark.parametrize(("noise", "seeds", "correlation"), [(0.01, 1, 0.0), (0.02, 1, 0.7)])
def test_smallest_multiplier_is_told_in_four_studies_of_five(noise, seeds, correlation):
    """An arm worth that much is told from the baseline in about 80% of simulated studies."""
    found = _expected(noise, seeds, correlation)
    assert found.k is not None
    assert 0.7 <= _power(found.k, noise, seeds, correlation) <= 0.9


def test_smallest_multiplier_says_the_seeds_that_halve_it():
    """With the seeds that it names, half of its logarithm is told as often."""
    found = _expected(0.02)
    assert found.k is not None and found.seeds_to_halve is not None
    assert 2 <= found.seeds_to_halve <= 4
    assert _power(np.sqrt(found.k), 0.02, found.seeds_to_halve, 0.0) >= 0.72
    assert f"; {found.seeds_to_halve} seeds would halve log k" in found.line


@pytest.mark.parametrize("seeds", [1, 2])
def test_smallest_multiplier_says_the_interval_with_one_seed_more(seeds):
    """Simulated studies have intervals of those widths, with these seeds and with one more."""
    found = _expected(0.02, seeds)
    for count, half in zip((seeds, seeds + 1), found.half_widths, strict=True):
        widths = []
        for seed in range(12):
            k = multipliers(*arms(1.0, 0.02, seed, None, count), Asked(200, seed))[0].trend.k
            widths.append(np.log(k.ci90[1] / k.ci90[0]) / 2)
        assert np.mean(widths) == pytest.approx(half, rel=0.15)
        assert f"{np.exp(-half):.3f} to {np.exp(half):.3f}" in found.line


def test_smallest_multiplier_falls_with_pairing_and_noise():
    """Half the noise, or three quarters of it shared, tells half of log k."""
    plain, quiet, paired = _expected(0.02, 2), _expected(0.01, 2), _expected(0.02, 2, 0.75)
    assert plain.k and quiet.k and paired.k
    assert np.log(quiet.k) == pytest.approx(np.log(plain.k) / 2)
    assert np.log(paired.k) == pytest.approx(np.log(plain.k) / 2)


def test_smallest_multiplier_needs_minima():
    """Sizes that are all below the optimum tell nothing, and the line says so."""
    found = _expected(sizes=[row / 100 for row in N])
    assert found.k is None and found.seeds_to_halve is None
    assert "no budget's sizes have a minimum" in found.line
