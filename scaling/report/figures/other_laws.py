"""The figures of the laws beside the headline: envelope, Kaplan's, over-training, tuning.

A law that was refused, or was not asked for, has no figure.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from common.numbers import count, power_of_ten
from scaling.fit.other_laws import OverTraining
from scaling.fit.results.laws import EnvelopeLaw
from scaling.fit.results.other_laws import (
    KaplanLaws,
    KaplanOneVariable,
    LearningCurveLaw,
    OverTrainingLaw,
    PowerForm,
    TunedLaw,
)
from scaling.report.figures.chart import Chart, Kind, Line, Panel, Points, axis, said
from scaling.report.figures.data import run_axis, run_points
from scaling.report.study import Study
from scaling.report.text.labels import AxisLabels, axis_labels, has_numbers

_POINTS = 60  # of a line
_LEVELS = 5  # lines of the over-training law
_KAPLAN: dict[str, tuple[str, Kind, str, str, str]] = {
    "L_N": ("kaplan_size", "params", "N_c", "N", "size"),
    "L_D": ("kaplan_data", "tokens", "D_c", "D", "data"),
    "L_C": ("kaplan_compute", "flops", "C_c", "C", "compute"),
}
_TUNED: dict[str, tuple[str, Kind]] = {
    "lr": ("peak learning rate", "params"),
    "batch": ("batch size ({token}s)", "tokens"),
}


def other_charts(study: Study) -> Iterator[Chart]:
    """The figures of the laws that stand, in the order of the report.

    Optima of rates or batches are shown where no law goes through them, too.
    """
    for name, law in study.document.laws.items():
        match law:
            case TunedLaw() if any(cell.value is not None for cell in law.cells):
                yield _tuned(name, law, axis_labels(study))  # its runs stand in fit.json
            case _ if study.no_runs or not has_numbers(law):
                continue
            case EnvelopeLaw():
                yield _envelope(law, study)
            case KaplanLaws():
                for key in _KAPLAN:
                    if has_numbers(one := getattr(law, key)):
                        yield _kaplan(key, one, study)
            case OverTrainingLaw():
                yield _over_training(law, study)
            case LearningCurveLaw():
                yield _learning_curve(law, study)


def _envelope(law: EnvelopeLaw, study: Study) -> Chart:
    flops = np.array([crossing.flops for crossing in law.crossings])
    sizes = np.array([crossing.n_opt for crossing in law.crossings])
    texts = [f"C {power_of_ten(c)} FLOP<br>N {count(n)}" for c, n in zip(flops, sizes, strict=True)]
    ends = run_points(study, "flops", "params", look="faint", ink="faint", name="ends of runs")
    lines = []
    if law.n_coef.value is not None and law.a.value is not None:
        reach = _reach(flops)
        n = law.n_coef.value * reach**law.a.value
        lines.append(Line(reach, n, "envelope", "N* = k C^a"))
    marks = Points(flops, sizes, texts, "minimum", "ink", "passes between sizes")
    axes = run_axis(study, "flops", flops), run_axis(study, "params", sizes)
    return Chart(
        "envelope",
        "Envelope: where the best curve passes from one size to the next",
        "Diamond: the compute at which the lowest training curve becomes that of the next size, "
        "drawn between the two sizes. Grey: the runs, where they ended. The line is the law.",
        (Panel(*axes, (ends, *lines, marks)),),
    )


def _kaplan(key: str, law: KaplanOneVariable, study: Study) -> Chart:
    name, kind, scale, symbol, word = _KAPLAN[key]
    runs, chosen = study.runs, set(zip(law.runs, law.tokens, strict=True))
    used = np.array([run in chosen for run in zip(runs.run_id, runs.tokens, strict=True)])
    reach, forms = _reach(getattr(runs, kind)[used]), law.forms
    assert forms is not None
    lines = []
    for form, parts, ink, dash, words in (
        ("power", forms.power, "isoflop", "dash", f"({scale}/{symbol})^α"),
        ("floor", forms.floor, "parametric", "solid", f"E + ({scale}/{symbol})^α"),
    ):
        loss = _power_law(parts, scale, reach)
        if loss is not None:
            preferred = " (preferred)" if form == law.form else ""
            style: Any = (ink, words + preferred, dash)
            lines.append(Line(reach, loss, *style))
    others = run_points(study, kind, "loss", ~used, "faint", "faint", "other runs")
    points = run_points(study, kind, "loss", used, name="runs of the law")
    axes, faint = (run_axis(study, kind), run_axis(study, "loss")), [others] if others.text else []
    return Chart(
        name,
        f"Kaplan's L({symbol}): loss against {word}",
        f"The law goes through the dark points: {law.rule}. In grey the other runs. Irreducible "
        f"loss E: {law.comparison}.",
        (Panel(*axes, (*faint, *lines, points)),),
    )


def _over_training(law: OverTrainingLaw, study: Study) -> Chart:
    runs, token = study.runs, axis_labels(study).token
    fitted = OverTraining.of(law)
    ratio = runs.tokens / runs.params
    shade = axis(f"M = D/N, {token}s per parameter", "ratio", ratio)
    levels = [float(f"{m:.2g}") for m in np.geomspace(ratio.min(), ratio.max(), _LEVELS)]
    half = 0.5 * np.log(ratio.max() / ratio.min()) / (_LEVELS - 1) + 0.01
    lines: list[Line] = []
    for level, place in zip(levels, shade.place(levels), strict=True):
        near = runs.flops[np.abs(np.log(ratio / level)) <= half]
        if len(near) > 1 and near.max() > near.min():
            name = None if lines else "the law, at the M of its colour"
            reach = _reach(near)
            lines.append(Line(reach, fitted.predict_loss(reach, level), place, name))
    points = run_points(study, "flops", "loss", ink=shade.place(ratio[study.drawn]), name="runs")
    axes = run_axis(study, "flops"), run_axis(study, "loss")
    return Chart(
        "over_training",
        "Over-training: loss against compute at each ratio of tokens to parameters",
        "One colour a ratio M = D/N. Each line is the law at the M of its colour "
        f"({', '.join(f'{level:g}' for level in levels)}), where runs of about that M lie. A "
        "distance from the line of its colour is the residual of a run.",
        (Panel(*axes, (*lines, points)),),
        shade,
    )


def _learning_curve(law: LearningCurveLaw, study: Study) -> Chart:
    runs, standing = study.runs, [size for size in law.sizes if has_numbers(size)]
    used = []
    for size in standing:
        for tokens in size.tokens:
            rows = np.flatnonzero((runs.params == size.params) & (runs.tokens == tokens))
            used.append(int(rows[np.argmin(runs.loss[rows])]))
    chosen = replace(study, runs=runs.take(np.array(sorted(set(used)))))
    shade = run_axis(chosen, "params")
    lines: list[Line] = []
    for size in standing:
        reach = _reach(np.array(size.tokens))
        loss = _power_law(getattr(size.forms, size.form or "power"), "D_c", reach)
        if loss is not None:
            name = None if lines else "the curve of a size"
            lines.append(Line(reach, loss, shade.place([size.params])[0], name))
    shades = shade.place(chosen.runs.params[chosen.drawn])
    points = run_points(chosen, "tokens", "loss", ink=shades, name="runs")
    axes = run_axis(chosen, "tokens"), run_axis(chosen, "loss")
    return Chart(
        "learning_curve",
        "Learning curves: loss of each size against data",
        "One colour a size. Each line is that size's own law, with an irreducible loss E where the "
        "runs show one; of runs of one size and amount of data the best counts.",
        (Panel(*axes, (*lines, points)),),
        shade,
    )


def _tuned(key: str, law: TunedLaw, labels: AxisLabels) -> Chart:
    label, shaded = _TUNED[key]
    cells = [cell for cell in law.cells if cell.value is not None]
    shade = axis(getattr(labels, shaded), shaded, [getattr(cell, shaded) for cell in cells])
    lines: list[Line] = []
    runs: list[Points] = []
    best: list[tuple[float, float, str]] = []
    by_law: list[tuple[float, float, str]] = []
    for cell in cells:
        assert cell.value is not None
        (place,) = shade.place([getattr(cell, shaded)])
        name = None if lines else "runs of one size and amount of data"
        lines.append(Line(cell.tried, cell.losses, place, name))
        where = f"N {count(cell.params)}, D {count(cell.tokens)}"
        pairs = zip(cell.tried, cell.losses, strict=True)
        texts = [said(where, f"{x:.3g}: loss {loss:.4f}") for x, loss in pairs]
        runs.append(Points(cell.tried, cell.losses, texts, "run", (place,) * len(texts)))
        stated = [(best, cell.value, "best")]
        if law.c.value is not None:
            p = law.p.value if law.p and law.p.value is not None else 0.0
            by = law.c.value * cell.params**p * cell.tokens ** (law.q.value or 0.0)
            stated.append((by_law, by, "the law"))
        for found, value, what in stated:
            at = float(np.interp(np.log(value), np.log(cell.tried), cell.losses))
            found.append((value, at, said(where, f"{what} {value:.3g}")))
    marks = [
        Points([x for x, _, _ in rows], [y for _, y, _ in rows], [t for _, _, t in rows], *style)
        for rows, style in (
            (best, ("minimum", "ink", "best of the cell")),
            (by_law, ("law", "parametric", "best by the law")),
        )
        if rows
    ]
    every = (*runs, *marks)
    panel = Panel(
        axis(label.format(token=labels.token), "value", *(points.x for points in every)),
        axis(labels.loss, "loss", *(points.y for points in every)),
        (*lines, *every),
    )
    return Chart(
        key,
        f"Loss against {label.split(' (')[0]}, and the best one",
        "Each line is one size and amount of data, the best of the other settings at each value "
        "tried. Diamond: its own best value, by a parabola. "
        + ("Cross: the best value by the law. " if by_law else "No law goes through them. ")
        + "Lines whose least loss lies at an end of the values tried are left out.",
        (panel,),
        shade,
    )


def _power_law(form: PowerForm | None, scale: str, x: np.ndarray) -> np.ndarray | None:
    """E + (X_c / X)^alpha; None where its scale is beyond all floats."""
    level = getattr(form, scale) if form else None
    if form is None or form.alpha.value is None or level is None or level.value is None:
        return None
    E = form.E.value if form.E and form.E.value is not None else 0.0
    return E + np.exp(form.alpha.value * (np.log(level.value) - np.log(x)))


def _reach(x: np.ndarray) -> np.ndarray:
    return np.geomspace(x.min(), x.max(), _POINTS)
