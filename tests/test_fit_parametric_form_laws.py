"""The law `parametric` as another form: its constants, predictions, checks are that form's."""

import json

import numpy as np
import pytest

from scaling.fit.config import SurfaceConfig
from scaling.fit.laws import PUBLISHED
from scaling.fit.parametric.estimator import fit_parametric
from scaling.fit.parametric.form_laws import fit_coupled
from scaling.fit.summary import summary
from scaling.report.explorer import explorer_values
from scaling.report.figures.surface import surface_of
from scaling.report.study import Study
from tests.support.fit_examples import isoflop_rows, observations, write_csv
from tests.support.fit_runs import check, fitted

BUDGETS, FACTORS = np.geomspace(1e16, 1e20, 7), np.geomspace(1 / 4, 4, 7)


def coupled(n, d, k=0.5):
    return 1.7 + (2.0e5 * n**-0.7 + 4.0e6 * d**-0.75) ** k


def rows(sd=0.002, seed=1):
    rng = np.random.default_rng(seed)
    found = isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, FACTORS)
    for row in found:
        row["loss"] = float(coupled(row["params"], row["tokens"]) + sd * rng.standard_normal())
        row["vocab_size"] = 50257
    return found


@pytest.mark.parametrize("form", ["tied", "coupled", "bounded"])
def test_a_chosen_form_is_one_surface_throughout(tmp_path, form):
    """Constants, residuals, predictions, held-out error, leverage and figures are of one law."""
    path = write_csv(tmp_path / "t.csv", rows())
    asked = fitted(
        f"runs={path}",
        "laws=[parametric]",
        f"surface.form={form}",
        "n_bootstrap=60",
        "predict.pairs=[[1e9,2e10]]",
        "predict.flops=[1e21]",
    )
    document = asked.document
    law = document.parametric
    surface = surface_of(law)
    runs = asked.observations
    residuals = np.log(runs.loss / surface.predict_loss(runs.params, runs.tokens))
    assert law.residuals == pytest.approx(residuals, abs=1e-9)
    [pair] = document.answers
    assert pair.loss.value == pytest.approx(surface.predict_loss(1e9, 2e10))
    assert pair.loss.ci90[0] < pair.loss.value < pair.loss.ci90[1]
    [best] = [row for row in document.predictions if row.flops == 1e21]
    sizes = best.n_opt.value * np.array([0.99, 1, 1.01])
    losses = surface.predict_loss(sizes, 1e21 / 6 / sizes)
    assert losses.argmin() == 1 and best.loss.value == pytest.approx(losses[1])
    [row] = [row for row in document.forms if row.form == form]
    assert row.objective == pytest.approx(law.objective, rel=1e-6)
    held = document.holdout
    assert held.law == "parametric" and (form != "coupled" or abs(held.loss_error) < 0.005)
    leverage = sum(one.leverage for one in document.diagnostics.influence)
    assert leverage == pytest.approx({"tied": 4, "coupled": 6, "bounded": 5}[form], abs=1e-6)
    assert law.form == form and f"  {law.equation}: E " in summary(document)
    values = explorer_values(Study(document, runs))["laws"][0]["surface"]
    assert json.dumps(values) and (values["k"] is not None) == (form == "coupled")
    check(document.to_json())


def test_the_headline_as_coupled_is_the_coupled_law():
    """surface.form=coupled gives what laws=[coupled] gives, k with its interval; E may be held."""
    runs = observations(rows())
    form = SurfaceConfig(form="coupled")
    one, other = fit_parametric(runs, 100, 0, surface=form).law, fit_coupled(runs, 100, 0)
    for name in ("E", "A", "B", "alpha", "beta", "a", "b", "k"):
        assert getattr(one, name) == getattr(other, name)
    assert one.objective == other.objective and one.k.value == pytest.approx(0.5, abs=0.08)
    held = fit_parametric(runs, 100, 0, surface=SurfaceConfig(form="coupled", E=1.7)).law
    assert held.E.held and held.k.value == pytest.approx(0.5, abs=0.02)
    assert held.k.se < one.k.se and "E" not in held.identifiability.relative_se


def test_a_form_that_the_runs_do_not_have_refuses_the_law(tmp_path):
    """bounded without a vocabulary is refused by its reason, not replaced by another form."""
    without = [{k: v for k, v in row.items() if k != "vocab_size"} for row in rows()]
    law = fit_parametric(observations(without), 0, 0, surface=SurfaceConfig(form="bounded")).law
    assert law.status == "refused" and law.reason.startswith("no one vocab_size")
