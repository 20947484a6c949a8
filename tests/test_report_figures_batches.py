"""The figures of batches show the numbers of their laws, which a saved fit.json holds."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.batches.critical_batch import fit_critical_batch
from scaling.fit.batches.size_and_steps import fit_size_and_steps
from scaling.fit.observations import Observations
from scaling.fit.results.estimate import UNKNOWN
from scaling.report.figures import interactive, static
from scaling.report.figures.batches import batch_charts
from scaling.report.figures.chart import Chart, Line, Points
from scaling.report.study import NO_RUNS, Study
from tests.support.batch_curves import BATCHES, curves
from tests.support.report_example import example

TRACES = curves(params=(1e7, 1e8, 1e9), batches=BATCHES[::2], run_sd=0.003, row_sd=0.01, seed=1)


@pytest.fixture(scope="module")
def laws() -> dict:
    nothing: Observations = NO_RUNS
    return {
        "critical_batch": fit_critical_batch(nothing, 40, 0, TRACES),
        "size_and_steps": fit_size_and_steps(nothing, 40, 0, "fitted", TRACES),
    }


@pytest.fixture(scope="module")
def charts(laws: dict) -> dict[str, Chart]:
    document = example().document
    return {chart.key: chart for chart in batch_charts(Study(replace(document, laws=laws)))}


def test_points_of_the_hyperbolas_are_steps_and_tokens(charts: dict, laws: dict) -> None:
    left, right = charts["critical_batch"].panels
    points = [series for series in left.series if isinstance(series, Points)]
    lines = [series for series in left.series if isinstance(series, Line)]
    assert len(points) == len(lines) == len(laws["critical_batch"].levels) == 18
    for level, mine, line in zip(laws["critical_batch"].levels, points, lines, strict=True):
        assert np.array(mine.y) / np.array(mine.x) == pytest.approx(level.batches)
        s, e = np.array(line.x), np.array(line.y)
        product = (s / level.S_min.value - 1) * (e / level.E_min.value - 1)
        assert product == pytest.approx(np.ones(len(s)))
    assert left.x.label == "steps S" and left.y.label == "tokens E = B S"
    assert all(axis.log for axis in (left.x, left.y, right.x, right.y))


def test_the_critical_batch_stands_against_loss_with_its_interval(charts, laws) -> None:
    law = laws["critical_batch"]
    panel = charts["critical_batch"].panels[1]
    line, points, noise = panel.series
    assert list(noise.y) == [level.noise_scale for level in law.levels]
    assert list(points.x) == [level.loss for level in law.levels]
    assert points.y_ends == tuple(level.B_crit.ci90 for level in law.levels)
    assert line.y == pytest.approx(law.B_star.value / line.x ** (1 / law.alpha_B.value))
    assert panel.x.label.startswith("loss (") and "tokens" in panel.y.label
    ends = [end for pair in points.y_ends for end in pair]
    assert panel.y.low <= min(ends) and max(ends) <= panel.y.high


def test_curves_of_one_size_lie_on_the_line_of_the_law(charts, laws) -> None:
    law = laws["size_and_steps"]
    (panel,) = charts["size_and_steps"].panels
    lines = {series.ink: series for series in panel.series if isinstance(series, Line)}
    points = [series for series in panel.series if isinstance(series, Points)]
    assert len(lines) == 3 and len(points) == len(law.curves) == 12
    for one in points:
        line = lines[one.ink[0]]
        expected = np.interp(np.log(one.x), np.log(line.x), line.y)
        assert one.y == pytest.approx(expected, abs=0.1)


def test_both_are_drawn_in_print_and_on_the_page(charts) -> None:
    for chart in charts.values():
        assert static.draw(chart)["png"].startswith(b"\x89PNG")
        assert len(interactive.draw(chart)["data"]) == sum(len(p.series) for p in chart.panels)


@pytest.mark.parametrize("lost", [{"steps": (), "batches": ()}, {"B_crit": UNKNOWN}])
def test_levels_without_steps_or_without_a_batch_are_drawn_as_far_as_known(
    laws: dict, lost: dict
) -> None:
    """A fit.json from before it held the steps; losses whose own critical batch does not show."""
    law = laws["critical_batch"]
    law = replace(law, levels=tuple(replace(level, **lost) for level in law.levels))
    study = Study(replace(example().document, laws={"critical_batch": law}))
    (chart,) = batch_charts(study)
    assert len(chart.panels) == (1 if "steps" in lost else 2)
    assert interactive.draw(chart) and static.draw(chart, ("svg",))
