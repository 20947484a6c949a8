"""Profile intervals: exact where the answer is known, open where nothing is, near resamples."""

import numpy as np
import pytest
from scipy.stats import t as student

from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics.rows import Rows
from scaling.fit.observations import observe
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.minimum import minimise
from scaling.fit.parametric.newton import ALPHA, BETA
from scaling.fit.parametric.profile_likelihood import agree, profile_flags, profile_likelihood
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import ProfileEnds, ProfileResult
from scaling.fit.table.inputs import read_inputs
from tests.support.fit_examples import config, isoflop_rows, observations

SURFACE = PUBLISHED["besiroglu"]
BUDGETS, SIZES = np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7)
SQUARES = 1e9  # a Huber width that no residual reaches


def profiled(rows, delta=1e-3):
    runs = observations(rows)
    data = Rows.of(runs.params, runs.tokens, runs.loss)
    point = minimise(data, delta)
    found = profile_likelihood(data, point.theta, point.objective, delta, Estimate(None))
    return found, data, point


@pytest.mark.parametrize("delta", [SQUARES, 1e-3])
def test_profile_likelihood_is_student_where_linear(delta):
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
        low, high = getattr(found.a, name)
        assert (high - low) / 2 == pytest.approx(student.ppf(level, dof) * sd, rel=0.02)
        assert (high + low) / 2 == pytest.approx(beta / (alpha + beta), abs=0.02 * sd)


def test_profile_likelihood_of_an_exact_surface():
    """An exact surface leaves no uncertainty."""
    found, _, _ = profiled(isoflop_rows(SURFACE, BUDGETS, SIZES))
    assert found.a.ci95 == pytest.approx((SURFACE.a, SURFACE.a), abs=1e-6)
    assert found.E.ci95 == pytest.approx((SURFACE.E, SURFACE.E), abs=1e-6)


@pytest.mark.parametrize("sigma", [0.005, 0.02])
def test_profile_likelihood_agrees_on_a_grid(sigma):
    """On a grid profile and resamples tell of the same uncertainty."""
    law = fit_parametric(observations(isoflop_rows(SURFACE, BUDGETS, SIZES, sigma, 5)), 400, 0).law
    stated, ends = law.a.ci90, law.profile.a.ci90
    assert law.profile.agrees is True
    assert ends[1] - ends[0] == pytest.approx(stated[1] - stated[0], rel=0.35)


@pytest.mark.needs_reference
def test_profile_likelihood_on_chinchilla(reference_dir):
    """On the Chinchilla runs it is within a factor two of the resamples."""
    asked = config(f"runs={reference_dir}/chinchilla_epoch.csv", "where.excluded_by_besiroglu=0")
    law = fit_parametric(observe(read_inputs(asked).runs, asked), 400, 0).law
    stated, ends = law.a.ci90, law.profile.a.ci90
    assert law.profile.agrees is True
    assert 0.5 < (ends[1] - ends[0]) / (stated[1] - stated[0]) < 1
    assert law.status == "ok"


def test_profile_likelihood_of_a_hidden_floor_is_open():
    """An irreducible loss that does not show leaves its profile open and is flagged."""
    rows, rng = isoflop_rows(SURFACE, BUDGETS[:4], SIZES, 0.0), np.random.default_rng(1)
    for row in rows:  # power laws without a floor
        row["loss"] = 90 * row["params"] ** -0.2 + 60 * row["tokens"] ** -0.15
        row["loss"] += 0.005 * rng.standard_normal()
    law = fit_parametric(observations(rows), 60, 0).law
    assert law.profile.E.ci90[0] is None
    assert [flag.code for flag in law.flags].count("floor_unidentified") == 1


def test_profile_likelihood_opens_under_noise():
    """Noise that hides the exponent opens the profile."""
    found, _, _ = profiled(isoflop_rows(SURFACE, BUDGETS[:3], SIZES[2:5], 0.3, 4))
    assert None in found.a.ci95


@pytest.mark.parametrize(
    ("ends", "agrees"),
    [((0.48, 0.52), True), ((0.49, 0.5), False), ((None, 0.52), False), ((0.6, 0.64), False)],
)
def test_profile_likelihood_flags_disagreement(ends, agrees):
    a = ProfileEnds(ends, ends, ends)
    stated = Estimate(0.5, ci90=(0.48, 0.52))
    found = ProfileResult(a, ProfileEnds((1.0, 2.0), (1.0, 2.0), (1.0, 2.0)), agree(stated, a))
    assert found.agrees is agrees
    assert [flag.code for flag in profile_flags(found)] == ([] if agrees else ["profile_disagrees"])
    assert agree(Estimate(0.5), a) is None


def test_profile_likelihood_is_fast():
    """A profile costs a fraction of a second; far more only where a fit is done for each point."""
    import time

    rows = isoflop_rows(SURFACE, np.geomspace(1e17, 1e19, 15), np.geomspace(1 / 4, 4, 16), 0.01)
    runs = observations(rows)
    data = Rows.of(runs.params, runs.tokens, runs.loss)
    assert isinstance(data, Rows)
    point = minimise(data, 1e-3)
    start = time.process_time()
    profile_likelihood(data, point.theta, point.objective, 1e-3, Estimate(None))
    assert time.process_time() - start < 3
