"""Every figure of a report, in its order."""

from dataclasses import replace

from scaling.fit.registry import LAWS
from scaling.report.figures.allocation import allocation
from scaling.report.figures.batches import batch_charts
from scaling.report.figures.chart import Chart
from scaling.report.figures.curves import curves
from scaling.report.figures.experiments import experiment_charts
from scaling.report.figures.isoflop import isoflop
from scaling.report.figures.multiplier import multiplier_charts
from scaling.report.figures.other_laws import other_charts
from scaling.report.figures.surface import residuals, surface
from scaling.report.study import Study

_HEADLINE = (allocation, isoflop, surface, residuals, curves)
_OF_NO_RUNS = (
    "sample_efficiency",
    "repeated_data",
    "shape",
    "allocation",
    "multiplier",
    "critical_batch",
    "size_and_steps",
)
KEYS = (
    "allocation",
    "curves",
    "multiplier",
    *(key for law in LAWS.values() for key in law.figures),
)
"""Every figure that there may be: the names of its files."""


def all_charts(study: Study) -> dict[str, Chart]:
    """The figures by key; those of the headline say why where they cannot be drawn."""
    headline = (describe(study) for describe in _HEADLINE)
    charts = [*headline, *multiplier_charts(study)]
    charts += [*other_charts(study), *batch_charts(study)]
    charts += experiment_charts(study)
    return {chart.key: _said_thinned(chart, study) for chart in charts}


def _said_thinned(chart: Chart, study: Study) -> Chart:
    """The chart with a sentence on the runs that it leaves out, where they are too many to draw."""
    drawn, runs = int(study.drawn.sum()), len(study.runs)
    if drawn == runs or chart.key in _OF_NO_RUNS:
        return chart
    said = f"{chart.caption} {drawn:,} of {runs:,} runs are drawn, chosen at random."
    return replace(chart, caption=said)
