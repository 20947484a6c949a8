"""Charts in print: PNG and SVG by matplotlib's object interface.

Nothing here touches matplotlib's global state for longer than one drawing, and the same chart gives
the same bytes of SVG.
"""

import io
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis as Scale
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter, NullLocator

from scaling.report.figures.chart import Axis, Band, Chart, Ends, Line, Panel, Points, Values
from scaling.report.figures.style import INKS, LOOKS, SHADES, SYMBOLS, Ink, Properties

SUFFIXES = ("png", "svg")
_POINTS_PER_PIXEL = 0.68
_DASHES = {"solid": "-", "dash": "--", "dashdot": "-.", "dot": ":"}
_STYLE = Path(__file__).parents[1] / "static" / "print.mplstyle"


def draw(chart: Chart) -> dict[str, bytes]:
    """The bytes of the chart's files, by suffix; png has 160 dots an inch."""
    files = {}
    with mpl.rc_context(fname=_STYLE):
        figure = _figure(chart)
        FigureCanvasAgg(figure)
        for suffix in SUFFIXES:
            content = io.BytesIO()
            metadata = {"Date": None} if suffix == "svg" else None
            figure.savefig(content, format=suffix, dpi=160, metadata=metadata)
            figure.set_layout_engine("none")  # the second file keeps the layout of the first
            files[suffix] = content.getvalue()
    return files


def _figure(chart: Chart) -> Figure:
    figure = Figure(figsize=(7.2, 5.0) if len(chart.panels) == 1 else (9.6, 4.6))
    all_axes = figure.subplots(1, len(chart.panels), squeeze=False)[0]
    for axes, panel in zip(all_axes, chart.panels, strict=True):
        _panel(axes, panel)
    if chart.shade:
        bar = figure.colorbar(mpl.cm.ScalarMappable(cmap=_palette()), ax=all_axes[-1])
        values, texts = zip(*chart.shade.ticks(5), strict=True)
        _label(bar.ax.yaxis, chart.shade.label, chart.shade.place(values), texts)
    handles, names = all_axes[0].get_legend_handles_labels()
    if handles:
        columns = 4 if chart.legend or len(chart.panels) > 1 else 2
        style: Properties = {"title": chart.legend, "ncols": columns}
        figure.legend(handles, names, loc="outside lower center", **style)
    return figure


def _panel(axes: Axes, panel: Panel) -> None:
    for order, series in enumerate(panel.series, start=3):
        match series:
            case Points():
                _points(axes, series, order)
            case Line():
                dash, width = _DASHES[series.dash], 0.8 * series.width
                style: Properties = {"ls": dash, "lw": width, "alpha": series.opacity}
                style |= {"color": _color(series.ink), "label": series.name, "zorder": order}
                axes.plot(_array(series.x), _array(series.y), **style)
            case Band():
                low, high = _array(series.low), _array(series.high)
                color = _color(series.ink)
                axes.fill_between(_array(series.x), low, high, color=color, alpha=0.15, lw=0)
    for x, y, text in panel.notes:
        offset: Properties = {"xytext": (3, 0), "textcoords": "offset points"}
        axes.annotate(
            text, (x, y), fontsize=7.5, color=INKS["soft"][0], va="center", zorder=9, **offset
        )
    for scale, stated in ((axes.xaxis, panel.x), (axes.yaxis, panel.y)):
        if stated.log:
            (axes.set_xscale if scale is axes.xaxis else axes.set_yscale)("log")
            values, texts = zip(*_ticks(stated), strict=True)
            _label(scale, stated.label, values, texts)
        else:
            scale.set_label_text(stated.label)
    if panel.y.kind == "percent":
        axes.axhline(0, color=INKS["soft"][0], lw=1, zorder=1)


def _ticks(stated: Axis) -> list[tuple[float, str]]:
    """Those of the axis, and the ones just beyond, since a picture has margins."""
    return Axis(stated.label, stated.kind, stated.low / 1.15, stated.high * 1.15).ticks()


def _points(axes: Axes, points: Points, order: int) -> None:
    look = LOOKS[points.look]
    marker = (look.symbol or SYMBOLS[points.symbol % len(SYMBOLS)])[0]
    size = look.size * _POINTS_PER_PIXEL
    x, y = _array(points.x), _array(points.y)
    style: Properties = {"zorder": order, "label": points.name, "alpha": look.opacity}
    if isinstance(points.ink, tuple):
        colors = _palette()(np.array(points.ink))
        axes.scatter(
            x, y, s=size**2, c=colors, marker=marker, edgecolors="white", linewidths=0.6, **style
        )
        return
    color = _color(points.ink)
    style |= {"mfc": "none", "mew": 1.6} if look.outline else {"mew": 0.6}
    style |= {"mec": color if look.outline else "white", "color": color, "ms": size}
    spread = (_bars(x, points.x_ends), _bars(y, points.y_ends))
    if any(bar is not None for bar in spread):
        axes.errorbar(
            x, y, xerr=spread[0], yerr=spread[1], fmt=marker, ecolor=color, capsize=3, **style
        )
    else:
        axes.plot(x, y, ls="", marker=marker, **style)


def _bars(middle: np.ndarray, ends: tuple[Ends | None, ...] | None) -> np.ndarray | None:
    """Distances to both ends of intervals that need not hold the estimate, as errorbar takes."""
    if ends is None:
        return None
    low, high = np.array([end or (m, m) for m, end in zip(middle, ends, strict=True)]).T
    return np.maximum(0, [middle - low, high - middle])


def _label(scale: Scale, label: str, values: Any, texts: Any) -> None:
    scale.set_major_locator(FixedLocator(list(values)))
    scale.set_major_formatter(FixedFormatter(list(texts)))
    scale.set_minor_locator(NullLocator())
    scale.set_minor_formatter(NullFormatter())
    scale.set_label_text(label)


def _color(ink: Ink) -> Any:
    return INKS[ink][0] if isinstance(ink, str) else _palette()(float(ink))


def _palette() -> Any:
    return mpl.colors.ListedColormap(mpl.colormaps["viridis"](np.linspace(*SHADES[0], 256)))


def _array(values: Values) -> np.ndarray:
    """Floats with nan for None."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)
