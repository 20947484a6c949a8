"""Power laws of one variable and learning curves: exact on exact data, covering, refused."""

import numpy as np
import pytest

from scaling.fit.other_laws.power_law import fit_powers

X = np.geomspace(1e6, 1e9, 8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_fit_powers_recovers_a_pure_power_law():
    """A pure power law is recovered and needs no irreducible loss."""
    found = fit_powers(X, (8.8e13 / X) ** 0.076, 50, rng())
    assert found.best.name == "power"
    form = found.best.result("N_c")
    assert form.alpha.value == pytest.approx(0.076, rel=1e-6)
    assert form.N_c.value == pytest.approx(8.8e13, rel=1e-6)
    assert form.D_c is form.E is None
    assert "prefers no irreducible-loss term" in found.fields("N_c")["comparison"]


@pytest.mark.parametrize(
    ("floor", "scale", "alpha"), [(1.69, 1e9, 0.3), (0.4, 5e7, 0.6), (3.0, 1e6, 1.2)]
)
def test_fit_powers_recovers_a_floor(floor, scale, alpha):
    """An irreducible loss is recovered, and BIC prefers the term."""
    found = fit_powers(X, floor + (scale / X) ** alpha, 50, rng())
    assert found.best.name == "floor"
    form = found.best.result("D_c")
    for name, truth in (("E", floor), ("D_c", scale), ("alpha", alpha)):
        assert getattr(form, name).value == pytest.approx(truth, rel=1e-6)
    assert found.best.predict_loss(1e12) == pytest.approx(floor + (scale / 1e12) ** alpha, rel=1e-8)


@pytest.mark.parametrize("floor", [0.0, 1.7])
def test_fit_powers_intervals_cover(floor):
    scale, alpha = (1e9, 0.3) if floor else (8.8e13, 0.076)
    hits = 0
    for seed in range(200):
        generator = rng(seed)
        loss = floor + (scale / X) ** alpha
        loss = loss * np.exp(0.005 * generator.standard_normal(len(X)))
        found = fit_powers(X, loss, 200, generator)
        form = found.floor if floor else found.power
        low, high = form.alpha.ci90
        hits += low <= alpha <= high
    assert 0.82 <= hits / 200 <= 0.97


@pytest.mark.parametrize(
    ("x", "loss", "reason"),
    [
        (X[:3], np.array([3.0, 2.0, 1.5]), "3 distinct points, expected at least 4"),
        (np.full(8, 1e6), np.linspace(3, 2, 8), "1 distinct point,"),
        (X, np.linspace(2, 3, 8), "does not fall"),
        (X, np.full(8, 2.0), "does not fall"),
    ],
)
def test_fit_powers_refuses(x, loss, reason):
    """Points without a power law are refused."""
    assert reason in fit_powers(x, loss, 50, rng()).reason


def test_fit_powers_flags_a_narrow_range():
    """A narrow range is flagged."""
    x = np.geomspace(1e6, 3e6, 6)
    assert "narrow_range" in {f.code for f in fit_powers(x, (1e9 / x) ** 0.1, 50, rng()).flags}
