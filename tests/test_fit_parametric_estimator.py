"""Approach 3 against certified optima, known surfaces, and data that identify nothing."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.newton import newton_minimise
from scaling.fit.results.estimate import UNKNOWN
from tests.support.fit_examples import isoflop_rows, observations


def test_fit_parametric_refuses_one_ratio():
    """One ratio of tokens to parameters is refused."""
    rows = [{"params": n, "tokens": 20 * n, "loss": 3 + 1e8 / n} for n in np.geomspace(1e8, 1e9, 9)]
    law = fit_parametric(observations(rows), 0, 0).law
    assert "cannot be told apart" in str(law.reason)


def test_fit_parametric_refuses_data_that_are_a_power_of_the_sizes():
    """With D = 3 N^0.8 the two terms are two powers of N, and either may be the one of size."""
    rows = isoflop_rows(PUBLISHED["besiroglu"], np.geomspace(1e17, 1e20, 9), [1.0])
    law = fit_parametric(observations(rows), 0, 0).law
    assert law.reason == "D is N^0.951 times a constant: their effects cannot be told apart"


def ray(jitter, seed=0, noise=0.003):
    """Twelve runs of 20 tokens per parameter, each ratio off by up to a share `jitter`."""
    rng = np.random.default_rng(seed)
    rows = []
    for n in np.geomspace(1e7, 1e10, 12):
        d = 20 * n * np.exp(jitter * rng.uniform(-1, 1))
        loss = PUBLISHED["besiroglu"].predict_loss(n, d) + noise * rng.normal()
        rows.append({"params": n, "tokens": d, "loss": loss})
    return observations(rows)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("jitter", [0.002, 0.02, 0.1])
def test_fit_parametric_is_not_ok_near_one_ray(jitter, seed):
    """Ratios that differ by rounding alone do not separate alpha from beta."""
    law = fit_parametric(ray(jitter, seed), 60, 0).law
    assert law.status == "refused" or "collinear_design" in {flag.code for flag in law.flags}


def test_fit_parametric_flags_a_narrow_design():
    """Sizes and data within a factor 3 leave the exponents to the noise, whatever it is."""
    sizes, data = np.geomspace(1e8, 3e8, 6), np.geomspace(1e9, 3e9, 6)
    rows = [
        {"params": n, "tokens": d, "loss": PUBLISHED["besiroglu"].predict_loss(n, d)}
        for n in sizes
        for d in data
    ]
    law = fit_parametric(observations(rows), 0, 0).law
    text = next(flag.text for flag in law.flags if flag.code == "collinear_design")
    assert "N spans a factor 3 and D spans a factor 3" in text
    assert law.identifiability.condition > 200


def test_fit_parametric_of_a_plain_grid_is_identified():
    """Five budgets of seven sizes: every constant is determined, and the condition number low."""
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.005
    )
    law = fit_parametric(observations(rows), 60, 0).law
    assert law.status == "ok"
    assert law.identifiability.undetermined == () and law.identifiability.rank == 5
    assert 20 < law.identifiability.condition < 80


@pytest.mark.parametrize("name", ["hoffmann", "besiroglu", "muennighoff_c4"])
def test_fit_parametric_recovers_an_exact_surface(name):
    """A surface without noise is recovered."""
    surface = PUBLISHED[name]
    rows = isoflop_rows(surface, np.geomspace(1e17, 1e20, 5), np.geomspace(1 / 4, 4, 7))
    fitted = fit_parametric(observations(rows), 60, seed=0)
    for parameter in ("E", "A", "B", "alpha", "beta", "a"):
        estimate = getattr(fitted.law, parameter)
        assert estimate.value == pytest.approx(getattr(surface, parameter), rel=1e-6), parameter
        assert estimate.se < 1e-6 * estimate.value
    assert fitted.law.converged


def test_fit_parametric_floor_at_its_bound():
    """An irreducible loss that does not show is null at its bound."""
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
    assert law.E.value is None
    assert law.E.bound == "low"
    assert law.a.value is not None


def test_fit_parametric_refuses_five_points():
    rows = isoflop_rows(PUBLISHED["besiroglu"], [1e18], np.geomspace(1 / 3, 3, 5))
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "refused"
    assert law.reason == "5 distinct (N, D) points, expected at least 6"
    assert law.a == UNKNOWN


def test_fit_parametric_refuses_one_size():
    """Runs of one size are refused."""
    rows = [{"params": 1e8, "tokens": 1e9 * k, "loss": 3 + 1 / k} for k in range(1, 12)]
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.reason == "1 distinct N, expected at least 3 to see an exponent"


def test_fit_parametric_refuses_a_loss_without_size():
    """A loss that does not depend on size is refused."""
    rng = np.random.default_rng(0)
    rows = [
        {"params": n, "tokens": d, "loss": 2 + 900 * d**-0.35 + 1e-4 * rng.standard_normal()}
        for n in np.geomspace(1e7, 1e9, 5)
        for d in np.geomspace(1e8, 1e10, 5)
    ]
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "refused" or "term_at_bound" in {flag.code for flag in law.flags}


def test_fit_parametric_refuses_without_convergence(monkeypatch):
    """A starved optimiser gives a refusal and no number."""
    from scaling.fit.parametric import minimum

    def starved(theta, rows, weights, deltas, free=(True,) * 5, max_steps=200):
        return newton_minimise(
            theta, rows, weights, deltas[-1:], free, 1 if all(free) else max_steps
        )

    monkeypatch.setattr(minimum, "newton_minimise", starved)
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7), 0.01
    )
    law = fit_parametric(observations(rows), 100, seed=0).law
    assert law.status == "refused"
    assert law.reason.startswith("not converged")
    assert law.a == UNKNOWN
