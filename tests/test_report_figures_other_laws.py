"""A chart shows the law of fit.json and the runs behind it, and only a law that stands has one."""

import dataclasses
from pathlib import Path
from typing import TypeVar

import pytest

from scaling.fit.other_laws.over_training import OverTraining
from scaling.fit.pipeline import Fit, fit
from scaling.fit.results.laws import judged
from scaling.fit.results.other_laws import (
    KaplanLaws,
    LearningCurveLaw,
    OverTrainingLaw,
    TunedLaw,
)
from scaling.report.document import study_of, write_report
from scaling.report.figures.chart import Chart, Line, Points
from scaling.report.figures.other_laws import other_charts
from scaling.report.study import Study
from tests.support.fit_examples import config, tuned_rows, write_csv
from tests.support.report_example import example, study

T = TypeVar("T")


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """Sizes at several amounts of data, each with five rates; names repeat."""
    path = write_csv(tmp_path_factory.mktemp("charts") / "t.csv", tuned_rows())
    return fit(config(f"runs={path}", "n_bootstrap=40"))


def _charts(of: Study) -> dict[str, Chart]:
    return {chart.key: chart for chart in other_charts(of)}


def _series(chart: Chart, kind: type) -> list:
    (panel,) = chart.panels
    return [series for series in panel.series if isinstance(series, kind)]


def _law(fitted: Fit, name: str, kind: type[T]) -> T:
    law = fitted.document.law(name, kind)
    assert law is not None
    return law


def _with(fitted: Fit, law: TunedLaw) -> Study:
    laws = {**fitted.document.laws, "lr": law}
    return Study(dataclasses.replace(fitted.document, laws=laws))


def test_other_charts_are_one_for_each_law_that_stands(fitted: Fit) -> None:
    laws = fitted.document.laws
    kaplan = {"L_N": "kaplan_size", "L_D": "kaplan_data", "L_C": "kaplan_compute"}
    stated = _law(fitted, "kaplan", KaplanLaws)
    expected = {key for n, key in kaplan.items() if getattr(stated, n).status != "refused"}
    expected |= {n for n in ("over_training", "learning_curve", "lr") if n in laws}
    assert set(_charts(study_of(fitted))) == expected and len(expected) >= 5
    assert _charts(study()) == {}


def test_other_charts_of_a_saved_fit_are_those_whose_runs_it_holds(fitted: Fit) -> None:
    assert set(_charts(Study(fitted.document))) == {"lr"}


def test_other_charts_have_points_inside_their_axes(fitted: Fit) -> None:
    for chart in _charts(study_of(fitted)).values():
        (panel,) = chart.panels
        for name, axis in (("x", panel.x), ("y", panel.y)):
            assert axis.label and len(axis.ticks()) >= 2
            for points in _series(chart, Points):
                values = getattr(points, name)
                assert len(values) == len(points.text) > 0
                assert all(axis.low <= value <= axis.high for value in values)


def test_kaplan_marks_the_runs_of_the_law_although_names_repeat(fitted: Fit) -> None:
    law = _law(fitted, "kaplan", KaplanLaws).L_N
    chart = _charts(study_of(fitted))["kaplan_size"]
    used = {points.name: points for points in _series(chart, Points)}["runs of the law"]
    runs = fitted.observations
    chosen = set(zip(law.runs, law.tokens, strict=True))
    rows = [i for i, run in enumerate(zip(runs.run_id, runs.tokens, strict=True)) if run in chosen]
    assert list(used.x) == list(runs.params[rows]) and list(used.y) == list(runs.loss[rows])
    assert len(used.x) == law.n_points < len(runs)


def test_lines_are_the_laws_of_fit_json(fitted: Fit) -> None:
    charts, stated = _charts(study_of(fitted)), _law(fitted, "over_training", OverTrainingLaw)
    names = ("E", "a_prime", "b_prime", "eta")
    law = OverTraining(**{name: getattr(stated, name).value for name in names})
    ratio = fitted.observations.tokens / fitted.observations.params
    for line in _series(charts["over_training"], Line):
        level = ratio.min() * (ratio.max() / ratio.min()) ** line.ink
        assert line.y == pytest.approx(law.predict_loss(line.x, float(f"{level:.2g}")), rel=1e-4)
    sizes = _law(fitted, "learning_curve", LearningCurveLaw).sizes
    for size, line in zip(sizes, _series(charts["learning_curve"], Line), strict=True):
        assert size.D_c and size.D_c.value and size.alpha.value
        E = size.E.value if size.E and size.E.value else 0.0
        assert line.y == pytest.approx(E + (size.D_c.value / line.x) ** size.alpha.value, rel=1e-4)


def test_crosses_are_the_law_of_the_rate(fitted: Fit) -> None:
    law, chart = _law(fitted, "lr", TunedLaw), _charts(study_of(fitted))["lr"]
    cells = [cell for cell in law.cells if cell.value is not None]
    crosses = next(points for points in _series(chart, Points) if points.look == "law")
    assert law.c.value and law.p and law.p.value and law.q.value
    for cell, x in zip(cells, crosses.x, strict=True):
        said = law.c.value * cell.params**law.p.value * cell.tokens**law.q.value
        assert x == pytest.approx(said, rel=1e-4)


def test_optima_are_drawn_where_no_law_goes_through_them(fitted: Fit) -> None:
    """As of one D, by which no law of N and D is known: figure 1 of Yang et al. needs no more."""
    whole = _law(fitted, "lr", TunedLaw)
    refused = TunedLaw(**judged(reason="one D"), cells=whole.cells, n_cells=whole.n_cells)
    chart = _charts(_with(fitted, refused))["lr"]
    looks = [points.look for points in _series(chart, Points)]
    assert "minimum" in looks and "law" not in looks and "No law goes" in chart.caption
    empty = tuple(dataclasses.replace(cell, value=None) for cell in whole.cells)
    none = dataclasses.replace(refused, cells=empty, n_cells=0)
    assert "lr" not in _charts(_with(fitted, none))


def test_tuning_needs_no_run_of_the_headline(fitted: Fit) -> None:
    """A sweep's tuning runs vary the rate and are no observation of the other laws."""
    whole = study_of(fitted)
    few = whole.runs.take(whole.runs.columns["lr"] > 2e-3)
    assert 0 < len(few) < len(whole.runs)
    assert _charts(dataclasses.replace(whole, runs=few))["lr"] == _charts(whole)["lr"]


def test_a_figure_goes_when_its_law_does(fitted: Fit, tmp_path: Path) -> None:
    write_report(fitted, tmp_path)
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names >= set(_charts(study_of(fitted)))
    text = (tmp_path / "fit.md").read_text()
    assert "figures/over_training.png" in text and "L(D) at N = 20.0M" in text
    write_report(example(), tmp_path)
    left = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert not left & set(_charts(study_of(fitted)))
    assert "Other laws" not in (tmp_path / "fit.md").read_text()
