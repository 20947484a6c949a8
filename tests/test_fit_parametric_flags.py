"""A surface that misses its runs, or ends above one, is flagged; one of their own form is not."""

import re
from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.parametric import fit_parametric
from scaling.fit.parametric.flags import misfit
from scaling.fit.parametric.form_laws import fit_bounded, fit_coupled
from tests.support.fit_examples import isoflop_rows, observations

SURFACE = PUBLISHED["besiroglu"]
BUDGETS, FACTORS = np.geomspace(1e17, 1e20, 7), np.geomspace(1 / 4, 4, 7)


def runs(sigma, seed=0):
    return observations(isoflop_rows(SURFACE, BUDGETS, FACTORS, sigma, seed))


def test_misfit_is_silent_where_the_form_is_that_of_the_runs():
    """In 40 studies of each noise, at most one in forty is flagged."""
    for sigma in (0.002, 0.02, 0.1):
        told = 0
        for seed in range(40):
            found = runs(sigma, seed)
            fitted = SURFACE.predict_loss(found.params, found.tokens)
            told += bool(misfit(found, np.log(found.loss / fitted), SURFACE.E))
        assert told <= 1, sigma


@pytest.mark.parametrize("bend", [0.06, -0.08])
def test_misfit_tells_a_bend_along_compute(bend):
    """A bend of the residuals, of which a fitted surface takes a part, and one run far off."""
    found = runs(0.005)
    x = np.log(found.flops / 3e18)
    residuals = bend * ((x / np.abs(x).max()) ** 2 - 0.4)
    residuals[3] += 0.5
    (flag,) = misfit(found, residuals, None)
    assert flag.code == "misfit" and "medians in five bins of compute" in flag.text
    low, high = map(float, re.search(r"by (-[\d.]+)% to (\+[\d.]+)% ", flag.text).groups())
    assert high - low == pytest.approx(100 * abs(bend), rel=0.35)


def test_misfit_tells_an_irreducible_loss_above_two_runs():
    """One alone may be a slip, as a loss of another unit."""
    found = runs(0.005)
    second = float(np.sort(found.loss)[1])
    (flag,) = misfit(found, np.zeros(len(found)), 1.001 * second)
    assert f"is above {second:.4g}, which two runs have" in flag.text
    assert misfit(found, np.zeros(len(found)), 0.999 * second) == []
    slip = replace(found, loss=np.where(found.loss == found.loss.max(), 1.2, found.loss))
    assert misfit(slip, np.zeros(len(found)), 1.8) == []


def test_misfit_is_about_the_middle_of_the_runs():
    """An objective that lies below them on purpose misses none."""
    found = runs(0.01)
    fitted = SURFACE.predict_loss(found.params, found.tokens)
    assert misfit(found, np.log(found.loss / fitted) + 0.04, None) == []


def bounded(table):
    vocabulary = np.full(len(table), 50257.0)
    return fit_bounded(replace(table, columns={**table.columns, "vocab_size": vocabulary}), 60, 0)


@pytest.mark.parametrize(
    "fit",
    [
        lambda table: fit_parametric(table, 60, 0).law,
        lambda table: fit_coupled(table, 60, 0),
        bounded,
    ],
)
def test_surfaces_flag_what_they_miss(fit):
    """Losses whose exponents change with compute are no surface of one, of any form."""
    found = runs(0.003)
    bent = found.loss * (1 + 0.08 * np.sin(2.5 * np.log10(found.flops / 1e17)))
    law = fit(
        observations(
            [
                {"params": n, "tokens": d, "flops": c, "flops_budget": c, "loss": loss}
                for n, d, c, loss in zip(found.params, found.tokens, found.flops, bent, strict=True)
            ]
        )
    )
    assert law.status == "flagged" and "misfit" in [flag.code for flag in law.flags]
    assert "misfit" not in [flag.code for flag in fit(found).flags]
