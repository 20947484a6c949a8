"""Kaplan's laws: exact on surfaces made of them, their chosen points, and what they imply."""

from dataclasses import replace

import numpy as np
import pytest
from fit_examples import isoflop_rows, observations

from scaling.fit.joint import JointLaw, fit_joint, short_of_data
from scaling.fit.kaplan import fit_kaplan
from scaling.fit.laws import PUBLISHED

KAPLAN = PUBLISHED["kaplan"]
TRUTH = JointLaw(np.log(6.4e13), np.log(1.8e13), 0.076, 0.103)
SIZES, DATA = np.geomspace(1e6, 1e9, 6), np.geomspace(2e8, 2e10, 5)


def grid(sigma=0.0, seed=0, sizes=SIZES, data=DATA):
    rng = np.random.default_rng(seed)
    return observations(
        [
            {
                "params": float(n),
                "tokens": float(d),
                "loss": float(KAPLAN.predict_loss(n, d) * np.exp(sigma * rng.normal())),
            }
            for n in sizes
            for d in data
        ]
    )


def test_the_joint_law_is_recovered_with_its_frontier():
    law, joint = fit_joint(grid(), 60, 0)
    assert law.status == "ok"
    for name, truth in (("alpha_N", 0.076), ("alpha_D", 0.103), ("N_c", 6.4e13), ("D_c", 1.8e13)):
        assert law.estimates[name].value == pytest.approx(truth, rel=1e-6)
    assert law.estimates["a"].value == pytest.approx(0.103 / 0.179, rel=1e-6)
    assert law.estimates["alpha_C"].value == pytest.approx(0.076 * 0.103 / 0.179, rel=1e-6)
    assert joint.predict_loss(3e9, 1e11) == pytest.approx(KAPLAN.predict_loss(3e9, 1e11), rel=1e-8)


def test_the_implied_frontier_is_the_minimum_along_a_budget():
    def best(flops):
        n = np.geomspace(1e5, 1e13, 400_001)
        i = np.argmin(TRUTH.predict_loss(n, flops / 6 / n))
        return n[i], TRUTH.predict_loss(n[i], flops / 6 / n[i])

    (n_low, l_low), (n_high, l_high) = best(1e18), best(1e22)
    assert np.log(n_high / n_low) / np.log(1e4) == pytest.approx(TRUTH.a, abs=1e-4)
    assert -np.log(l_high / l_low) / np.log(1e4) == pytest.approx(TRUTH.alpha_C, abs=1e-6)


def test_kaplans_own_numbers_give_his_overfitting_condition():
    assert TRUTH.data_power == pytest.approx(0.74, abs=0.005)
    assert TRUTH.data_scale() == pytest.approx(5e3, rel=0.12)
    n, d = 1e8, TRUTH.data_scale() * 1e8**TRUTH.data_power
    assert TRUTH.predict_loss(n, d) / TRUTH.predict_loss(n, 1e40) == pytest.approx(1.02, rel=1e-6)


def test_runs_short_of_data_are_counted():
    runs = grid()
    needed = TRUTH.data_scale() * runs.params**TRUTH.data_power
    document = fit_kaplan(runs, 60, 0, 0.2).document()
    condition = document["L_ND"]["overfitting"]
    assert condition["violations"] == int((runs.tokens < needed).sum()) > 0
    assert condition["runs"] == len(runs)
    assert condition["p"]["value"] == pytest.approx(0.076 / 0.103, rel=1e-6)


def test_the_joint_law_covers():
    hits = 0
    for seed in range(100):
        law, _ = fit_joint(grid(0.005, seed), 150, seed)
        low, high = law.estimates["a"].ci90
        hits += low <= TRUTH.a <= high
    assert 0.80 <= hits / 100 <= 0.98


def test_laws_of_one_variable_go_through_the_points_that_the_rule_chooses():
    data = np.geomspace(2e10, 2e12, 5)
    runs = grid(data=data)
    document = fit_kaplan(runs, 60, 0, 0.2).document()
    enough = ~short_of_data(TRUTH, runs)
    most = runs.tokens == data[-1]
    names = np.array(runs.run_id, dtype=object)
    assert document["L_N"]["runs"] == list(names[most & enough])
    assert document["L_D"]["runs"] == list(names[runs.params == SIZES[-1]])
    assert document["L_N"]["forms"]["power"]["alpha"]["value"] == pytest.approx(0.076, abs=0.002)


def test_exact_laws_of_size_and_data_are_recovered_and_imply_the_exponent():
    # Size alone limits the first runs, data alone the second: both laws are exact there.
    rows = [{"params": n, "tokens": 1e40, "loss": (8.8e13 / n) ** 0.076} for n in SIZES]
    rows += [{"params": 1e30, "tokens": d, "loss": (5.4e13 / d) ** 0.095} for d in DATA]
    document = fit_kaplan(observations(rows), 60, 0, 0.2).document()
    size, data = document["L_N"], document["L_D"]
    assert data["alpha"]["value"] == pytest.approx(0.095, rel=1e-6)
    assert data["D_c"]["value"] == pytest.approx(5.4e13, rel=1e-5)
    # The size law also has the one run of the giant, which data limit: the rule leaves it out.
    assert len(size["runs"]) == len(SIZES)
    assert size["alpha"]["value"] == pytest.approx(0.076, rel=1e-6)
    pair = next(e for e in document["implied"] if e["laws"] == ["L_N", "L_D"])
    assert pair["a"]["value"] == pytest.approx(0.095 / 0.171, rel=1e-6)


def test_the_least_loss_of_each_budget_makes_the_law_of_compute():
    surface = replace(PUBLISHED["besiroglu"], E=0.0)
    rows = isoflop_rows(surface, np.geomspace(1e17, 1e20, 6), [0.25, 0.5, 1.0, 2.0, 4.0])
    document = fit_kaplan(observations(rows), 60, 0, 0.2).document()
    law = document["L_C"]
    assert law["status"] == "ok"
    assert law["runs"] == [f"run-{5 * i + 2:03d}" for i in range(6)]
    expected = surface.alpha * surface.beta / (surface.alpha + surface.beta)
    assert law["form"] == "power"
    assert law["alpha"]["value"] == pytest.approx(expected, rel=1e-6)


def test_too_few_runs_are_refused_law_by_law():
    runs = grid().take(np.arange(3))
    law = fit_kaplan(runs, 60, 0, 0.2)
    assert law.status == "refused"
    for name in ("L_N", "L_D", "L_C", "L_ND"):
        assert law.details[name]["status"] == "refused"


def test_one_size_alone_has_a_law_of_data_only():
    law = fit_kaplan(grid(sizes=[1e8]), 60, 0, 0.2)
    assert law.status == "flagged"
    assert law.details["L_D"]["status"] != "refused"
    assert law.details["L_N"]["status"] == law.details["L_ND"]["status"] == "refused"
    assert "part_refused" in {flag.code for flag in law.flags}
