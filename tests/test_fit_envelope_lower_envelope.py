"""The lower envelope of training curves: where sizes cross, hull, smoothing, settled share."""

import numpy as np
import pytest

from scaling.fit.envelope.lower_envelope import Trace, hull_points, lower_envelope, smoothed
from tests.support.curve_examples import SIZES, SURFACE, fitted, traces
from tests.support.fit_examples import isoflop_rows, observations


def test_crossings_follow_the_closed_form():
    """Two sizes cross where the closed form says."""
    envelope = lower_envelope(traces(), budgets=20_000)
    log_c, log_n, _ = (row[0] for row in envelope.crossings(np.ones((1, 8), dtype=bool)))
    alpha, beta, s = SURFACE.alpha, SURFACE.beta, np.sqrt(2.0)
    ratio = SURFACE.B / SURFACE.A * np.sinh(beta * np.log(s)) / np.sinh(alpha * np.log(s))
    middle = np.exp(log_n)
    assert middle == pytest.approx(SIZES[:-1] * s)
    expected = 6 * middle ** (1 / SURFACE.a) * ratio ** (1 / beta)
    # The grid's spacing is 7e-4, and curves are straight between rows a fiftieth apart.
    assert np.abs(log_c - np.log(expected)).max() < 2e-3


def test_settled_share_counts_the_last_tenth():
    """The settled share is that of the last tenth of each schedule."""
    curves = []
    for j in range(4):
        tokens = 10.0 ** np.linspace(j, j + 1, 101)
        step = 1000.0 * np.arange(101)
        curves.append(Trace(str(j), 2.0**j, 1.0, step, tokens, np.full(101, 3.0 - j / 9), 0.0))
    whole = lower_envelope(curves)
    winners = whole.winners(np.ones((1, 4), dtype=bool))[0]
    assert whole.settled_share(winners) == 1.0
    late = lower_envelope(
        [Trace(**{**vars(t), "settled_from": 0.9 * t.tokens[-1]}) for t in curves], budgets=40_000
    )
    winners = late.winners(np.ones((1, 4), dtype=bool))[0]
    assert late.settled_share(winners) == pytest.approx(np.log10(1 / 0.9), abs=1e-3)
    # No two of them were ever trained at one budget, so nothing was compared.
    reason = fitted(curves).law.reason
    assert reason is not None and "that were both trained at 0 budgets" in reason


def test_hull_points_follow_the_optimum():
    """The hull of final points follows the optimum."""
    rows = isoflop_rows(SURFACE, np.geomspace(1e17, 1e21, 9), np.geomspace(1 / 4, 4, 33))
    runs = observations(rows)
    log_c, log_n, log_d = (row[0] for row in hull_points(runs, np.ones((1, len(runs)), dtype=bool)))
    on_hull = np.isfinite(log_n)
    assert on_hull.sum() >= 9
    best = np.log(SURFACE.optimal_allocation(np.exp(log_c[on_hull]))[0])
    assert np.abs(log_n[on_hull] - best).max() < 0.1
    assert np.allclose((log_n + log_d)[on_hull], (log_c - np.log(6))[on_hull])


def test_smoothed_is_a_gaussian():
    """Smoothing is a Gaussian of ten steps."""
    step = np.arange(100.0)
    assert smoothed(step, np.full(100, 3.0)) == pytest.approx(np.full(100, 3.0))
    assert smoothed(step, step)[5:-5] == pytest.approx(step[5:-5])
    spike = smoothed(step, (step == 50) * 1.0)
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 2.5) ** 2)
    assert spike[45:56] == pytest.approx(weights / weights.sum())
    assert spike[:45].sum() == spike[56:].sum() == 0
    # Rows further apart than half the window are left as they are.
    noise = np.random.default_rng(0).standard_normal(100)
    assert np.array_equal(smoothed(6 * step, noise), noise)
