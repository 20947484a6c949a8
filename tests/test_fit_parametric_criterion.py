"""The surface's objective is the one that was asked for, with weights, and with E held."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize

from common.errors import BadInput
from scaling.fit.compare import compared
from scaling.fit.config import SurfaceConfig
from scaling.fit.laws import PUBLISHED, Surface
from scaling.fit.parametric import newton
from scaling.fit.parametric.criterion import rows_of
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.forms import HOFFMANN, starts
from scaling.fit.parametric.minimum import minimise, stages, width
from scaling.fit.summary import summary
from scaling.report.text.forms import surface as said
from tests.support.fit_examples import config, isoflop_rows, observations, write_csv
from tests.support.fit_runs import QUICK, check, fitted

SURFACE = PUBLISHED["besiroglu"]
BUDGETS, FACTORS = np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7)
OBJECTIVES = ("huber", "lad", "least_squares", "least_squares_loss", "asymmetric")


def grid(sd=0.005, seed=0, **columns):
    runs = observations(isoflop_rows(SURFACE, BUDGETS, FACTORS, sd, seed))
    return replace(runs, columns={name: np.asarray(v, dtype=float) for name, v in columns.items()})


def objective_of(name, delta=1e-3):
    """The objective written out from its definition, of log-loss residuals or of losses."""

    def value(loss, observed):
        if name == "least_squares_loss":
            return 0.5 * ((loss - observed) ** 2).sum()
        r = np.log(observed / loss)
        huber = np.where(np.abs(r) <= delta, r**2 / 2, delta * (np.abs(r) - delta / 2))
        rho = {"lad": np.abs(r), "least_squares": r**2 / 2}.get(name, huber)
        return (rho * np.where((name == "asymmetric") & (r > 0), 0.1, 1.0)).sum()

    return value


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_optimum_is_that_of_the_objective_as_defined(name):
    """No descent of another kind from the fitted surface, or near it, ends lower."""
    runs = grid()
    law = fit_parametric(runs, 0, 0, objective=name).law
    value = objective_of(name)

    def of(theta):
        surface = Surface(theta[0], *np.exp(theta[1:3]), *theta[3:])
        return value(surface.predict_loss(runs.params, runs.tokens), runs.loss)

    constants = np.array([law.E.value, law.A.value, law.B.value, law.alpha.value, law.beta.value])
    best = np.array([constants[0], *np.log(constants[1:3]), *constants[3:]])
    assert of(best) == pytest.approx(law.objective, rel=1e-6)
    for factor in (1.0, 1.01):
        found = minimize(of, best * factor, method="Nelder-Mead", options={"maxiter": 1500})
        assert found.fun > law.objective * (1 - 1e-6)


def test_least_squares_on_the_loss_are_scipys():
    """least_squares_loss has the constants that scipy's least squares on L find."""
    runs = grid()
    law = fit_parametric(runs, 0, 0, objective="least_squares_loss").law

    def misfit(theta):
        surface = Surface(theta[0], *np.exp(theta[1:3]), *theta[3:])
        return surface.predict_loss(runs.params, runs.tokens) - runs.loss

    start = [1.8, np.log(480), np.log(2000), 0.35, 0.36]
    found = least_squares(misfit, start, xtol=1e-14, ftol=1e-14, gtol=1e-14, x_scale="jac")
    assert law.E.value == pytest.approx(found.x[0], rel=1e-5)
    assert law.beta.value == pytest.approx(found.x[4], rel=1e-5)
    assert law.converged and law.starts_at_optimum > 3


def test_undertuned_runs_move_the_asymmetric_fit_less():
    """Where a third of the runs lie above the law by up to 8%, its E and a are nearer the truth."""
    rng = np.random.default_rng(3)
    runs = grid(0.002)
    late = rng.random(len(runs)) < 0.35
    runs = replace(runs, loss=runs.loss * (1 + 0.08 * late * rng.random(len(runs))))
    errors = {}
    for name in ("least_squares", "huber", "asymmetric"):
        found = fit_parametric(runs, 0, 0, objective=name).surface
        fitted_loss = found.predict_loss(runs.params, runs.tokens)
        true = SURFACE.predict_loss(runs.params, runs.tokens)
        errors[name] = np.sqrt(np.mean((fitted_loss / true - 1) ** 2))
    assert errors["asymmetric"] < 0.7 * errors["huber"] < 0.7 * errors["least_squares"]


@pytest.mark.parametrize("name", sorted({*OBJECTIVES} - {"lad"}))
def test_forms_and_the_surface_share_one_objective(name):
    """Hoffmann's form by reweighted squares ends where Newton's method does, with E held too."""
    runs = grid(weight=np.linspace(0.5, 2, 35))
    for asked in (SurfaceConfig(weights="weight"), SurfaceConfig(E=1.7)):
        rows, delta = rows_of(runs, name, asked), width(name, 1e-3)
        point = minimise(rows, delta)
        start = starts(HOFFMANN, point.theta * [1, 1.02, 0.98, 1.01, 0.99], rows)
        found = HOFFMANN.solve(rows, start, np.ones((1, 35)), stages(delta)[-3:])
        assert found.objective[0] == pytest.approx(point.objective, rel=3e-4)
        assert found.theta[0, 0] == (asked.E or found.theta[0, 0])


