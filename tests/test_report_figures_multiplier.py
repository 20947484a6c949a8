"""The figure, tables and sentences of compute multipliers."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.multiplier import Asked, multipliers
from scaling.fit.results.json_form import to_json
from scaling.report.figures.chart import Points
from scaling.report.figures.multiplier import multiplier_charts
from scaling.report.sections import sections
from scaling.report.tables.multipliers import at_each_budget, in_words, over_all_budgets, premises
from scaling.report.text.verdict import judge
from tests.support.arms import BUDGETS, arms
from tests.support.report_example import study

QUICK = Asked(resamples=100, seed=0)


def _study(*entries):
    return study(lambda values: values.update(multipliers=to_json(entries)))


@pytest.fixture(scope="module")
def two():
    base, better = arms(1.4, 0.005, 1, 0.5)
    same = replace(arms(1.0, 0.005, 2)[1], name="$same$")
    return _study(*multipliers(base, better, QUICK), *multipliers(base, same, QUICK))


def test_multiplier_chart_has_each_arm_about_one(two):
    """Each arm has its k and 90% interval at each budget, and the line at 1 spans them."""
    (chart,) = multiplier_charts(two)
    (panel,) = chart.panels
    points = [part for part in panel.series if isinstance(part, Points)]
    assert [part.name for part in points] == ["new over plain", "$same$ over plain"]
    for part in points:
        assert np.log(part.x) == pytest.approx(np.log(BUDGETS), abs=0.1)
        assert part.y_ends is not None
        assert all(low < k < high for k, (low, high) in zip(part.y, part.y_ends, strict=True))
    assert np.min(panel.series[0].y) == 1 and panel.y.low < 1 < panel.y.high


def test_tables_of_multipliers_say_each_once(two):
    """One row an arm over all budgets, in words and for what it rests on; one a budget."""
    document = two.document
    for table in (over_all_budgets(document), in_words(document), premises(document)):
        assert [row[0] for row in table.rows] == ["new", "$same$"]
    assert len(at_each_budget(document).rows) == 2 * len(BUDGETS)
    assert premises(document).rows[0][2].startswith("paired by seed, budget and size")
    assert premises(document).rows[1][2] == "drawn for each arm alone"


def test_verdict_has_what_is_shown_and_what_is_not(two):
    """An arm that is better is shown; no difference is among what cannot be shown."""
    judged = judge(two)
    assert any(line.startswith("new reaches the loss of plain with 1/1.") for line in judged.shows)
    assert any("no difference shown: $same$ over plain" in line for line in judged.cannot)


def test_multiplier_section_stands_where_arms_are_compared(two):
    """Without arms there is no figure and no section."""
    (chart,) = multiplier_charts(two)
    every = dict.fromkeys(("allocation", "valleys", "surface", "residuals", "curves"), chart)
    keys = [part.key for part in sections(two, every | {"multiplier": chart})]
    assert keys[:2] == ["multiplier", "allocation"] and "multipliers" in keys
    assert multiplier_charts(study()) == ()
    assert "multiplier" not in [part.key for part in sections(study(), every)]


def test_multiplier_chart_says_why_it_is_not_drawn():
    """Arms that cannot be compared have the reason in the figure's place and in the table."""
    base, arm = arms(1.2, 0.005, 4)
    entries = multipliers(base, replace(arm, loss_unit="bpb"), QUICK)
    found = _study(*entries)
    (chart,) = multiplier_charts(found)
    assert chart.absent == "losses are in nats and in bpb" and not chart.panels
    (row,) = at_each_budget(found.document).rows
    assert row[:3] == ("new", "every budget", "refused") and row[-1] == chart.absent
