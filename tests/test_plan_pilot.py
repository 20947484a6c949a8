"""A scout's centre by the runs of known laws."""

import math
from dataclasses import replace

import pytest

from tests.support.plan_examples import QUICKSTART, SCOUT, STAGED, first_plan, through, valley

BASE, GRID = QUICKSTART


@pytest.mark.parametrize("tokens_per_param", [8, 20, 60])
def test_scouted_centre_recovers_known_law(tokens_per_param):
    """The scout finds the centre of a known law."""

    def law(config):
        return valley(config, tokens_per_param, 0.45)

    plans = through(first_plan(BASE, replace(STAGED, tuning=None), None), law)
    centre = plans[-1].learned.centre
    for budget in GRID.budgets:
        best = math.sqrt(1e11 / (6 * tokens_per_param)) * (budget / 1e11) ** 0.45
        assert centre.n_effective(budget) == pytest.approx(best, rel=0.1)
    assert "scout: " in plans[-1].learned.notes[0]


def test_outer_cells_extend_scout_towards_optimum():
    """A scout that misses the optimum looks further on its side."""
    grid = replace(STAGED, scout=replace(SCOUT, sizes=4, span=2.0), tuning=None)
    plans = through(first_plan(BASE, grid, None), lambda config: valley(config, 4.0, 0.45))
    assert [plan.stage for plan in plans][:2] == ["scout", "scout"]
    best = math.sqrt(1e11 / 24)
    assert plans[-1].learned.centre.n_effective(1e11) == pytest.approx(best, rel=0.1)


def test_scouted_centre_stays_without_optimum():
    """A scout without an optimum leaves the centre and says so."""
    plans = through(first_plan(BASE, replace(STAGED, tuning=None), None), lambda _: 3.0)
    assert plans[-1].learned.centre is None
    assert "the centre stays as supposed" in plans[-1].learned.notes[0]


def test_scouted_centre_bounds_exponent():
    """The exponent of two coarse IsoFLOP curves stays within what is published."""
    grid = replace(STAGED, tuning=None)
    plans = through(first_plan(BASE, grid, None), lambda config: valley(config, 20, 0.8))
    assert plans[-1].learned.centre.exponent == 0.6
