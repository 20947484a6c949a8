"""IsoFLOP curves are those of the fit; the seeds of an average are each shown."""

import dataclasses
import math

import numpy as np
import pytest

from scaling.report.document import study_of
from scaling.report.figures.chart import Line
from scaling.report.figures.data import budgets_of
from scaling.report.figures.isoflop import isoflop, isoflop_curves, seeds_of
from scaling.report.study import Study, TrainingCurve
from tests.support.fit_examples import isoflop_rows
from tests.support.fit_runs import QUICK, SURFACE, fitted, write_csv
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


def test_points_of_runs_whose_flops_differ_lie_about_their_curve(tmp_path) -> None:
    """At the FLOP of the budget, where the curve is; each says its own loss and that one."""
    rows = isoflop_rows(SURFACE, (1e18, 1e19, 1e20), np.geomspace(1 / 3, 3, 7), 0.0)
    for index, row in enumerate(rows):
        del row["flops_budget"]
        row["tokens"] *= 1 + 0.1 * math.sin(index)
        row["flops"] = 6 * row["params"] * row["tokens"]
        row["loss"] = SURFACE.predict_loss(row["params"], row["tokens"])
    path = write_csv(tmp_path / "runs.csv", rows)
    fit = fitted(f"runs={path}", "laws=[isoflop]", "isoflop.method=parabola_all", QUICK)
    chart = isoflop(study_of(fit))
    assert "Losses are those at the FLOP of the budget." in chart.caption
    off = {"drawn": [], "own": []}
    lines = {one.group: one for one in chart.panels[0].series if isinstance(one, Line)}
    for points in (one for one in chart.panels[0].series if getattr(one, "look", "") == "run"):
        line = lines[points.group]
        curve = np.interp(np.log(points.x), np.log(line.x), line.y)
        said = [text.split("loss ")[1].split("<br>at the budget's FLOP ") for text in points.text]
        own, at_budget = np.array(said, dtype=float).T
        assert at_budget == pytest.approx(points.y, abs=1e-4)
        off["drawn"] += [*(points.y - curve)]
        off["own"] += [*(own - curve)]
    assert len(off["own"]) == len(rows)
    assert np.std(off["drawn"]) < np.std(off["own"]) / 5


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


def test_isoflop_is_not_pressed_flat_by_runs_far_from_any_minimum() -> None:
    """The view is of what lies about the minima, and the caption says how many runs do not."""
    plain = isoflop(study())
    assert plain.panels[0].y.view is None and "above the figure" not in plain.caption
    found = study()
    loss, params = found.runs.loss.copy(), found.runs.params.copy()
    loss[0], params[0] = 9.0, params[0] / 100
    far = dataclasses.replace(found, runs=dataclasses.replace(found.runs, loss=loss, params=params))
    chart = isoflop(far)
    low, high = chart.panels[0].y.view or (0, 0)
    assert low < loss.min() and np.sort(loss)[-2] < high < 3
    assert chart.caption.endswith("Not seen: 1 run far from any minimum, above the figure.")
