"""Approach 3 against certified optima, known surfaces, and data that identify nothing."""

import numpy as np
import pytest
from fit_examples import isoflop_rows, observations

from scaling.fit.descent import Rows, descend
from scaling.fit.laws import PUBLISHED
from scaling.fit.parametric import centred, fit_parametric, minimise
from scaling.fit.resampling import resample
from scaling.fit.uncertainty import case_weights, generator


def test_one_ratio_of_tokens_to_parameters_is_refused():
    rows = [{"params": n, "tokens": 20 * n, "loss": 3 + 1e8 / n} for n in np.geomspace(1e8, 1e9, 9)]
    law = fit_parametric(observations(rows), 0, 0).law
    assert "cannot be told apart" in str(law.reason)


@pytest.mark.parametrize("name", ["hoffmann", "besiroglu", "muennighoff_c4"])
def test_a_surface_without_noise_is_recovered(name):
    surface = PUBLISHED[name]
    rows = isoflop_rows(surface, np.geomspace(1e17, 1e20, 5), np.geomspace(1 / 4, 4, 7))
    fitted = fit_parametric(observations(rows), 60, seed=0)
    for parameter in ("E", "A", "B", "alpha", "beta", "a"):
        estimate = fitted.law.estimates[parameter]
        assert estimate.value == pytest.approx(getattr(surface, parameter), rel=1e-6), parameter
        assert estimate.se < 1e-6 * estimate.value
    assert fitted.law.details["converged"]


def test_gradient_and_hessian_are_those_of_the_objective():
    from scaling.fit.descent import _expand

    rng = np.random.default_rng(0)
    rows = Rows(rng.normal(size=30), rng.normal(size=30), rng.uniform(2, 4, 30))
    weights = rng.integers(0, 3, (1, 30)).astype(float)
    theta = np.array([[1.7, 0.6, 0.5, 0.3, 0.4]])
    for residual in ("log", "loss"):
        data = Rows(rows.log_n, rows.log_d, rows.loss, residual)
        _, slope, curvature = _expand(theta, data, weights, 0.2)
        for index in range(5):
            step = np.zeros(5)
            step[index] = 1e-6
            ahead, _, _ = _expand(theta + step, data, weights, 0.2)
            behind, _, _ = _expand(theta - step, data, weights, 0.2)
            assert slope[0, index] == pytest.approx((ahead - behind)[0] / 2e-6, rel=1e-5)
            up = _expand(theta + step, data, weights, 0.2)[1]
            down = _expand(theta - step, data, weights, 0.2)[1]
            assert curvature[0, index] == pytest.approx((up - down)[0] / 2e-6, rel=2e-4, abs=1e-4)


def test_a_resample_ends_where_a_fit_of_its_rows_ends():
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.01
    )
    runs = observations(rows)
    data, _ = centred(runs.params, runs.tokens, runs.loss)
    weights = case_weights(len(runs), 12, generator(0, "test"))
    together = resample(data, minimise(data, 1e-3).theta, weights, 1e-3)
    for member, weight in zip(together.objective, weights, strict=True):
        index = np.repeat(np.arange(len(runs)), weight.astype(int))
        alone = minimise(Rows(data.log_n[index], data.log_d[index], data.loss[index]), 1e-3)
        assert member == pytest.approx(alone.objective, rel=1e-6)


def test_a_floor_that_does_not_show_is_null_at_its_bound():
    rng = np.random.default_rng(1)
    surface = PUBLISHED["besiroglu"]
    rows = isoflop_rows(surface, np.geomspace(1e17, 1e19, 4), np.geomspace(1 / 3, 3, 5))
    for row in rows:
        # A pure power law in N and D has no floor; noise then leaves E at 0 or near it.
        clean = 90 * row["params"] ** -0.2 + 60 * row["tokens"] ** -0.15
        row["loss"] = clean - 0.3 + 0.0005 * rng.standard_normal()
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "flagged"
    assert {"term_at_bound", "floor_unidentified"} <= {flag.code for flag in law.flags}
    assert law.estimates["E"].value is None
    assert law.estimates["E"].bound == "low"
    assert law.estimates["a"].value is not None


def test_five_points_are_refused():
    rows = isoflop_rows(PUBLISHED["besiroglu"], [1e18], np.geomspace(1 / 3, 3, 5))
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "refused"
    assert law.reason == "5 distinct (N, D) points, expected at least 6"
    assert not law.estimates


def test_runs_of_one_size_are_refused():
    rows = [{"params": 1e8, "tokens": 1e9 * k, "loss": 3 + 1 / k} for k in range(1, 12)]
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.reason == "1 distinct N, expected at least 3 to see an exponent"


def test_a_loss_that_does_not_depend_on_size_is_refused():
    rng = np.random.default_rng(0)
    rows = [
        {"params": n, "tokens": d, "loss": 2 + 900 * d**-0.35 + 1e-4 * rng.standard_normal()}
        for n in np.geomspace(1e7, 1e9, 5)
        for d in np.geomspace(1e8, 1e10, 5)
    ]
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "refused" or "term_at_bound" in {flag.code for flag in law.flags}


def test_a_descent_cut_short_is_not_called_converged():
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.01
    )
    runs = observations(rows)
    data, _ = centred(runs.params, runs.tokens, runs.loss)
    start = np.array([[1.0, 1.0, 1.0, 1.0, 1.0]])
    cut = descend(start, data, np.ones((1, len(runs))), (1e-3,), max_steps=2)
    assert not cut.converged[0]


def test_a_starved_optimiser_gives_a_refusal_and_no_number(monkeypatch):
    from scaling.fit import parametric

    def starved(theta, rows, weights, deltas, free=(True,) * 5, max_steps=200):
        return descend(theta, rows, weights, deltas[-1:], free, 1 if all(free) else max_steps)

    monkeypatch.setattr(parametric, "descend", starved)
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.01
    )
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "refused"
    assert law.reason.startswith("not converged")
    assert not law.estimates
