"""The pictures of the laws beside the headline, as plain arrays: one shape of chart for them all.

A chart has an x and a y with their ticks, series of points, and lines. Both axes are logarithmic.
What varies from run to run beyond them is a shade, on a logarithmic scale of its own. A law that
was refused, or was not asked for, has no chart. Laws: scaling/fit/further.py and envelope.py.
"""

from typing import Any

import numpy as np

from scaling.fit.observations import Observations
from scaling.fit.over_training import OverTraining
from scaling.report import chart
from scaling.report.chart import Chart, Mark, Series
from scaling.report.numbers import count, point, power_of_ten
from scaling.report.wording import Axes, stands

KEYS = (
    *("envelope", "kaplan_size", "kaplan_data", "kaplan_compute", "over_training"),
    *("learning_curve", "lr", "batch"),
)
"""Every chart that there may be: the names of its files."""

_POINTS = 60  # of a line
_LEVELS = 5  # lines of the over-training law
_KAPLAN = {
    "L_N": ("kaplan_size", "params", "N_c", "N", "size"),
    "L_D": ("kaplan_data", "tokens", "D_c", "D", "data"),
    "L_C": ("kaplan_compute", "flops", "C_c", "C", "compute"),
}
_TUNED = {
    "lr": ("peak learning rate", "params"),
    "batch": ("batch size ({token}s)", "tokens"),
}


def charts(document: dict[str, Any], observations: Observations, axes: Axes) -> list[Chart]:
    """The charts of the laws that stand, in the order of the report."""
    laws = {k: law for k, law in (document.get("laws") or {}).items() if stands(law)}
    if not len(observations.loss):
        return []
    found = []
    if "envelope" in laws:
        found.append(_envelope(laws["envelope"], observations, axes))
    if "kaplan" in laws:
        found += [
            _kaplan(key, laws["kaplan"][key], observations, axes)
            for key in _KAPLAN
            if stands(laws["kaplan"].get(key))
        ]
    if "over_training" in laws:
        found.append(_over_training(laws["over_training"], observations, axes))
    if "learning_curve" in laws:
        found.append(_learning_curve(laws["learning_curve"], observations, axes))
    return found + [_tuned(key, laws[key], axes) for key in _TUNED if key in laws]


def _kaplan(key: str, law: dict[str, Any], observations: Observations, axes: Axes) -> Chart:
    name, variable, scale, symbol, word = _KAPLAN[key]
    chosen = set(zip(law["runs"], law["tokens"], strict=True))
    points = zip(observations.run_id, observations.tokens, strict=True)
    used = np.array([run in chosen for run in points])
    x = getattr(observations, variable)
    reach = _reach(x[used])
    lines = []
    for form, dash, ink, words in (
        ("power", "dash", "first", f"without floor, ({scale}/{symbol})^α"),
        ("floor", "solid", "second", f"with floor, E + ({scale}/{symbol})^α"),
    ):
        loss = _power_law(law["forms"].get(form), scale, reach)
        if loss is not None:
            better = " (preferred)" if form == law["form"] else ""
            lines.append(chart.line(words + better, reach, loss, ink=ink, dash=dash))
    others = np.flatnonzero(~used)
    return chart.chart(
        name,
        (
            f"Kaplan's L({symbol}): loss against {word}",
            f"The law goes through the dark points: {law['rule']}. In grey the other runs. As for "
            f"a floor: {law['comparison']}.",
        ),
        (getattr(axes, variable), variable),
        (axes.loss, "loss"),
        [
            chart.runs("other runs", observations, others, x, "faint"),
            chart.runs("runs of the law", observations, np.flatnonzero(used), x, "run"),
        ],
        lines,
    )


def _over_training(law: dict[str, Any], observations: Observations, axes: Axes) -> Chart:
    fitted = OverTraining(
        E=point(law["E"]) or 0.0,
        **{name: point(law[name]) for name in ("a_prime", "b_prime", "eta")},
    )
    ratio = observations.tokens / observations.params
    levels = [float(f"{m:.2g}") for m in np.geomspace(ratio.min(), ratio.max(), _LEVELS)]
    half = 0.5 * np.log(ratio.max() / ratio.min()) / (_LEVELS - 1) + 0.01
    lines: list[Series] = []
    for level in levels:
        near = observations.flops[np.abs(np.log(ratio / level)) <= half]
        if len(near) > 1 and near.max() > near.min():
            name = None if lines else "the law, at the M of its colour"
            reach = _reach(near)
            lines.append(chart.line(name, reach, fitted.predict_loss(reach, level), shade=level))
    return chart.chart(
        "over_training",
        (
            "Over-training: loss against compute at each ratio of tokens to parameters",
            "One colour a ratio M = D/N. Each line is the law at the M of its colour "
            f"({', '.join(f'{level:g}' for level in levels)}), where runs of about that M lie. A "
            "run off the line of its colour is what the form misses.",
        ),
        (axes.flops, "flops"),
        (axes.loss, "loss"),
        [chart.runs("runs", observations, np.arange(len(ratio)), observations.flops, "run", ratio)],
        lines,
        (f"M = D/N, {axes.token}s per parameter", "ratio"),
    )


