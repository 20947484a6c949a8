"""The figures in print: PNG and SVG by matplotlib's object interface, from the scene of scene.py.

Nothing here touches matplotlib's global state for longer than one drawing, and the same scene gives
the same bytes of SVG.
"""

import io
from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from scaling.report.chart_figure import draw_chart
from scaling.report.ink import (
    INK,
    SOFT,
    STYLE,
    array,
    bars,
    budget_name,
    log_counts,
    log_flops,
    look,
    palette,
    select,
    xy,
)

LAW_COLORS = {"isoflop": "#0072b2", "parametric": "#d55e00", "envelope": "#007a5a"}
LAW_DASHES = {"isoflop": "-", "parametric": "--", "envelope": "-."}
# The fit compared with: a thin line of another hue.
LAW_COLORS |= {"isoflop-other": "#7b4ba0", "parametric-other": "#b8860b", "envelope-other": "#555"}
LAW_DASHES |= {f"{law}-other": dash for law, dash in tuple(LAW_DASHES.items())}


SUFFIXES = ("png", "svg")


def draw(key: str, scene: dict[str, Any]) -> dict[str, bytes]:
    """Figure `key` of `scene` as the bytes of its files, by suffix; png has 160 dots an inch."""
    files = {}
    charts = {chart["key"]: chart for chart in scene["charts"]}
    with mpl.rc_context(STYLE):
        figure = draw_chart(charts[key]) if key in charts else _DRAWINGS[key](scene)
        FigureCanvasAgg(figure)
        for suffix in SUFFIXES:
            content = io.BytesIO()
            metadata = {"Date": None} if suffix == "svg" else None
            figure.savefig(content, format=suffix, dpi=160, metadata=metadata)
            figure.set_layout_engine("none")  # the second file keeps the layout of the first
            files[suffix] = content.getvalue()
    return files


def _valleys(scene: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.2, 5.2))
    axes = figure.subplots()
    points, seeds = scene["points"], scene["seeds"]
    for i in sorted(set(points["budget"])):
        style = look(scene, i)
        here = select(points, i)
        axes.plot(*xy(points, here), ls="", ms=6, label=budget_name(scene, i), **style)
        axes.plot(*xy(seeds, select(seeds, i)), ls="", ms=4, alpha=0.4, **style)
    for valley in scene["valleys"]:
        if valley["curve"] is None:
            continue
        color = look(scene, scene["budgets"].index(valley["flops"]))["color"]
        axes.plot(valley["curve"]["params"], valley["curve"]["loss"], color=color, lw=1.6)
        axes.errorbar(
            [valley["n_opt"]],
            [valley["loss"]],
            xerr=bars([valley["n_opt"]], [valley["n_interval"]]),
            fmt="D",
            ms=7,
            mfc="none",
            mec=INK,
            ecolor=INK,
            capsize=3,
            zorder=5,
        )
    log_counts(axes, "x", scene["axes"]["params"])
    axes.set_ylabel(scene["axes"]["loss"])
    figure.legend(
        title="budget; diamond: vertex with 90% interval", loc="outside lower center", ncols=4
    )
    return figure


def _allocation(scene: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9.6, 4.4))
    panels = figure.subplots(1, 2)
    for axes, key, value in zip(panels, ("n", "d"), ("n_opt", "d_opt"), strict=True):
        for law, found in (scene["laws"] | scene["others"]).items():
            if found["line"]:
                _law_line(axes, law, found, key)
        shown = [v for v in scene["valleys"] if v["curve"] and v[value]]
        if shown:
            heights = [v[value] for v in shown]
            spread = bars(heights, [v[f"{key}_interval"] for v in shown])
            axes.errorbar(
                [v["flops"] for v in shown],
                heights,
                yerr=spread,
                fmt="D",
                ms=5,
                color=INK,
                capsize=3,
                zorder=5,
                label="vertices of valleys",
            )
        log_flops(axes, scene["axes"]["flops"])
    log_counts(panels[0], "y", scene["axes"]["params_opt"])
    log_counts(panels[1], "y", scene["axes"]["tokens_opt"])
    panels[0].legend()
    return figure


