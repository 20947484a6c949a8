"""Contours lie on the surface and near the runs; a residual is observed over fitted."""

import dataclasses

import numpy as np
import pytest

from scaling.report.figures.surface import contours, residuals_of, surface_of
from tests.support.report_example import study


def test_contours_lie_on_the_surface_near_the_runs() -> None:
    found = study()
    k = surface_of(found.document.parametric)
    assert k is not None
    lines = contours(k, found.runs)
    assert len({line.loss for line in lines}) >= 5
    for line in lines:
        n, d = line.params, line.flops / (6 * line.params)
        loss = k.E + k.A * n**-k.alpha + k.B * d**-k.beta
        assert loss == pytest.approx(np.full(len(n), line.loss), rel=2e-3)
        assert d.max() < 3.1 * found.runs.tokens.max()


def test_contours_are_absent_where_the_stated_flop_are_far_from_6nd() -> None:
    found = study()
    k = surface_of(found.document.parametric)
    assert k is not None
    assert contours(k, dataclasses.replace(found.runs, tokens=1e9 * found.runs.tokens)) == []


def test_residuals_of_are_the_log_of_observed_over_fitted() -> None:
    found, runs = study(), study().runs
    k = surface_of(found.document.parametric)
    assert k is not None
    fitted = k.E + k.A * runs.params**-k.alpha + k.B * runs.tokens**-k.beta
    assert residuals_of(k, runs) == pytest.approx(np.log(runs.loss / fitted), abs=1e-9)


def test_surface_of_takes_E_as_zero_at_its_lower_bound() -> None:
    bound = {"value": None, "se": None, "ci80": None, "ci90": None, "ci95": None, "bound": "low"}
    found = study(lambda values: values["laws"]["parametric"].update(E=bound))
    surface = surface_of(found.document.parametric)
    assert surface is not None and surface.E == 0
