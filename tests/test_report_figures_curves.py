"""Training curves are thinned within their ends."""

import dataclasses

from scaling.report.document import study_of
from scaling.report.figures.curves import CURVE_BINS, training_curves
from scaling.report.study import Study
from tests.support.report_example import example, study


def test_training_curves_are_thinned_within_their_ends() -> None:
    found = study()
    for curve in training_curves(found):
        rows = found.curves[curve.run_id].rows
        assert 10 < len(curve.flops) <= CURVE_BINS
        assert rows[:, 0].min() <= curve.flops[0] * 1.00001
        assert curve.flops[-1] <= rows[-1, 0] * 1.00001


def test_training_curves_leave_out_rows_that_cannot_be_drawn() -> None:
    fitted = example()
    name = fitted.observations.run_id[0]
    fitted.curves[name] = [{"step": 1, "loss": 3.0}, *fitted.curves[name][:3]]
    assert len(study_of(fitted).curves[name].rows) == 3


def test_training_curves_of_seeds_have_the_size_of_their_average() -> None:
    found = study()
    first = found.runs.run_id[0]
    names = ("s0+s1", *found.runs.run_id[1:])
    runs = dataclasses.replace(found.runs, run_id=names, members={"s0+s1": ("s0", "s1")})
    curves = dict.fromkeys(("s0", "s1"), found.curves[first])
    drawn = training_curves(Study(found.document, runs, curves))
    assert [curve.params for curve in drawn] == [float(runs.params[0])] * 2
