"""Kaplan's joint law of size and data."""

import numpy as np
import pytest

from scaling.fit.other_laws.kaplan import fit_kaplan
from scaling.fit.other_laws.kaplan_joint import fit_joint
from tests.support.kaplan_examples import KAPLAN, TRUTH, grid


def test_fit_joint_recovers_the_law():
    """The joint law is recovered with its frontier."""
    law, joint = fit_joint(grid(), 60, 0)
    assert law.status == "ok"
    for name, truth in (("alpha_N", 0.076), ("alpha_D", 0.103), ("N_c", 6.4e13), ("D_c", 1.8e13)):
        assert getattr(law, name).value == pytest.approx(truth, rel=1e-6)
    assert law.a.value == pytest.approx(0.103 / 0.179, rel=1e-6)
    assert law.alpha_C.value == pytest.approx(0.076 * 0.103 / 0.179, rel=1e-6)
    assert joint.predict_loss(3e9, 1e11) == pytest.approx(KAPLAN.predict_loss(3e9, 1e11), rel=1e-8)


def test_fit_joint_frontier_is_the_minimum_along_a_budget():
    """The implied frontier is the minimum along a budget."""

    def best(flops):
        n = np.geomspace(1e5, 1e13, 400_001)
        i = np.argmin(TRUTH.predict_loss(n, flops / 6 / n))
        return n[i], TRUTH.predict_loss(n[i], flops / 6 / n[i])

    (n_low, l_low), (n_high, l_high) = best(1e18), best(1e22)
    assert np.log(n_high / n_low) / np.log(1e4) == pytest.approx(TRUTH.a, abs=1e-4)
    assert -np.log(l_high / l_low) / np.log(1e4) == pytest.approx(TRUTH.alpha_C, abs=1e-6)


def test_data_scale_of_kaplans_numbers():
    """Kaplan's own numbers give his overfitting condition."""
    assert TRUTH.data_power == pytest.approx(0.74, abs=0.005)
    assert TRUTH.data_scale() == pytest.approx(5e3, rel=0.12)
    n, d = 1e8, TRUTH.data_scale() * 1e8**TRUTH.data_power
    assert TRUTH.predict_loss(n, d) / TRUTH.predict_loss(n, 1e40) == pytest.approx(1.02, rel=1e-6)


def test_short_of_data_counts_runs():
    """Runs short of data are counted."""
    runs = grid()
    needed = TRUTH.data_scale() * runs.params**TRUTH.data_power
    found = fit_kaplan(runs, 60, 0, 0.2)
    condition = found.L_ND.overfitting
    assert condition.violations == int((runs.tokens < needed).sum()) > 0
    assert condition.runs == len(runs)
    assert condition.p.value == pytest.approx(0.076 / 0.103, rel=1e-6)


def test_fit_joint_covers():
    hits = 0
    for seed in range(100):
        law, _ = fit_joint(grid(0.005, seed), 150, seed)
        low, high = law.a.ci90
        hits += low <= TRUTH.a <= high
    assert 0.80 <= hits / 100 <= 0.98