def test_a_weight_of_two_is_the_run_twice():
    """Weights of whole numbers give the surface of the table with its rows repeated."""
    weight = np.ones(35)
    weight[[3, 17, 30]] = 2, 3, 2
    runs = grid(weight=weight)
    law = fit_parametric(runs, 0, 0, surface=SurfaceConfig(weights="weight")).law
    twice = fit_parametric(runs.take(np.repeat(np.arange(35), weight.astype(int))), 0, 0).law
    for constant in ("E", "alpha", "beta", "a"):
        assert getattr(law, constant).value == pytest.approx(getattr(twice, constant).value)
    assert law.objective * weight.mean() == pytest.approx(twice.objective)


@pytest.mark.parametrize("name", ["huber", "least_squares", "asymmetric"])
def test_derivatives_are_those_of_the_weighted_objective(name):
    """Newton's slope is the difference quotient of its value, E left out where it is held."""
    runs = grid(weight=np.linspace(0.2, 3, 35))
    rows = rows_of(runs, name, SurfaceConfig(weights="weight"))
    theta = minimise(rows, width(name, 3e-3)).theta * [1, 1.02, 1.03, 1.01, 0.98]
    objective = partial(newton.huber_objective, rows=rows, weights=np.ones((1, 35)), delta=3e-3)
    _, slope, _ = objective(theta[None])
    for index in range(5):
        step = np.zeros(5)
        step[index] = 1e-7 * max(theta[index], 1)
        rise = objective((theta + step)[None])[0] - objective((theta - step)[None])[0]
        assert slope[0, index] == pytest.approx(rise[0] / (2 * step[index]), rel=1e-4, abs=1e-9)


def test_a_held_e_is_said_and_not_fitted():
    """E stays, has no interval and no place among the constants; a and the rest have theirs."""
    law = fit_parametric(grid(), 200, 0, surface=SurfaceConfig(E=1.8172)).law
    assert (law.E.value, law.E.held, law.E.ci90, law.E.se) == (1.8172, True, None, None)
    assert set(law.identifiability.relative_se) == {"A", "B", "alpha", "beta"}
    assert law.profile.E is None and law.profile.agrees
    free = fit_parametric(grid(), 200, 0).law
    assert law.alpha.se < 0.8 * free.alpha.se and law.a.ci90[0] < 0.5126 < law.a.ci90[1]
    assert law.objective >= free.objective


def test_a_held_e_of_zero_is_no_bound():
    """E = 0 may be held: no flag says that it ended there."""
    law = fit_parametric(grid(), 60, 0, surface=SurfaceConfig(E=0.0)).law
    assert law.E.value == 0 and "term_at_bound" not in {flag.code for flag in law.flags}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["surface.E=9"], "surface.E: found 9, expected below the least loss, "),
        (["surface.E=-1"], "surface.E: found -1, expected a loss, at least 0"),
        (["surface.weights=w"], "surface.weights: no column of numbers 'w'; derive.w="),
        (["surface.weights=v"], "surface.weights: run-003 has v 0, expected a finite number above"),
    ],
)
def test_what_cannot_be_held_or_weighed_is_one_line(tmp_path, options, says):
    """An E above a loss, and weights that are none, are bad input."""
    rows = isoflop_rows(SURFACE, BUDGETS, FACTORS)
    for index, row in enumerate(rows):
        row |= {"run_id": f"run-{index:03d}", "v": float(index != 3)}
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(BadInput) as error:
        fitted(f"runs={path}", "laws=[parametric]", *options)
    assert str(error.value).startswith(says) and "\n" not in str(error.value)


def test_a_fit_with_e_held_says_so_wherever_it_stands(tmp_path):
    """Terminal, page and fit.json say held; a comparison with a free E warns."""
    path = write_csv(tmp_path / "t.csv", isoflop_rows(SURFACE, BUDGETS, FACTORS, 0.004))
    words = (f"runs={path}", "laws=[parametric]", QUICK)
    held = fitted(*words, "surface.E=1.8", "objective=asymmetric", "surface.weights=flops")
    document = held.document
    assert "E 1.8 (held), A " in summary(document)
    assert said(document).endswith(
        "E is held at 1.8 and not fitted: no interval has its error; runs count by flops; "
        "runs above the surface count a tenth in its objective."
    )
    values = document.to_json()
    assert values["laws"]["parametric"]["E"]["held"] is True
    assert values["options"]["surface_E"] == 1.8
    check(values)
    free = fitted(*words).document
    assert said(free) == "One surface for all runs: L(N, D) = E + A / N^α + B / D^β."
    (tmp_path / "fit.json").write_text(json.dumps(free.to_json()))
    beside = compared(held, config(*words, f"compare={tmp_path / 'fit.json'}"))
    texts = {flag.code: flag.text for flag in beside.document.comparison.warnings}
    assert texts["surfaces_differ"].startswith("the surfaces are hoffmann by asymmetric with E h")
