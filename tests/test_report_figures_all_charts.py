"""Every figure of the headline is drawn, or says in a line why not."""

import pytest

from scaling.report.figures.all_charts import KEYS, all_charts
from scaling.report.study import Study
from tests.support.report_example import study

HEADLINE = ("allocation", "valleys", "surface", "residuals", "curves")


def test_all_charts_of_a_whole_study_are_drawn() -> None:
    charts = all_charts(study())
    assert tuple(charts) == HEADLINE and set(HEADLINE) < set(KEYS)
    assert all(chart.panels and chart.absent is None for chart in charts.values())


def test_all_charts_of_a_saved_fit_say_which_need_the_runs() -> None:
    charts = all_charts(Study(study().document))
    absent = {key for key, chart in charts.items() if chart.absent}
    assert absent == {"valleys", "surface", "residuals", "curves"}
    assert all("needs the runs" in (charts[key].absent or "") for key in absent)


@pytest.mark.parametrize(("method", "word"), [("spline", "spline"), ("parabola", "parabola")])
def test_isoflop_caption_names_the_method(method: str, word: str) -> None:
    found = study(lambda values: values["laws"]["isoflop"].update(method=method))
    caption = all_charts(found)["valleys"].caption
    assert [w in caption for w in ("spline", "parabola")].count(True) == 1 and word in caption
