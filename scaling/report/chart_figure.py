"""A chart of chart.py in print, by matplotlib."""

from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from scaling.report.ink import INK, SOFT, palette

_INKS = {"first": "#0072b2", "second": "#d55e00", "envelope": "#007a5a"}  # as in page.css
_DASHES = {"solid": "-", "dash": "--"}
_MARKS = {"vertex": ("D", INK), "law": ("x", _INKS["second"])}


def draw_chart(chart: dict[str, Any]) -> Figure:
    """The chart as a figure."""
    figure = Figure(figsize=(7.2, 4.8))
    axes = figure.subplots()
    shade = chart["shade"]
    norm = mpl.colors.LogNorm(shade["low"] / 1.0001, shade["high"] * 1.0001) if shade else None
    for line in chart["lines"]:
        color = palette()(norm(line["shade"])) if norm else _INKS[line["ink"]]
        dash = _DASHES[line["dash"]]
        axes.plot(line["x"], line["y"], color=color, ls=dash, lw=1.5, label=line["name"])
    for series in chart["points"]:
        _points(axes, series, norm)
    axes.set_xscale("log")
    axes.set_yscale("log")
    _label(axes.xaxis, chart["x"])
    _label(axes.yaxis, chart["y"])
    if norm:
        scale = mpl.cm.ScalarMappable(norm, palette())
        _label(figure.colorbar(scale, ax=axes).ax.yaxis, shade)
    if axes.get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=2)
    return figure


def _points(axes: Axes, series: dict[str, Any], norm: Any) -> None:
    x, y, name = series["x"], series["y"], series["name"]
    if series["look"] == "faint":
        axes.plot(x, y, "o", color="#b9bec8", ms=4, zorder=1, label=name)
    elif series["look"] in _MARKS:
        marker, color = _MARKS[series["look"]]
        style: dict[str, Any] = {"mfc": "none", "mec": color, "ms": 7, "mew": 1.6, "zorder": 5}
        axes.plot(x, y, marker, ls="", label=name, **style)
    else:
        colors = palette()(norm(np.array(series["shade"]))) if norm else SOFT
        ring: dict[str, Any] = {"edgecolors": "white", "linewidths": 0.6, "zorder": 4}
        axes.scatter(x, y, s=30, label=name, c=colors, **ring)


def _label(axis: Axis, stated: dict[str, Any]) -> None:
    axis.set_major_locator(FixedLocator([value for value, _ in stated["ticks"]]))
    axis.set_major_formatter(FixedFormatter([text for _, text in stated["ticks"]]))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(stated["label"])
