import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from scaling.fit.laws import PF_DAY, PUBLISHED, Surface, predict_loss

SURFACES = ("hoffmann", "hoffmann_printed", "besiroglu", "muennighoff_c4")


def test_surface_loss_by_the_digits_of_the_source():
    """Chinchilla loss by the digits of the source."""
    assert PUBLISHED["hoffmann"].predict_loss(70e9, 1.4e12) == pytest.approx(1.9208, abs=5e-5)


@pytest.mark.parametrize(
    ("name", "n_7b", "d_140b", "d_1t"),
    [("hoffmann", 7e9, 2.154, 2.036), ("besiroglu", 7e9, 2.173, 2.084)],
)
def test_surface_losses_of_a_7b_model(name, n_7b, d_140b, d_1t):
    """Losses of a 7b model."""
    assert PUBLISHED[name].predict_loss(n_7b, 140e9) == pytest.approx(d_140b, abs=6e-4)
    assert PUBLISHED[name].predict_loss(n_7b, 1e12) == pytest.approx(d_1t, abs=6e-4)


@pytest.mark.parametrize(
    ("name", "a"),
    [("hoffmann", 0.4565), ("hoffmann_printed", 0.4516), ("besiroglu", 0.5126)],
)
def test_surface_exponents_published(name, a):
    """Exponents of the published surfaces."""
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
def test_optimal_allocation_published(name, flops, params, tokens):
    """Optimal allocations of the published surfaces."""
    n, d = PUBLISHED[name].optimal_allocation(flops)
    assert n == pytest.approx(params, rel=6e-3)
    assert d == pytest.approx(tokens, rel=6e-3)


@pytest.mark.parametrize("name", SURFACES)
@pytest.mark.parametrize("flops", [1e12, 1e20, 1e26])
def test_optimal_allocation_is_the_minimum_along_a_budget(name, flops):
    """The closed form is the minimum along a budget."""
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


def test_surface_of_arrays():
    """A surface of arrays holds one surface an entry."""
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
    assert PUBLISHED["kaplan"].optimal_allocation(PF_DAY) == pytest.approx((1.3e9, 2e10))


def test_kaplan_law_with_unlimited_data():
    """Kaplan without a limit of data is the law of size."""
    law = PUBLISHED["kaplan"]
    assert law.predict_loss(1e9, 1e30) == pytest.approx((6.4e13 / 1e9) ** 0.076, rel=1e-6)


SURFACE = PUBLISHED["besiroglu"]


@pytest.mark.parametrize(
    ("law", "params", "tokens", "loss"),
    [
        ("hoffmann", 70e9, 1.4e12, 1.9208),
        ("hoffmann", 7e9, 140e9, 2.154),
        ("hoffmann", 7e9, 1e12, 2.036),
        ("besiroglu", 7e9, 140e9, 2.173),
        ("besiroglu", 7e9, 1e12, 2.084),
    ],
)
def test_predict_loss_by_name(law: str, params: float, tokens: float, loss: float) -> None:
    """Published laws by name."""
    assert predict_loss(params, tokens, law) == pytest.approx(loss, abs=6e-4)


def test_predict_loss_by_kaplan() -> None:
    """Kaplan's law by name is his equation and has no irreducible loss."""
    expected = ((6.4e13 / 1e9) ** (0.076 / 0.103) + 1.8e13 / 2e10) ** 0.103
    assert predict_loss(1e9, 2e10, "kaplan") == pytest.approx(expected, rel=1e-12)
    assert predict_loss(1e40, 1e40, "kaplan") < 0.1


def test_predict_loss_takes_arrays_and_laws() -> None:
    """Predict loss takes arrays and laws and refuses the rest."""
    losses = predict_loss(7e9, np.array([140e9, 1e12]), SURFACE)
    assert losses == pytest.approx([2.173, 2.084], abs=6e-4)
    with pytest.raises(ValueError, match="expected one of hoffmann"):
        predict_loss(7e9, 140e9, "chinchilla")
    with pytest.raises(ValueError, match="tokens"):
        predict_loss(7e9, 0.0)


@pytest.mark.parametrize("name", ["hoffmann", "besiroglu", "muennighoff_c4"])
@pytest.mark.parametrize("flops", [1e12, 1e20, 1e26])
def test_log_budget_inverts_the_optimum(name: str, flops: float) -> None:
    """The inverse takes an optimum back to its budget."""
    law = PUBLISHED[name]
    n, d = law.optimal_allocation(flops)
    assert np.exp(law.n_opt.log_budget(n)) == pytest.approx(flops, rel=1e-9)
    assert np.exp(law.d_opt.log_budget(d)) == pytest.approx(flops, rel=1e-9)