def _law_line(axes: Axes, law: str, found: dict[str, Any], key: str) -> None:
    line, (low, high) = found["line"], found["range"]
    flops = array(line["flops"])
    middle = array(line[key])
    inside = (flops >= low * 0.999) & (flops <= high * 1.001)
    color = LAW_COLORS[law]
    lower, upper = array(line[f"{key}_low"]), array(line[f"{key}_high"])
    axes.fill_between(flops, lower, upper, color=color, alpha=0.15, lw=0)
    axes.plot(flops, middle, color=color, lw=1.2, ls=":", alpha=0.7)
    axes.plot(
        flops[inside], middle[inside], color=color, lw=2, ls=LAW_DASHES[law], label=found["name"]
    )


def _surface(scene: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.2, 5.2))
    axes = figure.subplots()
    for contour in scene["surface"]["lines"]:
        for path in contour["paths"]:
            axes.plot(path["flops"], path["params"], color="#9aa0ab", lw=0.8)
            if path["labelled"]:
                axes.annotate(
                    f"{contour['loss']:g}",
                    (path["flops"][-1], path["params"][-1]),
                    xytext=(3, 0),
                    textcoords="offset points",
                    fontsize=7.5,
                    color=SOFT,
                    va="center",
                )
    law = scene["laws"]["parametric"]
    flops = array(law["line"]["flops"])
    inside = (flops >= law["range"][0] * 0.999) & (flops <= law["range"][1] * 1.001)
    frontier = array(law["line"]["n"])[inside]
    axes.plot(
        flops[inside],
        frontier,
        color=LAW_COLORS["parametric"],
        lw=3,
        ls="--",
        label="efficient frontier",
    )
    points = scene["points"]
    drawn = axes.scatter(
        points["flops"],
        points["params"],
        c=points["loss"],
        cmap=palette(),
        s=34,
        edgecolors="white",
        linewidths=0.6,
        zorder=4,
        label="runs",
    )
    figure.colorbar(drawn, ax=axes, label=scene["axes"]["loss"])
    log_flops(axes, scene["axes"]["flops"])
    log_counts(axes, "y", scene["axes"]["params"])
    axes.legend(loc="upper left")
    return figure


def _residuals(scene: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.2, 4.6))
    axes = figure.subplots()
    points = scene["points"]
    percent = 100 * np.expm1(array(points["residual"]))
    flops = array(points["flops"])
    half = (flops.max() / flops.min()) ** 0.04  # of the bar of a mean
    axes.axhline(0, color=SOFT, lw=1)
    for i in sorted(set(points["budget"])):
        here = select(points, i)
        axes.plot(
            flops[here], percent[here], ls="", ms=6, label=budget_name(scene, i), **look(scene, i)
        )
        if i >= 0:
            middle = np.exp(np.log(flops[here]).mean())
            axes.plot([middle / half, middle * half], [percent[here].mean()] * 2, color=INK, lw=1.8)
    log_flops(axes, scene["axes"]["flops"])
    axes.set_ylabel("observed / fitted loss − 1 (%)")
    figure.legend(title="budget; bar: its mean", loc="outside lower center", ncols=4)
    return figure


def _curves(scene: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(7.2, 4.8))
    axes = figure.subplots()
    sizes = np.log10([curve["params"] for curve in scene["curves"]])
    norm = mpl.colors.LogNorm(10 ** sizes.min() / 1.0001, 10 ** sizes.max() * 1.0001)
    shades = palette()
    for curve in scene["curves"]:
        color = shades(norm(curve["params"]))
        axes.plot(curve["flops"], curve["loss"], color=color, lw=0.9, alpha=0.8)
    points = scene["points"]
    drawn = axes.scatter(
        points["flops"],
        points["loss"],
        c=points["params"],
        norm=norm,
        cmap=shades,
        s=34,
        edgecolors="white",
        linewidths=0.6,
        zorder=4,
    )
    bar = figure.colorbar(drawn, ax=axes, label=scene["axes"]["params"])
    log_counts(bar.ax, "y", scene["axes"]["params"])
    log_flops(axes, scene["axes"]["flops"])
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 2.5, 3, 4, 5, 6, 8)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:.3g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"loss during training ({scene['axes']['loss_unit']})")
    return figure


_DRAWINGS: dict[str, Callable[[dict[str, Any]], Figure]] = {
    "valleys": _valleys,
    "allocation": _allocation,
    "surface": _surface,
    "residuals": _residuals,
    "curves": _curves,
}
