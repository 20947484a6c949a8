import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from scaling.fit.laws import PF_DAY, PUBLISHED, Estimate, Flag, LawFit, Surface

SURFACES = ("hoffmann", "hoffmann_printed", "besiroglu", "muennighoff_c4")


def test_chinchilla_loss_by_the_digits_of_the_source():
    assert PUBLISHED["hoffmann"].predict_loss(70e9, 1.4e12) == pytest.approx(1.9208, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "n_7b", "d_140b", "d_1t"),
    [("hoffmann", 7e9, 2.154, 2.036), ("besiroglu", 7e9, 2.173, 2.084)],
)
def test_losses_of_a_7b_model(name, n_7b, d_140b, d_1t):
    assert PUBLISHED[name].predict_loss(n_7b, 140e9) == pytest.approx(d_140b, abs=6e-4)
    assert PUBLISHED[name].predict_loss(n_7b, 1e12) == pytest.approx(d_1t, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "a"),
    [("hoffmann", 0.4565), ("hoffmann_printed", 0.4516), ("besiroglu", 0.5126)],
)
def test_exponents_of_the_published_surfaces(name, a):
    surface = PUBLISHED[name]
    assert surface.a == pytest.approx(a, abs=5e-5)
    assert surface.a + surface.b == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize(
    ("name", "flops", "params", "tokens"),
    [
        ("hoffmann", 1e18, 94.7e6, 1.76e9),
        ("hoffmann", 1e20, 775e6, 21.5e9),
        ("hoffmann", 5.76e23, 40.4e9, 2.38e12),
        ("hoffmann_printed", 5.76e23, 32.2e9, 2.98e12),
        ("besiroglu", 1e18, 80.5e6, 2.07e9),
        ("besiroglu", 1e20, 854e6, 19.5e9),
        ("besiroglu", 5.76e23, 72.3e9, 1.33e12),
    ],
)
def test_optimal_allocations_of_the_published_surfaces(name, flops, params, tokens):
    n, d = PUBLISHED[name].optimal_allocation(flops)
    assert n == pytest.approx(params, rel=6e-3)
    assert d == pytest.approx(tokens, rel=6e-3)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("flops", [1e12, 1e20, 1e26])
def test_the_closed_form_is_the_minimum_along_a_budget(name, flops):
    surface = PUBLISHED[name]
    n, d = surface.optimal_allocation(flops)
    assert 6 * n * d == pytest.approx(flops, rel=1e-12)
    found = minimize_scalar(
        lambda x: surface.predict_loss(np.exp(x), flops / 6 / np.exp(x)),
        bounds=(np.log(n) - 3, np.log(n) + 3),
        method="bounded",
        options={"xatol": 1e-9},
    )
    assert found.x == pytest.approx(np.log(n), abs=1e-5)


def test_a_surface_of_arrays_holds_one_surface_an_entry():
    one, other = PUBLISHED["hoffmann"], PUBLISHED["besiroglu"]
    both = Surface(
        *(
            np.array([getattr(one, name), getattr(other, name)])
            for name in ("E", "A", "B", "alpha", "beta")
        )
    )
    n, _ = both.optimal_allocation(1e20)
    assert n.tolist() == [one.optimal_allocation(1e20)[0], other.optimal_allocation(1e20)[0]]


def test_kaplan_at_one_petaflop_day():
    assert PUBLISHED["kaplan"].optimal_allocation(PF_DAY) == (1.3e9, 2e10)


def test_kaplan_without_a_limit_of_data_is_the_law_of_size():
    law = PUBLISHED["kaplan"]
    assert law.predict_loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-6)


def test_a_law_is_refused_flagged_or_ok():
    doubt = (Flag("few_budgets", "four"),)
    assert LawFit("isoflop").status == "ok"
    assert LawFit("isoflop", flags=doubt).status == "flagged"
    assert LawFit("isoflop", flags=doubt, reason="two budgets").status == "refused"


def test_a_parameter_at_its_bound_has_no_value():
    document = Estimate(None, bound="low").document()
    assert document == {
        "value": None,
        "se": None,
        "ci80": None,
        "ci90": None,
        "ci95": None,
        "bound": "low",
    }
