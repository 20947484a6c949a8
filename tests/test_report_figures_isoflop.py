"""IsoFLOP curves are those of the fit; the seeds of an average are each shown."""

import dataclasses

import numpy as np
import pytest

from scaling.report.figures.data import budgets_of
from scaling.report.figures.isoflop import isoflop_curves, seeds_of
from scaling.report.study import Study, TrainingCurve
from tests.support.report_example import study
from tests.support.report_values import BUDGETS


def test_isoflop_curves_are_the_parabolas_of_the_fit() -> None:
    found = study()
    budgets = budgets_of(found)
    assert budgets.flops == list(BUDGETS)
    curves = list(isoflop_curves(found, budgets))
    assert len(curves) == len(BUDGETS) and found.document.isoflop
    for i, curve in enumerate(curves):
        here = budgets.of_run == i
        log_n = np.log(found.runs.params[here])
        coefficients = np.polyfit(log_n, found.runs.loss[here], 2)
        assert curve.loss == pytest.approx(np.polyval(coefficients, np.log(curve.params)), rel=1e-5)
        assert curve.stated == found.document.isoflop.valleys[i]


def test_isoflop_curves_by_splines_go_through_the_losses() -> None:
    found = study(lambda values: values["laws"]["isoflop"].update(method="spline"))
    budgets = budgets_of(found)
    for i, curve in enumerate(isoflop_curves(found, budgets)):
        here = np.flatnonzero(budgets.of_run == i)
        order = here[np.argsort(found.runs.params[here])]
        on_curve = np.interp(np.log(found.runs.params[order]), np.log(curve.params), curve.loss)
        assert on_curve == pytest.approx(found.runs.loss[order], rel=1e-4)


def test_seeds_of_an_average_are_each_known() -> None:
    found = study()
    first = found.runs.run_id[0]
    members = {"s0+s1+s2": ("s0", "s1", "s2")}
    run_id = ("s0+s1+s2", *found.runs.run_id[1:])
    runs = dataclasses.replace(found.runs, run_id=run_id, members=members, merged=2)
    curves = {f"s{i}": TrainingCurve(found.curves[first].rows, 2.3 + i) for i in range(3)}
    averaged = Study(found.document, runs, curves)
    seeds = [(seed.run_id, seed.row, seed.loss) for seed in seeds_of(averaged)]
    assert seeds == [("s0", 0, 2.3), ("s1", 0, 3.3), ("s2", 0, 4.3)]
