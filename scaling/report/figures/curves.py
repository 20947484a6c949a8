"""The figure of the training curves: the loss logged along each run against compute spent."""

from dataclasses import dataclass, replace

import numpy as np

from common.numbers import count
from scaling.report.figures.chart import Chart, Line, Panel, axis, said
from scaling.report.figures.data import members, run_axis, run_points
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels

CURVE_BINS = 40  # few enough that a batch's noise averages out late in a run


@dataclass(frozen=True)
class ThinCurve:
    """A training curve in equal steps of log FLOP, and why its run is excluded, if it is."""

    run_id: str
    params: float
    flops: np.ndarray
    tokens: np.ndarray
    loss: np.ndarray
    excluded: str | None


def training_curves(study: Study) -> list[ThinCurve]:
    """Training loss against compute: the mean of the logged rows in equal steps of log FLOP."""
    rows_of: dict[str, int | None] = dict.fromkeys(study.curves)
    rows_of |= members(study) | {name: row for row, name in enumerate(study.runs.run_id)}
    excluded: dict[str, str | None] = dict.fromkeys(study.curves)
    excluded |= {lost.run_id: lost.reason for lost in study.runs.excluded}
    result = []
    for run_id, curve in study.curves.items():
        if len(curve.rows) < 2:
            continue
        row = rows_of[run_id]
        last = curve.rows[-1]
        params = last[0] / (6 * last[1]) if row is None else study.runs.params[row]
        flops, tokens, loss = _binned(curve.rows).T
        why = excluded[run_id]
        result.append(ThinCurve(run_id, float(params), flops, tokens, loss, why))
    return sorted(result, key=lambda curve: (curve.params, curve.run_id))


def _binned(logged: np.ndarray) -> np.ndarray:
    if len(logged) <= CURVE_BINS:
        return logged
    log_flops = np.log(logged[:, 0])
    edges = np.linspace(log_flops.min(), log_flops.max(), CURVE_BINS + 1)
    bins = np.clip(np.digitize(log_flops, edges) - 1, 0, CURVE_BINS - 1)
    return np.array([logged[bins == i].mean(axis=0) for i in np.unique(bins)])


def curves(study: Study) -> Chart:
    """The figure, absent where only final losses are known."""
    chart = Chart(
        "curves",
        "Loss during training",
        "One line a run, lighter for a larger model; each line is the mean loss in equal steps of "
        "log compute. Dotted grey: runs excluded. Both axes are logarithmic.",
    )
    found, labels = training_curves(study), axis_labels(study)
    few = None if found else "the runs were given as final losses only"
    if absent := study.no_runs or few:
        return replace(chart, absent=absent)
    sizes = [curve.params for curve in found]
    shade = run_axis(study, "params", sizes)
    lines = [
        _curve(c, study.title(c.run_id), place)
        for c, place in zip(found, shade.place(sizes), strict=True)
    ]
    inks = shade.place(study.runs.params[study.drawn])
    points = run_points(study, "flops", "loss", ink=inks)
    flops = axis(labels.flops, "flops", *(curve.flops for curve in found))
    label = f"loss during training ({labels.loss_unit})"
    loss = axis(label, "loss", *(curve.loss for curve in found))
    return replace(chart, panels=(Panel(flops, loss, (*lines, points)),), shade=shade)


def _curve(curve: ThinCurve, title: str, shade: float) -> Line:
    out = [f"excluded: {curve.excluded}"] if curve.excluded else []
    heading = said(title, "during training", *out, f"N {count(curve.params)}")
    text = [f"D {count(tokens)}" for tokens in curve.tokens]
    line = Line(curve.flops, curve.loss, shade, None, "solid", 1.3, 0.8, None, heading, text)
    return replace(line, ink="faint", dash="dot") if curve.excluded else line
