"""The figures of batches: steps against tokens to a loss, the critical batch, and L(N, S_min)."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from common.numbers import compact, count
from scaling.fit.results.critical_batch import CriticalBatchLaw, CriticalLevel, SizeAndStepsLaw
from scaling.fit.results.estimate import Estimate
from scaling.report.figures.chart import Chart, Line, Panel, Points, Series, axis, said
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels, has_numbers

_POINTS = 60  # of a line
_MOST_CURVES = 60  # drawn, so that a figure stays one


def batch_charts(study: Study) -> Iterator[Chart]:
    """Those of the laws of batches that stand, which hold what is drawn themselves."""
    for law in study.document.laws.values():
        match law:
            case CriticalBatchLaw() if has_numbers(law):
                yield _critical_batch(law, study)
            case SizeAndStepsLaw() if has_numbers(law):
                yield _size_and_steps(law, study)


def _critical_batch(law: CriticalBatchLaw, study: Study) -> Chart:
    labels = axis_labels(study)
    token = labels.token
    shade = axis(f"loss ({labels.loss_unit})", "loss", [level.loss for level in law.levels])
    return Chart(
        "critical_batch",
        "Critical batch: steps and tokens to a loss, and the batch between them",
        f"Left: in how many steps and {token}s runs of several batches reached one loss, one "
        "colour a loss; each line is (S/S_min - 1)(E/E_min - 1) = 1 of that loss and size. Right: "
        "B_crit = E_min/S_min of each of those losses by itself with its 90% interval, and the law "
        "B*/L^(1/alpha_B) through all; crosses are the gradient noise scale where it was logged.",
        (
            # A fit.json from before it held the steps has no points for the left.
            *((_hyperbolas(law, shade, token),) if any(one.steps for one in law.levels) else ()),
            _batches(law, shade, token, labels.loss_unit),
        ),
        shade,
    )


def _hyperbolas(law: CriticalBatchLaw, shade: Any, token: str) -> Panel:
    series: list[Series] = []
    steps: list[float] = []
    tokens: list[float] = []
    for level in law.levels:
        (ink,) = shade.place([level.loss])
        s, e = np.array(level.steps), np.array(level.steps) * np.array(level.batches)
        steps, tokens = [*steps, *s], [*tokens, *e]
        if level.S_min.value and level.B_crit.value:
            batch = np.geomspace(min(level.batches), max(level.batches), _POINTS)
            line = level.S_min.value * (1 + level.B_crit.value / batch)
            series.append(Line(line, line * batch, ink, width=1.5))
        where = f"N {count(level.params)}, loss {level.loss:.4f}"
        texts = [
            said(where, f"batch {count(b)} {token}s", f"{count(x)} steps, {count(y)} {token}s")
            for b, x, y in zip(level.batches, s, e, strict=True)
        ]
        series.append(Points(s, e, texts, "seed", (ink,) * len(texts)))
    x, y = axis("steps S", "tokens", steps), axis(f"{token}s E = B S", "tokens", tokens)
    return Panel(x, y, tuple(series))


def _batches(law: CriticalBatchLaw, shade: Any, token: str, unit: str) -> Panel:
    known = [level for level in law.levels if level.B_crit.value is not None]
    every = np.array([level.loss for level in law.levels])
    losses = np.array([level.loss for level in known])
    values = np.array([level.B_crit.value for level in known])
    ends = tuple(level.B_crit.ci90 for level in known)
    texts = [_said(level, token) for level in known]
    points = Points(losses, values, texts, "run", "ink", "B_crit of one loss", y_ends=ends)
    series: list[Series] = [points] if known else []
    drawn: list[Any] = [values, *(end for end in ends if end)]
    if law.B_star.value is not None and law.alpha_B.value is not None:
        reach = np.geomspace(every.min(), every.max(), _POINTS)
        line = law.B_star.value / reach ** (1 / law.alpha_B.value)
        series.insert(0, Line(reach, line, "parametric", "B*/L^(1/alpha_B)"))
        drawn.append(line)
    logged = [(level.loss, level.noise_scale) for level in law.levels if level.noise_scale]
    if logged:
        at, scale = zip(*logged, strict=True)
        told = [
            said(f"loss {x:.4f}", f"gradient noise scale {compact(y)} {token}s") for x, y in logged
        ]
        series.append(Points(at, scale, told, "law", "isoflop", "gradient noise scale"))
        drawn.append(np.array(scale))
    return Panel(
        axis(f"loss ({unit})", "loss", every),
        axis(f"critical batch ({token}s)", "tokens", *drawn),
        tuple(series),
    )


def _said(level: CriticalLevel, token: str) -> str:
    parts = ((level.B_crit, f"B_crit {{}} {token}s"), (level.S_min, "S_min {} steps"))
    lines = [f"loss {level.loss:.4f}", *(form.format(_range(of)) for of, form in parts)]
    return said(f"N {count(level.params)}", *lines)


def _range(of: Estimate) -> str:
    ends = f" ({compact(of.ci90[0])} to {compact(of.ci90[1])})" if of.ci90 else ""
    return compact(of.value) + ends


def _size_and_steps(law: SizeAndStepsLaw, study: Study) -> Chart:
    labels = axis_labels(study)
    shade = axis(labels.params, "params", [curve.params for curve in law.curves])
    series: list[Points | Line] = []
    for curve in _thinned(law.curves):
        (ink,) = shade.place([curve.params])
        where = f"N {count(curve.params)}, batch {count(curve.batch_tokens)} {labels.token}s"
        pairs = zip(curve.S_min, curve.losses, strict=True)
        texts = [said(where, f"S_min {count(s)}", f"loss {loss:.4f}") for s, loss in pairs]
        series.append(Points(curve.S_min, curve.losses, texts, "seed", (ink,) * len(texts)))
    constants = (law.N_c, law.alpha_N, law.S_c, law.alpha_S)
    N_c, alpha_N, S_c, alpha_S = (one.value or np.nan for one in constants)
    for size in sorted({curve.params for curve in law.curves}):
        mine = [s for curve in law.curves if curve.params == size for s in curve.S_min]
        reach = np.geomspace(min(mine), max(mine), _POINTS)
        loss = (N_c / size) ** alpha_N + (S_c / reach) ** alpha_S
        name = None if any(isinstance(one, Line) for one in series) else "the law, at that size"
        series.append(Line(reach, loss, shade.place([size])[0], name))
    whose = "Kaplan's" if law.critical_batch == "kaplan" else "of the law of the critical batch"
    return Chart(
        "size_and_steps",
        "L(N, S_min): loss against the least steps of each size",
        "One colour a size. S_min = S/(1 + B_crit(L)/B) is what a run's steps would be at a batch "
        f"far above the critical one, B_crit(L) {whose}; runs of one size and several batches fall "
        "on one line where that holds.",
        (
            Panel(
                axis("least steps S_min", "tokens", *(one.x for one in series)),
                axis(f"loss ({labels.loss_unit})", "loss", *(one.y for one in series)),
                tuple(series),
            ),
        ),
        shade,
    )


def _thinned(curves: Sequence[Any]) -> Sequence[Any]:
    return curves[:: max(1, -(-len(curves) // _MOST_CURVES))]
