"""N*, D* and the loss at the optimum as lines over compute, one a law, and their figure.

A line comes from the law's own estimates; its 90% band joins the intervals of the predictions that
fit.json makes from the law, in log-log, and ends where they end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from common.numbers import compact, count
from scaling.fit.results.document import Prediction
from scaling.fit.results.laws import EnvelopeLaw, IsoflopLaw, Law, ParametricLaw
from scaling.report.figures.chart import Band, Chart, Line, Panel, Points, Series, axis, said
from scaling.report.figures.style import DASHES
from scaling.report.figures.surface import surface_of
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels, has_numbers, law_name, refusals

POINTS = 121
BEYOND = 10.0  # the explorer goes this factor beyond the budgets, greyed
Quantity = Literal["n", "d", "loss"]
QUANTITIES: tuple[Quantity, ...] = ("n", "d", "loss")


@dataclass(frozen=True)
class LawLine:
    """A law over compute; arrays over `flops`, nan where unknown.

    name         of the law
    low, high    the compute measured: the budgets with a minimum, else the runs
    values       of each quantity; a law through minima has no loss
    intervals    (2, n) of each quantity: the ends of its 90% interval
    """

    name: str
    low: float
    high: float
    flops: np.ndarray
    values: Mapping[Quantity, np.ndarray]
    intervals: Mapping[Quantity, np.ndarray]

    @property
    def measured(self) -> np.ndarray:
        """The mask of the points inside the compute measured."""
        return (self.flops >= self.low * 0.999) & (self.flops <= self.high * 1.001)


def law_lines(study: Study) -> dict[str, LawLine]:
    """The line of each law that allocates compute and stands."""
    document = study.document
    return _lines(document.laws, document.predictions, study.runs.flops)


def other_lines(study: Study) -> dict[str, LawLine]:
    """The lines of the fit that this one is compared with, under keys `LAW-other`; {} if none."""
    if study.document.comparison is None:
        return {}
    other, name = study.document.comparison.other_fit, study.document.comparison.other
    found = _lines(other.laws, other.predictions, np.array(other.range or ()))
    return {f"{k}-other": replace(line, name=f"{line.name}, {name}") for k, line in found.items()}


def _lines(
    laws: Mapping[str, Law], predictions: Sequence[Prediction], runs: np.ndarray
) -> dict[str, LawLine]:
    result = {}
    for key in ("isoflop", "parametric", "envelope"):
        stated = sorted((row for row in predictions if row.law == key), key=lambda row: row.flops)
        if key in laws and has_numbers(law := laws[key]):
            minima = law.valleys if isinstance(law, IsoflopLaw) else ()
            measured = [v.flops for v in minima if v.n_opt.value is not None] or list(runs)
            measured = measured or [row.flops for row in stated if row.beyond is None]
            if measured and (line := _line(key, law, stated, min(measured), max(measured))):
                result[key] = line
    return result


def _line(
    key: str, law: Law, stated: Sequence[Prediction], low: float, high: float
) -> LawLine | None:
    predicted = [row.flops for row in stated]
    reach = np.geomspace(low / BEYOND, max([BEYOND * high, *predicted]), POINTS)
    flops = np.unique([*reach, low, high, *predicted])
    values: dict[Quantity, np.ndarray]
    if isinstance(law, ParametricLaw):
        surface = surface_of(law)
        if surface is None:
            return None
        n, d = surface.optimal_allocation(flops)
        values = {"n": n, "d": d, "loss": surface.predict_loss(n, d)}
    else:
        assert isinstance(law, IsoflopLaw | EnvelopeLaw)
        known = (law.n_coef.value, law.a.value, law.d_coef.value, law.b.value)
        # An envelope of unsettled schedules predicts nothing, and has no line either.
        if None in known or not (stated or isinstance(law, IsoflopLaw)):
            return None
        k, a, l, b = map(float, known)  # type: ignore[arg-type]
        # Between budgets the loss bends: a chord through the minima's losses lies above it.
        values = {"n": k * flops**a, "d": l * flops**b, "loss": np.full(len(flops), np.nan)}
    intervals: dict[Quantity, np.ndarray] = {}
    for quantity, name in zip(QUANTITIES, ("n_opt", "d_opt", "loss"), strict=True):
        stated_ends = [(row.flops, getattr(row, name).ci90 or (None, None)) for row in stated]
        sides = [[(c, ends[side]) for c, ends in stated_ends] for side in (0, 1)]
        intervals[quantity] = np.array([_between(flops, side) for side in sides])
    return LawLine(law_name(key), low, high, flops, values, intervals)


def _between(flops: np.ndarray, ends: Sequence[tuple[float, float | None]]) -> np.ndarray:
    """Straight lines in log-log between the known ends of stated intervals; nan outside them."""
    known = [(c, end) for c, end in ends if end and end > 0]
    if not known:
        return np.full(len(flops), np.nan)
    x, y = np.log(np.array(known)).T
    return np.exp(np.interp(np.log(flops), x, y, left=np.nan, right=np.nan))


def allocation(study: Study) -> Chart:
    """The figure, absent where no law stands."""
    lines, token = law_lines(study), axis_labels(study).token
    refused = "; ".join(refusals(study.document))
    noted = f" Not drawn: {refused}." if refused else ""
    chart = Chart(
        "allocation",
        "N* and D* against compute",
        f"Optimal parameters and training {token}s for a given compute, axes logarithmic.{noted}",
    )
    if not lines:
        absent = f"every law was refused ({refused})" if refused else "no law was asked for"
        return replace(chart, absent=absent)
    every = lines | other_lines(study)
    return replace(chart, panels=(_panel(study, every, "n"), _panel(study, every, "d")))


def _panel(study: Study, lines: dict[str, LawLine], quantity: Quantity) -> Panel:
    series: list[Series] = [part for k, line in lines.items() for part in _law(k, line, quantity)]
    law, labels = study.document.isoflop, axis_labels(study)
    minima = [v for v in (law.valleys if law else ()) if v.n_opt.value and v.d_opt.value]
    if minima:
        stated = [v.n_opt if quantity == "n" else v.d_opt for v in minima]
        values = [estimate.value for estimate in stated]
        ends = tuple(estimate.ci90 for estimate in stated)
        texts = [
            said(
                f"minimum at {compact(v.flops)} FLOP",
                f"N* {count(v.n_opt.value)}",
                f"D* {count(v.d_opt.value)}",
            )
            for v in minima
        ]
        name = "minima of IsoFLOP curves"
        mark = Points([v.flops for v in minima], values, texts, "optimum", "ink", name, y_ends=ends)
        series.append(replace(mark, group="minima"))
    flops = axis(labels.flops, "flops", *(line.flops for line in lines.values()))
    spread = [part for k in lines.values() for part in (k.values[quantity], *k.intervals[quantity])]
    if quantity == "n":
        return Panel(flops, axis(labels.params_opt, "params", *spread), tuple(series))
    return Panel(flops, axis(labels.tokens_opt, "tokens", *spread), tuple(series))


def _law(key: str, line: LawLine, quantity: Quantity) -> tuple[Series, ...]:
    """The band, the whole line, and its part inside the compute measured."""
    x, y, inside = line.flops, line.values[quantity], line.measured
    both = zip(line.values["n"][inside], line.values["d"][inside], strict=True)
    low, high = line.intervals[quantity]
    band = Band(x, low, high, key, line.name)
    whole = Line(x, y, key, None, "dot", width=1.6, opacity=0.55, group=line.name)
    measured = Line(
        x[inside],
        y[inside],
        key,
        line.name,
        DASHES[key.removesuffix("-other")],
        width=2.6,
        group=line.name,
        heading=said(line.name),
        text=[f"N* {count(n)}<br>D* {count(d)}" for n, d in both],
    )
    return band, whole, measured
