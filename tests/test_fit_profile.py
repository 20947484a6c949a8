"""Profile intervals: exact where the answer is known, open where nothing is, near resamples."""

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, observations
from scipy.stats import t as student

from scaling.fit.descent import ALPHA, BETA, Rows, descend
from scaling.fit.inputs import read_inputs
from scaling.fit.laws import PUBLISHED, Estimate
from scaling.fit.observations import observe
from scaling.fit.parametric import centred, fit_parametric, minimise
from scaling.fit.profile import Profile, profile

SURFACE = PUBLISHED["besiroglu"]
BUDGETS, SIZES = np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7)
SQUARES = 1e9  # a Huber width that no residual reaches


def profiled(rows, delta=1e-3):
    runs = observations(rows)
    data, _ = centred(runs.params, runs.tokens, runs.loss)
    point = minimise(data, delta)
    return profile(data, point.theta, point.objective, delta), data, point


@pytest.mark.parametrize("delta", [SQUARES, 1e-3])
def test_where_the_surface_is_nearly_linear_the_profile_is_students_interval(delta):
    """Little noise: the objective is quadratic, and the interval that of linear least squares."""
    found, data, point = profiled(isoflop_rows(SURFACE, BUDGETS, SIZES, 1e-4, 1), delta)
    x, y = np.exp(-point.theta[ALPHA] * data.log_n), np.exp(-point.theta[BETA] * data.log_d)
    _, A, B, alpha, beta = point.theta
    columns = [np.ones_like(x), x, y, -A * data.log_n * x, -B * data.log_d * y]
    design = np.stack(columns, axis=1) / data.loss[:, None]
    fitted = point.theta[0] + A * x + B * y
    dof = len(x) - 5
    variance = (np.log(data.loss / fitted) ** 2).sum() / dof
    slope = np.array([0, 0, 0, -beta, alpha]) / (alpha + beta) ** 2
    sd = np.sqrt(variance * slope @ np.linalg.inv(design.T @ design) @ slope)
    for name, level in (("ci80", 0.9), ("ci90", 0.95), ("ci95", 0.975)):
        low, high = found.a[name]
        assert (high - low) / 2 == pytest.approx(student.ppf(level, dof) * sd, rel=0.02)
        assert (high + low) / 2 == pytest.approx(beta / (alpha + beta), abs=0.02 * sd)


def test_holding_the_ratio_of_exponents_is_the_best_of_all_that_have_it():
    rows = isoflop_rows(SURFACE, BUDGETS, SIZES, 0.01, 3)
    _, data, point = profiled(rows)
    ratio, ones = 1.4, np.ones((1, len(rows)))
    start = point.theta[None].copy()
    start[0, BETA] = ratio * start[0, ALPHA]
    widths = (1e-2, 3e-3, 1e-3)
    tied = descend(start, data, ones, widths, ratio_S=np.array([ratio]))
    assert tied.converged.all()
    assert tied.theta[0, BETA] == pytest.approx(ratio * tied.theta[0, ALPHA])
    cells = np.repeat(tied.theta, 9, axis=0)
    cells[:, ALPHA] *= np.linspace(0.98, 1.02, 9)
    cells[:, BETA] = ratio * cells[:, ALPHA]
    free = (True, True, True, False, False)
    around = descend(cells, data, np.repeat(ones, 9, axis=0), (1e-3,), free)
    assert tied.objective[0] <= around.objective.min() * (1 + 1e-9)
    assert int(np.argmin(around.objective)) == 4


def test_an_exact_surface_leaves_no_doubt():
    found, _, _ = profiled(isoflop_rows(SURFACE, BUDGETS, SIZES))
    assert found.a["ci95"] == pytest.approx((SURFACE.a, SURFACE.a), abs=1e-6)
    assert found.E["ci95"] == pytest.approx((SURFACE.E, SURFACE.E), abs=1e-6)


@pytest.mark.parametrize("sigma", [0.005, 0.02])
def test_on_a_grid_profile_and_resamples_tell_of_the_same_doubt(sigma):
    law = fit_parametric(observations(isoflop_rows(SURFACE, BUDGETS, SIZES, sigma, 5)), 400, 0).law
    stated, ends = law.estimates["a"].ci90, law.details["profile"]["a"]["ci90"]
    assert law.details["profile"]["agrees"] is True
    assert ends[1] - ends[0] == pytest.approx(stated[1] - stated[0], rel=0.35)


@pytest.mark.needs_reference
def test_on_the_chinchilla_runs_it_is_within_a_factor_two_of_the_resamples(reference_dir):
    asked = config(f"runs={reference_dir}/chinchilla_epoch.csv", "where.excluded_by_besiroglu=0")
    law = fit_parametric(observe(read_inputs(asked).rows, asked), 400, 0).law
    stated, ends = law.estimates["a"].ci90, law.details["profile"]["a"]["ci90"]
    assert law.details["profile"]["agrees"] is True
    assert 0.5 < (ends[1] - ends[0]) / (stated[1] - stated[0]) < 1
    assert law.status == "ok"


def test_a_floor_that_does_not_show_leaves_its_profile_open_and_is_flagged():
    rows, rng = isoflop_rows(SURFACE, BUDGETS[:4], SIZES, 0.0), np.random.default_rng(1)
    for row in rows:  # power laws without a floor
        row["loss"] = 90 * row["params"] ** -0.2 + 60 * row["tokens"] ** -0.15
        row["loss"] += 0.005 * rng.standard_normal()
    law = fit_parametric(observations(rows), 60, 0).law
    assert law.details["profile"]["E"]["ci90"][0] is None
    assert [flag.code for flag in law.flags].count("floor_unidentified") == 1


def test_noise_that_hides_the_exponent_opens_the_profile():
    found, _, _ = profiled(isoflop_rows(SURFACE, BUDGETS[:3], SIZES[2:5], 0.3, 4))
    assert None in found.a["ci95"]


@pytest.mark.parametrize(
    ("ends", "agrees"),
    [((0.48, 0.52), True), ((0.49, 0.5), False), ((None, 0.52), False), ((0.6, 0.64), False)],
)
def test_gross_disagreement_is_flagged(ends, agrees):
    law = Profile({"ci90": ends}, {"ci90": (1.0, 2.0)})
    stated = Estimate(0.5, ci90=(0.48, 0.52))
    assert law.agrees(stated) is agrees
    assert [flag.code for flag in law.flags(stated)] == ([] if agrees else ["profile_disagrees"])
    assert law.agrees(Estimate(0.5)) is None


def test_a_profile_costs_less_than_a_third_of_a_second():
    import time

    rows = isoflop_rows(SURFACE, np.geomspace(1e17, 1e19, 15), np.geomspace(1 / 4, 4, 16), 0.01)
    runs = observations(rows)
    data, _ = centred(runs.params, runs.tokens, runs.loss)
    assert isinstance(data, Rows)
    point = minimise(data, 1e-3)
    start = time.process_time()
    profile(data, point.theta, point.objective, 1e-3)
    assert time.process_time() - start < 0.3
