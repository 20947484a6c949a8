"""Huber losses by reweighted squares: the same minimum as Newton's, derivatives, weights."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics import Rows, by_differences, huber, solve_huber
from scaling.fit.parametric.forms import HOFFMANN, starts
from scaling.fit.parametric.minimum import minimise, stages
from tests.support.fit_examples import isoflop_rows

X = np.linspace(-1, 1, 9)
BOUNDS = (np.array([-10.0, -10.0]), np.array([10.0, 10.0]))


def line(theta):
    return theta[:, :1] + theta[:, 1:] * X


def test_reweighted_squares_reach_newtons_minimum():
    """On Hoffmann's form both methods find the same objective, to a ten-thousandth."""
    made = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), (0.25, 0.5, 1, 2, 4), 0.01
    )
    rows = Rows.of(
        *(np.array([row[name] for row in made]) for name in ("params", "tokens", "loss"))
    )
    point = minimise(rows, 1e-3)
    away = starts(HOFFMANN, point.theta * [0.7, 1.3, 0.8, 1.2, 0.9], rows)
    found = HOFFMANN.solve(rows, away, np.ones((1, len(made))), stages(1e-3))
    assert found.settled[0]
    assert found.objective[0] == pytest.approx(point.objective, rel=1e-4)
    assert found.objective[0] >= point.objective * (1 - 1e-9)


def test_differences_are_the_derivatives():
    """Central differences of a line are exact."""
    _, slopes = by_differences(line)(np.array([[0.3, -2.0]]))
    assert slopes[0] == pytest.approx(np.column_stack([np.ones(9), X]), abs=1e-8)


def test_a_narrow_huber_passes_an_outlier_by():
    """One wild row of nine hardly moves a line of narrow width; a weight of 0 leaves it out."""
    target = 1 + 2 * X
    target[4] += 50
    start, ones = np.zeros((2, 2)), np.ones((2, 9))
    ones[1, 4] = 0
    found = solve_huber(by_differences(line), start, target, ones, BOUNDS, (1.0, 0.1, 0.01))
    assert found.theta[0] == pytest.approx([1, 2], abs=0.01)
    assert found.theta[1] == pytest.approx([1, 2], abs=1e-6)
    assert found.objective[0] == pytest.approx(0.01 * 50, rel=1e-2)


def test_huber_is_squares_within_and_a_line_beyond():
    """r^2/2 inside delta, delta(|r| - delta/2) outside."""
    assert huber(np.array([0.5, -3.0]), 1.0) == pytest.approx([0.125, 2.5])
