"""A law's line passes through what fit.json states of it, and its band ends where that ends."""

import numpy as np
import pytest

from scaling.report.figures.allocation import LawLine, law_lines, other_lines
from scaling.report.study import Study
from tests.support.report_example import study
from tests.support.report_values import BUDGETS


def _at(line: LawLine, flops: float) -> int:
    """The index of a budget that a line has a point for."""
    index = int(np.argmin(np.abs(np.log(line.flops / flops))))
    assert line.flops[index] == pytest.approx(flops, rel=1e-5)
    return index


@pytest.mark.parametrize("law", ["isoflop", "parametric"])
def test_law_lines_and_bands_pass_through_the_predictions(law: str) -> None:
    found = study()
    line = law_lines(found)[law]
    stated = [row for row in found.document.predictions if row.law == law]
    assert len(stated) == 5
    for row in stated:
        at = _at(line, row.flops)
        assert row.n_opt.ci90 and row.d_opt.ci90
        assert line.values["n"][at] == pytest.approx(row.n_opt.value, rel=1e-4)
        assert line.intervals["n"][0, at] == pytest.approx(row.n_opt.ci90[0], rel=1e-4)
        assert line.intervals["d"][1, at] == pytest.approx(row.d_opt.ci90[1], rel=1e-4)


def test_law_lines_state_a_loss_for_the_surface_alone() -> None:
    lines = law_lines(study())
    assert np.isnan(lines["isoflop"].values["loss"]).all()
    assert np.isfinite(lines["parametric"].values["loss"]).all()


def test_law_lines_have_no_band_beyond_what_was_predicted() -> None:
    line = law_lines(study())["isoflop"]
    beyond = line.flops > 3e12 * 1.001
    assert beyond.any() and np.isnan(line.intervals["n"][:, beyond]).all()


def test_law_lines_of_a_saved_fit_are_those_of_the_fit() -> None:
    found = study()
    saved = law_lines(Study(found.document))
    assert saved.keys() == law_lines(found).keys()
    assert (saved["parametric"].low, saved["parametric"].high) == (BUDGETS[0], BUDGETS[-1])


def test_other_lines_are_those_of_the_fit_compared_with() -> None:
    (line,) = other_lines(study()).values()
    assert line.name == "IsoFLOP curves, trial-0-0"
    assert (line.low, line.high) == (BUDGETS[0], BUDGETS[-1])
