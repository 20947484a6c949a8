"""Flags of the profiles taken together."""

import numpy as np
import pytest

from scaling.fit.config import IsoflopConfig
from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import Exclusion
from tests.support.fit_examples import isoflop_rows, observations
from tests.support.fit_grid import BUDGETS, SIZES, TIED, bent_rows, law


def test_drift_flags_a_moving_grid():
    """A drifting grid is flagged with the exponent without it."""
    surface = PUBLISHED["hoffmann_printed"]
    rows = []
    for index, flops in enumerate(np.geomspace(1e17, 1e21, 5)):
        sizes = np.geomspace(1 / 4, 4, 7) * 1.4 ** (index - 2)
        rows += isoflop_rows(surface, [flops], sizes)
    asked = IsoflopConfig("parabola")
    fitted = fit_isoflop(observations(rows), 0, 0, 0.2, asked).law
    text = next(flag.text for flag in fitted.flags if flag.code == "drifting_centre")
    assert "one skewed shape for all IsoFLOP curves gives a = 0.4516" in text
    assert law(rows).method == "robust" and law(rows).status == "ok"
    steady = law(isoflop_rows(surface, BUDGETS, SIZES))
    assert "drifting_centre" not in {flag.code for flag in steady.flags}


def bent_text(rows, method, resamples=200):
    """The text of the flag of a bend, `` if there is none."""
    asked = IsoflopConfig(method)
    fitted = fit_isoflop(observations(rows), resamples, 0, 0.2, asked).law
    assert fitted.status != "refused", fitted.reason
    return next((flag.text for flag in fitted.flags if flag.code == "bent_frontier"), "")


@pytest.mark.parametrize("method", ["parabola_all", "robust", "spline"])
@pytest.mark.parametrize("by", [0.02, -0.03])
def test_bend_states_the_exponents_at_both_ends(method, by):
    """A bend of log N* is flagged either way, with the slopes of the lowest and highest budget."""
    half = 2 * by * np.log(BUDGETS[-1] / BUDGETS[0]) / 2
    text = bent_text(bent_rows(BUDGETS, by, sigma=0.001), method)
    low = float(text.split("a is ")[1].split()[0])
    high = float(text.split(" FLOP and ")[1].split()[0])
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.05)
    assert "at 1e+17 FLOP" in text and "at 1e+19," in text


def test_bend_needs_enough_budgets_and_resamples_and_a_change_that_matters():
    """No flag of an exponent that moves by 0.09, nor where too little tells it from noise."""
    rows = bent_rows(BUDGETS, 0.02, sigma=0.001)
    assert bent_text(rows, "robust") and not bent_text(rows, "robust", resamples=39)
    assert bent_text(bent_rows(BUDGETS, 0.0098, sigma=0.0001), "robust") == ""
    assert bent_text(bent_rows(BUDGETS, 0.02, sigma=0.05), "robust") == ""
    assert bent_text(bent_rows(BUDGETS[1:], 0.1, sigma=0.001), "robust") == ""


@pytest.mark.parametrize("n_budgets", [5, 7])
def test_bend_is_seldom_seen_where_there_is_none(n_budgets):
    """The flag is raised in about 1 of 100 grids on a power law, at a noise that could show it."""
    budgets = np.geomspace(1e17, 1e19, n_budgets)
    seen = [
        bent_text(bent_rows(budgets, 0.0, 0.03, seed=100 * i), "robust", resamples=60)
        for i in range(50)
    ]
    assert sum(map(bool, seen)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["parabola", "robust"])
@pytest.mark.parametrize(
    ("bent", "scatter", "least", "most"),
    [(0.0, 0.0, 0.0, 0.03), (0.0, 0.1, 0.0, 0.08), (0.1, 0.0, 0.95, 1.0)],
)
def test_bend_is_told_from_a_line_as_often_as_documented(method, bent, scatter, least, most):
    """docs/method.md: on 200 grids of each kind at noise of 0.2% of the loss, and of 1% too.

    Straight, with minima off their line, and with a that changes by 0.2.
    """
    rng = np.random.default_rng(0)
    share = {}
    for n_budgets, decades in ((5, 2), (7, 3), (9, 2.7)):
        budgets = np.geomspace(1e17, 1e17 * 10**decades, n_budgets)
        curve = bent / np.log(budgets[-1] / budgets[0])
        for sigma in (0.006,) if bent else (0.006, 0.03):
            grids = (
                off_line(bent_rows(budgets, curve, sigma, seed=1000 * i), scatter, rng)
                for i in range(200)
            )
            texts = [bent_text(rows, method, resamples=100) for rows in grids]
            share[n_budgets, sigma] = float(np.mean([text != "" for text in texts]))
    print(share)
    assert least <= min(share.values()) and max(share.values()) <= most, share


def off_line(rows, scatter, rng):
    """The rows, each budget's sizes moved together by a normal factor of this sd in log N."""
    off = {row["flops"]: 0.0 for row in rows}
    off = {flops: float(np.exp(scatter * rng.standard_normal())) for flops in off}
    moved = ((row, off[row["flops"]]) for row in rows)
    return [{**row, "params": row["params"] * f, "tokens": row["tokens"] / f} for row, f in moved]


def test_lost_edges_states_the_shift():
    """A missing edge run is flagged with the shift of the exponent."""
    rows = isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, SIZES, 0.005)
    lost = rows.pop()
    gone = Exclusion("big", "status oom", lost["flops_budget"], lost["params"])
    fitted = law(rows, excluded=(gone,))
    without = law([row for row in rows if row["flops_budget"] != lost["flops_budget"]])
    text = next(flag.text for flag in fitted.flags if flag.code == "edge_valley")
    stated = float(text.split("without this IsoFLOP curve a = ")[1].split(",")[0])
    same = without.methods[fitted.method].a.value
    assert stated == pytest.approx(same, abs=2e-3)


def test_with_flags_marks_odd_curvature():
    """An odd curvature is flagged at its profile."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[2]:
            row["loss"] += 0.6 * np.log(row["params"] / TIED.optimal_allocation(BUDGETS[2])[0]) ** 2
    profiles = law(rows).valleys
    assert [flag.code for flag in profiles[2].flags] == ["curvature"]
