"""Charts in print: PNG, SVG and PDF by matplotlib's object interface.

Nothing here touches matplotlib's global state for longer than one drawing, and the same chart gives
the same bytes of SVG and PDF. Fonts are in the files: as outlines in SVG, as TrueType in PDF.
"""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
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
_DASHES = {"solid": "-", "dash": "--", "dashdot": "-.", "dot": ":"}
_STYLE = Path(__file__).parents[1] / "static" / "print.mplstyle"
_METADATA = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}  # the same bytes at any time


@dataclass(frozen=True)
class Format:
    """What a figure is drawn for.

    single, double  inches (width, height) of a chart of one panel, and of two
    font            points of every text, and the legend has room of its own; None: 10 and 9
    scale           points of line and marker to a pixel of the page
    dpi             dots an inch of a PNG
    ticks           about so many on an axis
    columns         of the legend: of budgets, and of lines with longer names
    stacked         whether panels stand one above the other
    """

    single: tuple[float, float] = (7.2, 5.0)
    double: tuple[float, float] = (9.6, 4.6)
    font: float | None = None
    scale: float = 0.68
    dpi: int = 160
    ticks: int = 6
    columns: tuple[int, int] = (4, 2)
    narrow: bool = False


SCREEN = Format()
COLUMN = Format((3.25, 2.7), (3.25, 4.8), 8, 0.42, 300, 3, (2, 1), narrow=True)
PAGE = Format((6.75, 3.8), (6.75, 3.2), 8, 0.55, 300, 5)
"""One column and the full width of a page of two, as most venues have them, in 8 points."""


class Picture(Figure):
    """A figure that a notebook shows without pyplot, whose state is global."""

    def _repr_png_(self) -> bytes:
        content = io.BytesIO()
        self.savefig(content, format="png", dpi=110)
        return content.getvalue()


def draw(
    chart: Chart, suffixes: Sequence[str] = SUFFIXES, wanted: Format = SCREEN
) -> dict[str, bytes]:
    """The bytes of the chart's files, by suffix: png, svg or pdf."""
    files = {}
    # TrueType: its text can be searched, and some venues refuse type 3.
    with mpl.rc_context({"pdf.fonttype": 42}, _STYLE):
        figure = figure_of(chart, wanted)
        FigureCanvasAgg(figure)
        for suffix in suffixes:
            content = io.BytesIO()
            metadata = _METADATA.get(suffix)
            figure.savefig(content, format=suffix, dpi=wanted.dpi, metadata=metadata)
            figure.set_layout_engine("none")  # the second file keeps the layout of the first
            files[suffix] = content.getvalue()
    return files


def figure_of(chart: Chart, wanted: Format = SCREEN) -> Picture:
    """The chart as matplotlib's figure, whose sizes of text stay when the style is left."""
    count = len(chart.panels)
    sizes: Any = _sizes(wanted.font) if wanted.font else {}  # matplotlib's own type lists all keys
    with mpl.rc_context(fname=_STYLE), mpl.rc_context(sizes):
        figure = Picture(figsize=wanted.single if count == 1 else wanted.double)
        shape = (count, 1) if wanted.narrow else (1, count)
        all_axes = figure.subplots(*shape, squeeze=False).flat
        for axes, panel in zip(all_axes, chart.panels, strict=True):
            _panel(axes, panel, wanted)
        if chart.shade:
            bar = figure.colorbar(mpl.cm.ScalarMappable(cmap=_palette()), ax=all_axes[count - 1])
            values, texts = zip(*chart.shade.ticks(5), strict=True)
            _label(bar.ax.yaxis, chart.shade.label, chart.shade.place(values), texts)
        handles, names = all_axes[0].get_legend_handles_labels()
        if handles:
            columns = wanted.columns[not (chart.legend or (count > 1 and not wanted.narrow))]
            style: Properties = {"title": chart.legend, "ncols": columns}
            rows = math.ceil(len(names) / columns) + bool(chart.legend)
            width, height = figure.get_size_inches()
            figure.set_size_inches(width, height + rows * (wanted.font or 0) / 50)
            figure.legend(handles, names, loc="outside lower center", **style)
    return figure


