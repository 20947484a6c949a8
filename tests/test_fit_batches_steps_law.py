"""L(N, S_min) in closed form: Kaplan's printed frontier follows, and a search finds no better."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.batches.steps_law import KAPLAN_STEPS, StepsLaw
from scaling.fit.laws import PF_DAY
from scaling.fit.other_laws.published import critical_batch, least_steps

LAWS = [KAPLAN_STEPS, StepsLaw(np.log(1e12), 0.15, np.log(5e3), 0.4, np.log(3e7), 0.3)]


def test_exponents_of_the_least_compute_are_kaplans():
    """0.052 and N ~ C^0.68 of the paper's appendix; those of N, B and S add to 1."""
    assert KAPLAN_STEPS.alpha_C == pytest.approx(0.0524, abs=1e-4)
    law = replace(KAPLAN_STEPS, alpha_N=0.076)
    assert law.alpha_C == pytest.approx(0.0520, abs=5e-5)
    slopes = law.n_opt.slope, law.b_opt.slope, law.s_opt.slope
    assert slopes[0] == pytest.approx(0.68, abs=0.005)
    assert sum(slopes) == pytest.approx(1, abs=1e-15)


@pytest.mark.parametrize("days", [1e-3, 1e-1, 1.0, 10.0])
def test_least_loss_is_kaplans_fitted_law_of_compute(days):
    """L(C_min) = (3.1e8/C_min)^0.050 in PF-days, his own fit, is near what eq. 1.6 implies."""
    law, flops = KAPLAN_STEPS, days * PF_DAY
    loss = law.predict_loss(law.n_opt.at(flops), law.d_opt.at(flops))
    assert loss == pytest.approx((3.1e8 / days) ** 0.050, rel=0.035)
    assert loss == pytest.approx(np.exp(law.alpha_C * (law.log_C_c - np.log(flops))), rel=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_no_size_does_better_at_a_compute(law):
    flops = 1e21
    best = law.n_opt.at(flops)
    sizes = best * np.geomspace(0.3, 3, 2001)
    losses = law.predict_loss(sizes, flops / 6 / sizes)
    assert sizes[losses.argmin()] == pytest.approx(best, rel=2e-3)
    assert law.log_least_flops(losses.min()) == pytest.approx(np.log(flops), abs=1e-4)
    assert law.d_opt.at(flops) * best * 6 == pytest.approx(flops)


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("batch", [1.0, 1e5, 1e12])
def test_loss_of_a_run_solves_both_equations(law, batch):
    """L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S with S_min at that very loss."""
    n, steps = 1e8, np.geomspace(10, 1e7, 9)
    loss = law.loss_of_run(n, steps, batch)
    least = least_steps(steps, batch, loss, law)
    terms = np.exp(law.alpha_N * (law.log_N_c - np.log(n)))
    terms = terms + np.exp(law.alpha_S * (law.log_S_c - np.log(least)))
    assert loss == pytest.approx(terms, rel=1e-10)


def test_least_tokens_are_those_of_a_batch_far_below_the_critical_one():
    law, tokens = KAPLAN_STEPS, 1e10
    small = law.loss_of_run(1e8, tokens / 10.0, 10.0)
    assert law.predict_loss(1e8, tokens) == pytest.approx(small, rel=1e-4)
    assert law.b_opt.at(PF_DAY) == pytest.approx(
        critical_batch(law.predict_loss(law.n_opt.at(PF_DAY), law.d_opt.at(PF_DAY)))
    )
