"""Power laws of one variable and learning curves: exact on exact data, covering, refused."""

import numpy as np
import pytest
from fit_examples import observations

from scaling.fit.learning_curve import fit_learning_curves
from scaling.fit.power import fit_powers

X = np.geomspace(1e6, 1e9, 8)


def rng(seed=0):
    return np.random.default_rng(seed)


def test_a_pure_power_law_is_recovered_and_needs_no_floor():
    found = fit_powers(X, (8.8e13 / X) ** 0.076, 50, rng())
    assert found.best.name == "power"
    estimates = found.best.estimates("N_c")
    assert estimates["alpha"].value == pytest.approx(0.076, rel=1e-6)
    assert estimates["N_c"].value == pytest.approx(8.8e13, rel=1e-6)
    assert set(estimates) == {"alpha", "N_c"}
    assert "does not earn" in found.details("N_c")["comparison"]


@pytest.mark.parametrize(
    ("floor", "scale", "alpha"), [(1.69, 1e9, 0.3), (0.4, 5e7, 0.6), (3.0, 1e6, 1.2)]
)
def test_a_floor_is_recovered_and_earns_its_parameter(floor, scale, alpha):
    found = fit_powers(X, floor + (scale / X) ** alpha, 50, rng())
    assert found.best.name == "floor"
    estimates = found.best.estimates("D_c")
    for name, truth in (("E", floor), ("D_c", scale), ("alpha", alpha)):
        assert estimates[name].value == pytest.approx(truth, rel=1e-6)
    assert found.best.predict_loss(1e12) == pytest.approx(floor + (scale / 1e12) ** alpha, rel=1e-8)


@pytest.mark.parametrize("floor", [0.0, 1.7])
def test_intervals_of_alpha_cover(floor):
    scale, alpha = (1e9, 0.3) if floor else (8.8e13, 0.076)
    hits = 0
    for seed in range(200):
        generator = rng(seed)
        loss = floor + (scale / X) ** alpha
        loss = loss * np.exp(0.005 * generator.standard_normal(len(X)))
        found = fit_powers(X, loss, 200, generator)
        form = found.floor if floor else found.power
        low, high = form.estimates("X_c")["alpha"].ci90
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
def test_points_without_a_power_law_are_refused(x, loss, reason):
    assert reason in fit_powers(x, loss, 50, rng()).reason


def test_a_narrow_range_is_flagged():
    x = np.geomspace(1e6, 3e6, 6)
    assert "narrow_range" in {f.code for f in fit_powers(x, (1e9 / x) ** 0.1, 50, rng()).flags}


def curves(sizes, floor=1.5, noise=0.0):
    generator = rng(1)
    return observations(
        [
            {
                "params": n,
                "tokens": float(d),
                "loss": float(
                    floor + (1e9 / n) ** 0.3 + (1e9 / d) ** 0.4 + noise * generator.normal()
                ),
            }
            for n, count in sizes.items()
            for d in np.geomspace(1e8, 3e10, count)
        ]
    )


def test_each_size_has_its_curve_and_asymptote():
    law = fit_learning_curves(curves({1e7: 6, 1e8: 5, 1e9: 2}), 50, 0)
    assert law.status == "ok"
    assert [size["params"] for size in law.details["sizes"]] == [1e7, 1e8]
    for size in law.details["sizes"]:
        assert size["E"]["value"] == pytest.approx(1.5 + (1e9 / size["params"]) ** 0.3, rel=1e-6)
        assert size["alpha"]["value"] == pytest.approx(0.4, rel=1e-6)
        assert size["D_c"]["value"] == pytest.approx(1e9, rel=1e-6)


def test_a_table_with_no_size_at_several_amounts_of_data_has_no_curve():
    law = fit_learning_curves(curves({1e7: 3, 1e8: 2}), 50, 0)
    assert (law.status, law.reason) == (
        "refused",
        "no size has runs of at least 4 amounts of data",
    )
