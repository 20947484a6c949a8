"""Published formulas held to the numbers their papers print, and to what they must imply."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from common.errors import BadInput
from scaling.fit.batches.steps_law import KAPLAN_STEPS
from scaling.fit.laws import PF_DAY, PUBLISHED, Surface
from scaling.fit.other_laws.published import (
    LLAMA3_TOKENS,
    budget_of_loss,
    critical_batch,
    inference_optimum,
    kaplan_learning_rate,
    least_flops,
    least_steps,
    published_data_constrained,
    size_for,
    worth,
)

SURFACE = PUBLISHED["besiroglu"]


def test_kaplan_at_one_petaflop_day():
    assert PUBLISHED["kaplan"].optimal_allocation(PF_DAY) == pytest.approx((1.3e9, 2e10))


@pytest.mark.parametrize(("loss", "tokens"), [(3, 1.12e6), (4, 2.9e5), (2, 7.7e6)])
def test_critical_batch_of_published_losses(loss, tokens):
    assert critical_batch(loss) == pytest.approx(tokens, rel=0.02)


def test_critical_batch_doubles_by_13_percent():
    """Critical batch doubles for each fall of 13 percent."""
    assert critical_batch(3 * 0.87) / critical_batch(3) == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(
    ("params", "rate"), [(1e6, 1.31e-3), (1e7, 9.9e-4), (124e6, 6.39e-4), (1.5e9, 2.9e-4)]
)
def test_kaplan_learning_rate_of_published_sizes(params, rate):
    assert kaplan_learning_rate(params) == pytest.approx(rate, rel=0.01)


@pytest.mark.parametrize("batch", [1e4, 1e6, 1e9])
def test_least_steps_lie_on_the_hyperbola(batch):
    """Steps and examples lie on the hyperbola."""
    loss, steps = 3.0, 1e5
    at_least = least_steps(steps, batch, loss)
    fewest = least_flops(steps * batch, batch, loss)
    assert (steps / at_least - 1) * (steps * batch / fewest - 1) == pytest.approx(1, rel=1e-9)
    assert fewest / at_least == pytest.approx(critical_batch(loss), rel=1e-9)


def test_relations_of_the_batch_take_the_constants_of_a_fit():
    law = replace(KAPLAN_STEPS, log_B_star=np.log(1e8), alpha_B=0.25)
    assert critical_batch(2.0, law) == pytest.approx(1e8 / 2**4)
    assert least_steps(1e4, 1e6, 2.0, law) == pytest.approx(1e4 / (1 + 6.25))
    assert least_flops(1e18, 1e6, 2.0, law) == pytest.approx(1e18 / (1 + 1 / 6.25))


def test_worth_is_bounded():
    """Repeated data are worth at most one plus r times the unique."""
    assert worth(1e15, 1e9, 15.39) == pytest.approx(1e9 * 16.39, rel=1e-6)
    assert worth(5e8, 1e9, 15.39) == 5e8
    assert worth(4e9, 1e9, 15.39) / 4e9 == pytest.approx(0.93, abs=0.01)  # four epochs: almost new


def test_data_constrained_is_its_surface_within_one_epoch():
    """The data constrained law is its surface within one epoch."""
    law = published_data_constrained()
    n, d = law.surface.optimal_allocation(1e20)
    assert size_for(law.surface, d) == pytest.approx(n, rel=1e-9)
    assert law.predict_loss(n, d, d) == pytest.approx(law.surface.predict_loss(n, d), rel=1e-12)
    assert law.predict_loss(n, 100 * d, d) > law.surface.predict_loss(n, 100 * d)
    limit = law.surface.predict_loss(n, d * (1 + law.data_half_life))
    assert law.predict_loss(n, 1e6 * d, d) == pytest.approx(limit, rel=1e-9)


def test_inference_optimum_without_serving():
    """Without serving the best model is the training optimum."""
    n, d = SURFACE.optimal_allocation(1e21)
    loss = SURFACE.predict_loss(n, d)
    assert inference_optimum(SURFACE, loss, 0.0) == pytest.approx((n, d), rel=1e-9)


@pytest.mark.parametrize("served", [1e10, 1e12, 1e14])
def test_inference_optimum_is_smaller_with_serving(served):
    """Serving asks for a smaller model trained longer."""
    n0, d0 = SURFACE.optimal_allocation(1e21)
    loss = SURFACE.predict_loss(n0, d0)
    n, d = inference_optimum(SURFACE, loss, served)
    assert n < n0
    assert d > d0
    assert SURFACE.predict_loss(n, d) == pytest.approx(loss, rel=1e-12)

    def total(log_n):
        left = loss - SURFACE.E - SURFACE.A * np.exp(-SURFACE.alpha * log_n)
        tokens = (SURFACE.B / left) ** (1 / SURFACE.beta)
        return 6 * np.exp(log_n) * tokens + 2 * np.exp(log_n) * served

    found = minimize_scalar(
        total, bounds=(np.log(n) - 0.1, np.log(n) + 0.1), method="bounded", options={"xatol": 1e-9}
    )
    assert found.x == pytest.approx(np.log(n), abs=1e-5)


def test_inference_optimum_refuses_the_floor():
    """No model reaches the irreducible loss."""
    with pytest.raises(BadInput, match="above the irreducible loss"):
        inference_optimum(SURFACE, SURFACE.E, 1e12)


@pytest.mark.parametrize(("flops", "unique"), [(1e22, 1e9), (1e22, 1e11), (1e20, 5e9)])
def test_data_constrained_optimum_is_the_least_loss_of_its_budget(flops, unique):
    """Found by the slope, against a search of the loss itself; more passes than the plain law."""
    law = published_data_constrained()
    n, d = law.optimal_allocation(flops, unique)
    assert 6 * n * d == pytest.approx(flops, rel=1e-12) and d > unique
    found = minimize_scalar(
        lambda log_n: law.predict_loss(np.exp(log_n), flops / 6 / np.exp(log_n), unique),
        bounds=(np.log(n) - 5, np.log(n) + 5),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert np.exp(found.x) == pytest.approx(n, rel=1e-4)
    assert law.predict_loss(n, d, unique) <= found.fun * (1 + 1e-12)


def test_data_constrained_optimum_with_data_enough_is_that_of_the_surface():
    law = published_data_constrained()
    assert law.optimal_allocation(1e22, 1e13) == pytest.approx(law.surface.optimal_allocation(1e22))


def test_llama_3_as_printed():
    """Two digits, of which the paper's own 16.55T tokens at 3.8e25 FLOP do not follow."""
    assert pytest.approx(1.046e13, rel=1e-3) == LLAMA3_TOKENS.at(3.8e25)


@pytest.mark.parametrize(
    "surface",
    [
        *(
            PUBLISHED[name]
            for name in ("hoffmann", "hoffmann_printed", "besiroglu", "muennighoff_c4")
        ),
        Surface(1.7, 2e5, 4e6, 0.7, 0.75, k=0.5),
        Surface(0.9, 40.0, 60.0, 0.3, 0.33, ceiling=5.545),
    ],
)
def test_budget_of_loss_is_the_budget_whose_optimum_has_that_loss(surface):
    """It inverts the least loss of a budget, in every form, and reduced() the form."""
    for flops in (1e15, 1e20, 5.76e23):
        n, d = surface.optimal_allocation(flops)
        loss = surface.predict_loss(n, d)
        assert budget_of_loss(surface, loss) == pytest.approx(flops, rel=1e-7)
        assert budget_of_loss(surface, surface.predict_loss(3 * n, d / 3)) < flops
        h = surface.A * n**-surface.alpha + surface.B * d**-surface.beta
        assert surface.reduced(loss) == pytest.approx(h, rel=1e-9)
