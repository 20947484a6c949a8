"""Runs of two arms that belong together, and noise drawn for both."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.isoflop import find_profiles
from scaling.fit.isoflop.noise import profile_noise
from scaling.fit.multiplier.pairing import (
    Pairing,
    match,
    noise_of_both,
    paired,
    partners,
    seeds_of_cells,
)
from tests.support.arms import BUDGETS, SIZES, arms, runs, with_seeds


def _profiles(observations):
    return [p for p in find_profiles(observations, 0.2) if p.reason is None]


def _matched(one, other):
    pair = _profiles(one), _profiles(other)
    seeds = seeds_of_cells(one, pair[0], 0.2), seeds_of_cells(other, pair[1], 0.2)
    flops = [np.array([p.flops for p in profiles]) for profiles in pair]
    return pair, match(pair, seeds, partners(*flops, 0.2))


def test_partners_are_nearest_within_the_tolerance():
    """Budgets are one where each is the other's nearest and both lie within the tolerance."""
    one, other = np.array([1.0, 10.0, 100.0]), np.array([1.1, 9.9, 11.0, 150.0])
    assert partners(one, other, 0.2).tolist() == [0, 1, -1, -1]


def test_match_cells_of_one_budget_size_and_seed():
    """Every cell of two equal grids of one seed is matched with its own."""
    one = with_seeds(runs())
    _, places = _matched(one, with_seeds(runs(1.3)))
    assert sorted(places) == [(i, i) for i in range(len(BUDGETS))]
    rows = np.stack([np.arange(len(SIZES))] * 2, axis=1)
    assert all(np.array_equal(pairs, rows) for pairs in places.values())


def test_match_takes_the_nearest_rung_of_another_ladder():
    """Ladders that differ by a third of a step are matched, by two thirds to the next size."""
    one = with_seeds(runs())
    step = SIZES[1] / SIZES[0]
    for share, first in ((1 / 3, 0), (2 / 3, 1)):
        _, places = _matched(one, with_seeds(runs(factors=SIZES * step**share)))
        pairs = places[0, 0]
        assert (pairs[:, 0] - pairs[:, 1] == first).all()
        assert len(pairs) == len(SIZES) - first


def test_match_needs_seeds():
    """Runs without seeds, and runs of other seeds, are not matched."""
    one = with_seeds(runs())
    other = replace(one, columns={"seed": np.ones(len(one))})
    assert _matched(one, runs())[1] == {}
    assert _matched(one, other)[1] == {}


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_paired_tells_the_correlation(correlation):
    """The correlation of matched cells is that of their noise, within its error of 35 cells."""
    told = []
    for seed in range(20):
        one, other = arms(1.1, 0.01, seed, correlation)
        told.append(paired(*_matched(one.runs, other.runs)).correlation)
    assert np.mean(told) == pytest.approx(correlation, abs=0.1)


def test_noise_of_both_has_that_correlation():
    """Noise of matched cells correlates as asked, has the profiles' size, and elsewhere none."""
    one, other = arms(1.1, 0.01, 1, 0.8)
    pair, places = _matched(one.runs, other.runs)
    noises = profile_noise(pair[0]), profile_noise(pair[1])
    pairing = Pairing({(0, 0): places[0, 0]}, 0.8)
    first, second = noise_of_both(noises, pairing, 20_000, np.random.default_rng(0))
    assert np.corrcoef(first[0][:, 3], second[0][:, 3])[0, 1] == pytest.approx(0.8, abs=0.02)
    # Other budgets share the uncertain level of the noise alone, which moves no product's sign.
    assert np.corrcoef(first[1][:, 3], second[1][:, 3])[0, 1] == pytest.approx(0, abs=0.03)
    ratio = np.median(np.abs(second[0][:, 3])) / 0.6745 / noises[1].sd[0][3]
    assert ratio == pytest.approx(1, abs=0.1)