def _sizes(font: float) -> Properties:
    """The style's entries of a figure whose every text has so many points."""
    texts = [f"{part}.labelsize" for part in ("axes", "xtick", "ytick")]
    texts += ["font.size", "legend.fontsize", "legend.title_fontsize"]
    thin = {"axes.linewidth": 0.5, "grid.linewidth": 0.5}
    tight = {"legend.columnspacing": 1.2, "legend.labelspacing": 0.25}
    return {**dict.fromkeys(texts, font), **thin, **tight}


def _panel(axes: Axes, panel: Panel, wanted: Format) -> None:
    for order, series in enumerate(panel.series, start=3):
        match series:
            case Points():
                _points(axes, series, order, wanted.scale)
            case Line():
                dash, width = _DASHES[series.dash], wanted.scale / 0.85 * series.width
                style: Properties = {"ls": dash, "lw": width, "alpha": series.opacity}
                style |= {"color": _color(series.ink), "label": series.name, "zorder": order}
                axes.plot(_array(series.x), _array(series.y), **style)
            case Band():
                low, high = _array(series.low), _array(series.high)
                color = _color(series.ink)
                axes.fill_between(_array(series.x), low, high, color=color, alpha=0.15, lw=0)
    for x, y, text in () if wanted.narrow else panel.notes:
        offset: Properties = {"xytext": (3, 0), "textcoords": "offset points"}
        axes.annotate(
            text,
            (x, y),
            fontsize=wanted.font or 7.5,
            color=INKS["soft"][0],
            va="center",
            zorder=9,
            **offset,
        )
    for scale, stated in ((axes.xaxis, panel.x), (axes.yaxis, panel.y)):
        if stated.log:
            (axes.set_xscale if scale is axes.xaxis else axes.set_yscale)("log")
            values, texts = zip(*_ticks(stated, wanted.ticks), strict=True)
            _label(scale, stated.label, values, texts)
        else:
            scale.set_label_text(stated.label)
    if panel.y.view is not None:
        axes.set_ylim(panel.y.view)
    if panel.y.kind == "percent":
        axes.axhline(0, color=INKS["soft"][0], lw=1, zorder=1)


def _ticks(stated: Axis, wanted: int) -> list[tuple[float, str]]:
    """Those of the axis, and the ones just beyond, since a picture has margins."""
    # Of a short axis less: else its ticks would be so few that one is left between the ends.
    beyond = min(1.15, 1.005 * (stated.high / stated.low) ** 0.05)
    low, high = stated.low / beyond, stated.high * beyond
    return Axis(stated.label, stated.kind, low, high).ticks(wanted)


def _points(axes: Axes, points: Points, order: int, scale: float) -> None:
    look = LOOKS[points.look]
    marker = (look.symbol or SYMBOLS[points.symbol % len(SYMBOLS)])[0]
    size = look.size * scale
    x, y = _array(points.x), _array(points.y)
    style: Properties = {"zorder": order, "label": points.name, "alpha": look.opacity}
    if isinstance(points.ink, tuple):
        colors = _palette()(np.array(points.ink))
        axes.scatter(
            x, y, s=size**2, c=colors, marker=marker, edgecolors="white", linewidths=0.6, **style
        )
        return
    color = _color(points.ink)
    style |= {"mfc": "none", "mew": 2.35 * scale} if look.outline else {"mew": 0.6}
    style |= {"mec": color if look.outline else "white", "color": color, "ms": size}
    spread = (_bars(x, points.x_ends), _bars(y, points.y_ends))
    if any(bar is not None for bar in spread):
        axes.errorbar(
            x,
            y,
            xerr=spread[0],
            yerr=spread[1],
            fmt=marker,
            ecolor=color,
            capsize=4.4 * scale,
            **style,
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
