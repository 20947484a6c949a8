"""The fitted surface L = E + A/N^alpha + B/D^beta (Hoffmann 2022): contours and residuals."""

from dataclasses import dataclass, replace

import numpy as np

from scaling.fit.laws import Surface
from scaling.fit.observations import Observations
from scaling.fit.results.laws import ParametricLaw
from scaling.report.figures.chart import Chart, Line, Panel, Series, axis, said
from scaling.report.figures.data import budgets_of, run_axis, run_points
from scaling.report.figures.style import shade_of
from scaling.report.study import Study
from scaling.report.text.labels import has_numbers, not_drawn

GRID = 80
LEVELS = 11
_LABEL = np.array([0.05, 0.035])  # width and height of a contour's label, of the picture's
_MARGIN = 1.6  # the picture ends this factor beyond the runs: further out nothing was measured


@dataclass(frozen=True)
class Contour:
    """One path of equal fitted loss; `labelled` where its end has room for the number."""

    loss: float
    flops: np.ndarray
    params: np.ndarray
    labelled: bool


def surface_of(law: ParametricLaw | None) -> Surface | None:
    """The parametric law's surface, None where the law is refused or has a term missing.

    E is 0 where the fit left it at its lower bound.
    """
    if law is None or not has_numbers(law):
        return None
    E = 0.0 if law.E.value is None and law.E.bound == "low" else law.E.value
    values = (E, law.A.value, law.B.value, law.alpha.value, law.beta.value)
    if any(value is None for value in values):
        return None
    found = Surface(*map(float, values))  # type: ignore[arg-type]
    found = replace(found, k=law.k and law.k.value, ceiling=law.ceiling)
    return found if min(found.A, found.B, found.alpha, found.beta) > 0 else None


def residuals_of(surface: Surface, runs: Observations) -> np.ndarray:
    """log(observed / fitted) of every run."""
    return np.log(runs.loss / surface.predict_loss(runs.params, runs.tokens))


def contours(surface: Surface, runs: Observations) -> list[Contour]:
    """Lines of equal loss over compute and parameters, where runs lie near."""
    import contourpy  # with matplotlib; only where a figure is made

    flops, params = _spread(runs.flops), _spread(runs.params)
    tokens = flops[None, :] / (6 * params[:, None])
    loss = surface.predict_loss(np.broadcast_to(params[:, None], tokens.shape), tokens)
    seen = (tokens > runs.tokens.min() / 3) & (tokens < runs.tokens.max() * 3)
    if not seen.any():  # the table's FLOP are far from 6 N D
        return []
    loss = np.where(seen, loss, np.nan)
    generator = contourpy.contour_generator(
        np.log(flops), np.log(params), np.ma.masked_invalid(loss), line_type="Separate"
    )
    size = np.log([flops[-1] / flops[0], params[-1] / params[0]])
    lines = []
    labels: list[np.ndarray] = []  # ends of paths that carry their loss, in log FLOP and log N
    for level in _levels(np.nanmin(loss), min(np.nanmax(loss), runs.loss.max() * 1.03)):
        paths = [np.asarray(path, dtype=float) for path in generator.lines(level)]
        for path in (path for path in paths if len(path) > 3):
            crowded = any((np.abs(path[-1] - other) < _LABEL * size).all() for other in labels)
            if not crowded:
                labels.append(path[-1])
            thin = np.unique(np.linspace(0, len(path) - 1, min(len(path), 60)).astype(int))
            x, y = np.exp(path[thin]).T
            lines.append(Contour(level, x, y, not crowded))
    return lines


def _spread(values: np.ndarray) -> np.ndarray:
    return np.geomspace(values.min() / _MARGIN, values.max() * _MARGIN, GRID)


def _levels(low: float, high: float) -> list[float]:
    decimals = 3 if high - low < 0.2 else 2
    spaced = np.geomspace(low * 1.005, high, LEVELS)
    return sorted({round(float(level), decimals) for level in spaced})


def surface(study: Study) -> Chart:
    """Contours and frontier over the runs, absent without a surface."""
    chart = Chart(
        "surface",
        "Lines of equal loss and the efficient frontier",
        "Each thin line joins sizes and budgets of equal fitted loss; the thick dashed line is the "
        "frontier, the size of least loss at each compute. Points are the runs, coloured by their "
        "loss. Drawn only where runs lie near.",
    )
    fitted, absent = _fitted(study)
    if fitted is None:
        return replace(chart, absent=absent)
    runs, found, shade = study.runs, contours(fitted, study.runs), run_axis(study, "loss")
    x = np.geomspace(runs.flops.min(), runs.flops.max(), GRID)
    n, name = fitted.n_opt.at(x), "efficient frontier"
    frontier = Line(x, n, "parametric", name, "dash", width=3.5, heading=said(name))
    points = run_points(
        study, "flops", "params", ink=shade.place(runs.loss[study.drawn]), name="runs"
    )
    lines = [Line(c.flops, c.params, "faint", width=1, heading=f"loss {c.loss:g}") for c in found]
    ends = tuple((c.flops[-1], c.params[-1], f"{c.loss:g}") for c in found if c.labelled)
    axes = run_axis(study, "flops"), run_axis(study, "params")
    panel = Panel(*axes, (*lines, frontier, points), ends)
    return replace(chart, panels=(panel,), shade=shade)


def residuals(study: Study) -> Chart:
    """Observed over fitted loss of each run, absent without a surface."""
    chart = Chart(
        "residuals",
        "Residuals of the surface, by compute",
        "Observed loss over fitted loss, minus one. A trend along compute, or the same bend at "
        "every budget, means that the form is wrong, whatever its interval says. The bar is the "
        "mean of a budget.",
        legend="budget; bar: its mean",
    )
    fitted, absent = _fitted(study)
    if fitted is None:
        return replace(chart, absent=absent)
    budgets, runs = budgets_of(study), study.runs
    percent = 100 * np.expm1(residuals_of(fitted, runs))
    half = (runs.flops.max() / runs.flops.min()) ** 0.04  # of the bar of a mean
    series: list[Series] = []
    for budget, here in budgets.rows():
        x, y, ink = runs.flops[here], percent[here], shade_of(budget, len(budgets.flops))
        points = run_points(study, "flops", "loss", here, "run", ink, budgets.name(budget))
        series.append(replace(points, y=y[study.drawn[here]], symbol=max(0, budget)))
        if budget >= 0:
            middle, mean = np.exp(np.log(x).mean()), y.mean()
            heading = f"mean of this budget {mean:.2f}%"
            bar = [middle / half, middle * half]
            series.append(Line(bar, [mean, mean], "ink", heading=heading))
    missed = axis("observed / fitted loss − 1 (%)", "percent", percent, log=False)
    return replace(chart, panels=(Panel(run_axis(study, "flops"), missed, tuple(series)),))


def _fitted(study: Study) -> tuple[Surface | None, str | None]:
    """The surface beside its runs, or why there is none to draw."""
    law = study.document.parametric
    fitted = surface_of(law)
    if fitted is None:
        return None, not_drawn(law, "parametric surface")
    return (None, study.no_runs) if study.no_runs else (fitted, None)
