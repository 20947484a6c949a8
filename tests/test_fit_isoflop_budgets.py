"""Which runs are of one budget where budgets have no name: those between two gaps in FLOP."""

import numpy as np
import pytest

from scaling.fit.isoflop import budgets, find_profiles, in_no_budget, minima
from scaling.fit.isoflop.budgets import same_sizes
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import isoflop_rows, observations

SIZES = np.geomspace(1 / 7, 7, 9)


def unnamed(flops, scatter, seed=0):
    """Nine sizes a budget, each run's FLOP off by up to a share `scatter`."""
    rng = np.random.default_rng(seed)
    rows = isoflop_rows(PUBLISHED["besiroglu"], flops, SIZES)
    for row in rows:
        del row["flops_budget"]
        off = float(1 + scatter * rng.uniform(-1, 1))
        row["tokens"] *= off
        row["flops"] *= off
    return rows


@pytest.mark.parametrize("step", [2.0, 3.0, 10.0])
@pytest.mark.parametrize("scatter", [0.0, 0.02, 0.15])
def test_budgets_are_between_gaps(step, scatter):
    """Runs that scatter about their budgets are each in theirs, whatever the tolerance."""
    for seed in range(5):
        runs = observations(unnamed(1e18 * step ** np.arange(4), scatter, seed))
        for tolerance in (0.01, 0.2, 0.5):
            assert [len(rows) for _, rows in budgets(runs, tolerance)] == [9] * 4
            assert not len(in_no_budget(runs, tolerance))


def test_budgets_near_each_other_are_told_apart():
    """Budgets a fifth apart are two where their runs lie near them."""
    groups = budgets(observations(unnamed([1e18, 1.2e18], 0.005)), 0.5)
    assert [len(rows) for _, rows in groups] == [9, 9]


def test_runs_near_no_budget_are_counted():
    """Runs far from every budget are in none and counted."""
    rows = unnamed([1e18, 1e19, 1e20], 0.15)
    rows += unnamed([3.2e18], 0.0)[:2] + unnamed([4e20], 0.0)[:1]
    runs = observations(rows)
    assert in_no_budget(runs, 0.2).tolist() == [27, 28, 29]
    assert [len(rows) for _, rows in budgets(runs, 0.2)] == [9, 2, 9, 9, 1]


def test_budgets_of_many_rows_are_quick():
    """A table without budgets is looked through in a time that grows with its rows alone."""
    rng = np.random.default_rng(0)
    n = 20_000
    rows = [{"params": 1e8, "tokens": t, "loss": 3.0} for t in 10 ** rng.uniform(8, 12, n)]
    assert sum(len(rows) for _, rows in budgets(observations(rows), 0.2)) == n


def test_runs_spread_evenly_are_of_no_budget():
    """A thousand runs at any compute make no groups: each would be chance, and biased."""
    rng = np.random.default_rng(0)
    params = 10 ** rng.uniform(7, 10, 1000)
    tokens = params * 10 ** rng.uniform(0.3, 2.3, 1000)
    rows = [
        {"params": n, "tokens": d, "loss": float(PUBLISHED["besiroglu"].predict_loss(n, d))}
        for n, d in zip(params.tolist(), tokens.tolist(), strict=True)
    ]
    runs = observations(rows)
    assert max(len(members) for _, members in budgets(runs, 0.2)) < 5
    assert len(in_no_budget(runs, 0.2)) == 1000


def test_many_sizes_of_a_budget_are_averaged():
    """Of five thousand sizes a budget a curve keeps 48, with the same minimum."""
    surface = PUBLISHED["besiroglu"]
    few, many = (
        find_profiles(observations(isoflop_rows(surface, [1e20], np.geomspace(1 / 4, 4, count))), 0)
        for count in (41, 5000)
    )
    assert [len(profile.loss) for profile in (*few, *many)] == [41, 48]
    found = [np.exp(minima(p, p.loss[None])[0][0]) for p in (*few, *many)]
    assert found[0] == pytest.approx(found[1], rel=0.01)
    assert many[0].n_points == 5000


def test_sizes_in_steps_under_a_percent_are_cut_at_every_percent():
    """A row of sizes is not one size, and a size that was rounded twice is."""
    assert len(np.unique(same_sizes(np.linspace(0, 1, 5000)))) == pytest.approx(100, abs=3)
    assert same_sizes(np.array([1.0, 1.002, 2.0, 1.0])).tolist() == [0, 0, 1, 0]