def _learning_curve(law: dict[str, Any], observations: Observations, axes: Axes) -> Chart:
    lines: list[Series] = []
    used = np.zeros(len(observations), dtype=bool)
    for size in law["sizes"]:
        if not stands(size):
            continue
        for tokens in size["tokens"]:
            here = (observations.params == size["params"]) & (observations.tokens == tokens)
            rows = np.flatnonzero(here)
            used[rows[np.argmin(observations.loss[rows])]] = True
        reach = _reach(np.array(size["tokens"]))
        loss = _power_law(size["forms"][size["form"]], "D_c", reach)
        if loss is not None:
            name = None if lines else "the curve of a size"
            lines.append(chart.line(name, reach, loss, shade=size["params"]))
    rows = np.flatnonzero(used)
    params = observations.params
    return chart.chart(
        "learning_curve",
        (
            "Learning curves: loss of each size against data",
            "One colour a size. Each line is that size's own law, with a floor where the runs show "
            "one; of runs of one size and amount of data the best counts.",
        ),
        (axes.tokens, "tokens"),
        (axes.loss, "loss"),
        [chart.runs("runs", observations, rows, observations.tokens, "run", params)],
        lines,
        (axes.params, "params"),
    )


def _tuned(key: str, law: dict[str, Any], axes: Axes) -> Chart:
    label, shaded = _TUNED[key]
    lines: list[Series] = []
    runs: list[Mark] = []
    shades: list[float] = []
    marks: list[Mark] = []
    foretold: list[Mark] = []
    for cell in law["cells"]:
        if cell["value"] is None:
            continue
        tried, losses = np.array(cell["tried"]), np.array(cell["losses"])
        name = None if lines else "runs of one size and amount of data"
        lines.append(chart.line(name, tried, losses, shade=cell[shaded]))
        where = f"N {count(cell['params'])}, D {count(cell['tokens'])}"
        runs += [
            (x, loss, f"{where}<br>{x:.3g}: loss {loss:.4f}")
            for x, loss in zip(tried, losses, strict=True)
        ]
        shades += [cell[shaded]] * len(tried)
        said = point(law["c"]) * np.prod(
            [
                cell[of] ** point(law[exponent])
                for exponent, of in (("p", "params"), ("q", "tokens"))
                if exponent in law
            ]
        )
        for found, value, what in ((marks, cell["value"], "best"), (foretold, said, "the law")):
            at = np.interp(np.log(value), np.log(tried), losses)
            found.append((value, at, f"{where}: {what} {value:.3g}"))
    return chart.chart(
        key,
        (
            f"Loss against {label.split(' (')[0]}, and the best one",
            "Each line is one size and amount of data, the best of the other settings at each "
            "value tried. Diamond: its own best value, by a parabola. Cross: the best value by "
            "the law. Lines whose least loss lies at an end of the values tried are left out.",
        ),
        (label.format(token=axes.token), "value"),
        (axes.loss, "loss"),
        [
            chart.marks(None, runs, "run", shades),
            chart.marks("best of the cell", marks, "vertex"),
            chart.marks("best by the law", foretold, "law"),
        ],
        lines,
        (getattr(axes, shaded), shaded),
    )


def _envelope(law: dict[str, Any], observations: Observations, axes: Axes) -> Chart:
    flops = np.array([crossing["flops"] for crossing in law["crossings"]])
    sizes = np.array([crossing["n_opt"] for crossing in law["crossings"]])
    every, reach = np.arange(len(observations)), _reach(flops)
    lines = []
    if (k := point(law["n_coef"])) is not None and (a := point(law["a"])) is not None:
        lines.append(chart.line("N* = k C^a", reach, k * reach**a, ink="envelope"))
    marks = [
        (c, n, f"C {power_of_ten(c)} FLOP, N {count(n)}") for c, n in zip(flops, sizes, strict=True)
    ]
    return chart.chart(
        "envelope",
        (
            "Envelope: where the best curve passes from one size to the next",
            "Diamond: the compute at which the lowest training curve becomes that of the next "
            "size, drawn between the two sizes. Grey: the runs, where they ended. The line is the "
            "law.",
        ),
        (axes.flops, "flops"),
        (axes.params, "params"),
        [
            chart.runs(
                "ends of runs", observations, every, observations.flops, "faint", y="params"
            ),
            chart.marks("passes between sizes", marks, "vertex"),
        ],
        lines,
    )


def _power_law(form: dict[str, Any] | None, scale: str, x: np.ndarray) -> np.ndarray | None:
    """E + (X_c / X)^alpha of a form in fit.json; None where its scale is beyond all floats."""
    if form is None:
        return None
    alpha, level = point(form["alpha"]), point(form[scale])
    if alpha is None or level is None:
        return None
    return (point(form.get("E")) or 0.0) + np.exp(alpha * (np.log(level) - np.log(x)))


def _reach(x: np.ndarray) -> np.ndarray:
    return np.geomspace(x.min(), x.max(), _POINTS)
