"""N*, D* and the loss at the optimum as lines over compute, one a law, and their figure.

A line comes from the law's own estimates; its 90% band joins the intervals of the predictions made
from the law, and ends where they end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from common.numbers import compact, count
from scaling.report.figures.chart import Band, Chart, Line, Panel, Points, Series, axis, said
from scaling.report.figures.style import DASHES
from scaling.report.optimum import QUANTITIES, Optimum, Quantity, optima, other_optima
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels, refusals

POINTS = 121
BEYOND = 10.0  # lines go this factor beyond the budgets


@dataclass(frozen=True)
class LawLine:
    """A law over compute; arrays over `flops`, nan where unknown.

    name         of the law
    low, high    the compute measured
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
    asked = [row.flops for row in study.document.predictions]
    return {key: _line(law, law.name, asked) for key, law in optima(study).items()}


def other_lines(study: Study) -> dict[str, LawLine]:
    """The lines of the fit that this one is compared with, under keys `LAW-other`; {} if none."""
    found = study.document.comparison
    if found is None:
        return {}
    asked = [row.flops for row in found.other_fit.predictions]
    laws = other_optima(study).items()
    return {f"{k}-other": _line(law, f"{law.name}, {found.other}", asked) for k, law in laws}


def _line(law: Optimum, name: str, asked: Sequence[float]) -> LawLine:
    low, high = law.low, law.high
    reach = np.geomspace(low / BEYOND, max([BEYOND * high, *asked]), POINTS)
    flops = np.unique([*reach, low, high, *asked])
    intervals = {quantity: law.ends(quantity, flops) for quantity in QUANTITIES}
    return LawLine(name, low, high, flops, law.at(flops), intervals)


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
