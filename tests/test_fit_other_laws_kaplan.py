"""Kaplan's laws: exact on surfaces made of them, their chosen points, and what they imply."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.other_laws.kaplan import fit_kaplan
from scaling.fit.other_laws.kaplan_joint import short_of_data
from tests.support.fit_examples import isoflop_rows, observations
from tests.support.kaplan_examples import DATA, SIZES, TRUTH, grid


def test_fit_kaplan_chooses_points_by_rule():
    """Laws of one variable go through the points that the rule chooses."""
    data = np.geomspace(2e10, 2e12, 5)
    runs = grid(data=data)
    found = fit_kaplan(runs, 60, 0, 0.2)
    enough = ~short_of_data(TRUTH, runs)
    most = runs.tokens == data[-1]
    names = np.array(runs.run_id, dtype=object)
    assert found.L_N.runs == tuple(names[most & enough])
    assert found.L_D.runs == tuple(names[runs.params == SIZES[-1]])
    assert found.L_N.forms.power.alpha.value == pytest.approx(0.076, abs=0.002)


def test_fit_kaplan_recovers_exact_laws():
    """Exact laws of size and data are recovered and imply the exponent."""
    # Size alone limits the first runs, data alone the second: both laws are exact there.
    rows = [{"params": n, "tokens": 1e40, "loss": (8.8e13 / n) ** 0.076} for n in SIZES]
    rows += [{"params": 1e30, "tokens": d, "loss": (5.4e13 / d) ** 0.095} for d in DATA]
    found = fit_kaplan(observations(rows), 60, 0, 0.2)
    size, data = found.L_N, found.L_D
    assert data.alpha.value == pytest.approx(0.095, rel=1e-6)
    assert data.D_c.value == pytest.approx(5.4e13, rel=1e-5)
    # The size law also has the one run of the giant, which data limit: the rule leaves it out.
    assert len(size.runs) == len(SIZES)
    assert size.alpha.value == pytest.approx(0.076, rel=1e-6)
    pair = next(e for e in found.implied if e.laws == ("L_N", "L_D"))
    assert pair.a.value == pytest.approx(0.095 / 0.171, rel=1e-6)


def test_fit_kaplan_law_of_compute():
    """The least loss of each budget makes the law of compute."""
    surface = replace(PUBLISHED["besiroglu"], E=0.0)
    rows = isoflop_rows(surface, np.geomspace(1e17, 1e20, 6), [0.25, 0.5, 1.0, 2.0, 4.0])
    found = fit_kaplan(observations(rows), 60, 0, 0.2)
    law = found.L_C
    assert law.status == "ok"
    assert law.runs == tuple(f"run-{5 * i + 2:03d}" for i in range(6))
    expected = surface.alpha * surface.beta / (surface.alpha + surface.beta)
    assert law.form == "power"
    assert law.alpha.value == pytest.approx(expected, rel=1e-6)


def test_fit_kaplan_refuses_law_by_law():
    """Too few runs are refused law by law."""
    runs = grid().take(np.arange(3))
    law = fit_kaplan(runs, 60, 0, 0.2)
    assert law.status == "refused"
    for name in ("L_N", "L_D", "L_C", "L_ND"):
        assert getattr(law, name).status == "refused"


def test_fit_kaplan_of_one_size():
    """One size alone has a law of data only."""
    law = fit_kaplan(grid(sizes=[1e8]), 60, 0, 0.2)
    assert law.status == "flagged"
    assert law.L_D.status != "refused"
    assert law.L_N.status == law.L_ND.status == "refused"
    assert "part_refused" in {flag.code for flag in law.flags}


def test_fit_kaplan_says_where_its_law_of_compute_is_that_of_size():
    """At one amount of data C varies with N alone."""
    surface = PUBLISHED["besiroglu"]
    rows = [
        {"params": n, "tokens": 2e10, "loss": surface.predict_loss(n, 2e10)}
        for n in np.geomspace(1e7, 3e9, 8)
    ]
    law = fit_kaplan(observations(rows), 0, 0, 0.2).L_C
    told = {flag.code: flag.text for flag in law.flags}
    assert "every run has D = 2e+10: C varies with N alone" in told["collinear_design"]


def test_fit_kaplan_flags_a_floor_that_is_not_known():
    """With E preferred and open, no law of one variable is ok."""
    rng = np.random.default_rng(3)
    rows = [
        {"params": n, "tokens": 1e13, "loss": 0.5 + (1e12 / n) ** 0.1 + 0.01 * rng.normal()}
        for n in np.geomspace(1e6, 1e9, 8)
    ]
    law = fit_kaplan(observations(rows), 200, 0, 0.2).L_N
    low, high = law.E.ci90
    assert law.form == "floor" and high - low > 0.5 * law.E.value
    assert "floor_unidentified" in {flag.code for flag in law.flags}
    assert set(law.identifiability.relative_se) == {"E", "X_c", "alpha"}
