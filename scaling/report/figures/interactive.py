"""Charts on the page: plotly's figures as plain values, in the colours of a light ground.

`dark_colors` says what stands for each colour on a dark ground; the page replaces them.
"""

import math
from typing import Any

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from scaling.report.figures.chart import Axis, Band, Chart, Line, Panel, Points, plain, rounded
from scaling.report.figures.style import INKS, LOOKS, SHADES, SYMBOLS, Ink, Properties

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif'
_CLEAR = "rgba(0,0,0,0)"
_NARROW, _WIDE, _MARK_OF_LEGEND, _LETTER = 300, 640, 46, 7  # pixels
_ROW_OF_LEGEND, _WIDE_ROW = 20, 28
_STOPS = (0.0, 0.25, 0.5, 0.75, 1.0)
_READINGS = {  # what the page says of a place on an axis
    "flops": "C %{{{axis}:.3~g}} FLOP",
    "params": "N %{{{axis}:.3~s}}",
    "tokens": "D %{{{axis}:.3~s}}",
    "loss": "loss %{{{axis}:.4f}}",
}


def draw(chart: Chart) -> Properties:
    """The chart as {"data", "layout", "narrow"}: its traces, and its layout for either screen."""
    traces = [
        _trace(series, index, panel)
        for index, panel in enumerate(chart.panels)
        for series in panel.series
    ]
    figure = go.Figure(traces, _layout(chart, narrow=False)).to_plotly_json()
    return figure | {"narrow": _layout(chart, narrow=True).to_plotly_json()}


def dark_colors(charts: list[Chart]) -> dict[str, str]:
    """The colour on dark ground by the colour on light ground, of all that the charts may have."""
    shades = {*_STOPS}
    for series in (s for chart in charts for panel in chart.panels for s in panel.series):
        shades |= {series.ink} if isinstance(series.ink, float) else set()
    inks = {**INKS, **{str(shade): _shades(shade) for shade in shades}}
    return dict(inks.values())


def _shades(shade: float) -> tuple[str, str]:
    """A shade on light and on dark ground."""
    places = [low + (high - low) * shade for low, high in SHADES]
    light, dark = sample_colorscale("Viridis", places)
    return light, dark


def _color(ink: Ink) -> str:
    return INKS[ink][0] if isinstance(ink, str) else _shades(float(ink))[0]


def _trace(series: Points | Line | Band, index: int, panel: Panel) -> go.Scatter:
    axes = {"xaxis": f"x{index + 1}", "yaxis": f"y{index + 1}"} if index else {}
    match series:
        case Points():
            return go.Scatter(_points(series, index), mode="markers", **axes)
        case Line():
            return go.Scatter(_line(series, index, panel), mode="lines", **axes)
        case Band():
            return go.Scatter(_band(series), mode="lines", **axes)


def _points(points: Points, panel: int) -> Properties:
    look = LOOKS[points.look]
    symbol = (look.symbol or SYMBOLS[points.symbol % len(SYMBOLS)])[1]
    marker: Properties = {"size": look.size, "symbol": symbol}
    name = points.name
    if isinstance(points.ink, tuple):
        color, name = INKS["ink"][0], None  # a legend cannot show a scale of shades
        marker |= {"color": list(points.ink), "coloraxis": "coloraxis"}
    else:
        marker["color"] = color = _color(points.ink)
    edge = (2, color) if look.outline else (0 if look.size < 7 else 1, INKS["ground"][0])
    marker["line"] = {"width": edge[0], "color": edge[1]}
    return {
        "x": rounded(points.x),
        "y": rounded(points.y),
        "marker": marker,
        "opacity": look.opacity,
        "hoverinfo": "text",
        "hovertext": list(points.text),
        **_legend(name, points.group, panel),
        **({"error_x": _bars(points.x, points.x_ends, color)} if points.x_ends else {}),
        **({"error_y": _bars(points.y, points.y_ends, color)} if points.y_ends else {}),
    }


def _bars(middle: Any, ends: Any, color: str) -> Properties:
    pairs = [(m, end or (m, m)) for m, end in zip(middle, ends, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": rounded([end[1] - m for m, end in pairs]),
        "arrayminus": rounded([m - end[0] for m, end in pairs]),
        "color": color,
        "thickness": 1.4,
        "width": 5,
    }


def _line(line: Line, panel: int, axes: Panel) -> Properties:
    hover: Properties = {"hoverinfo": "skip"}
    if line.heading is not None:
        readings = [
            _READINGS[axis.kind].format(axis=name)
            for name, axis in (("x", axes.x), ("y", axes.y))
            if axis.kind in _READINGS
        ]
        # The heading is a value, so that nothing in a name is read as a template.
        said = ["%{meta[0]}", *(["%{customdata}"] if line.text else []), *readings]
        hover = {"meta": [line.heading], "hovertemplate": "<br>".join(said) + "<extra></extra>"}
        hover |= {"customdata": list(line.text)} if line.text else {}
    return {
        "x": rounded(line.x),
        "y": rounded(line.y),
        "line": {"color": _color(line.ink), "width": line.width, "dash": line.dash},
        "opacity": line.opacity,
        **hover,
        **_legend(line.name, line.group, panel),
    }


def _band(band: Band) -> Properties:
    rows = zip(*map(rounded, (band.x, band.low, band.high)), strict=True)
    known = [row for row in rows if row[1] is not None and row[2] is not None]
    return {
        "x": [x for x, _, _ in known] + [x for x, _, _ in reversed(known)],
        "y": [low for _, low, _ in known] + [high for _, _, high in reversed(known)],
        "fill": "toself",
        "fillcolor": _color(band.ink),
        "line": {"width": 0},
        "opacity": 0.16,
        "hoverinfo": "skip",
        **_legend(None, band.group, 0),
    }


def _legend(name: str | None, group: str | None, panel: int) -> Properties:
    """A name stands in the legend once, although it may be in both panels."""
    found: Properties = {"showlegend": name is not None and panel == 0}
    found |= {"name": plain(name)} if name is not None else {}
    return found | ({"legendgroup": group} if group is not None else {})


def _layout(chart: Chart, narrow: bool) -> go.Layout:
    two = len(chart.panels) > 1
    layout: Properties = {
        "template": _template(),
        "height": (760 if two else 420) if narrow else 380,
        "margin": {"l": 56, "r": 12, "t": 16, "b": 48},
        "legend": {"y": -0.12 if narrow and two else -0.2},
    }
    rows = _legend_rows(chart, _NARROW if narrow else _WIDE)
    if rows > 2:  # or it would creep up over the axis
        layout["height"] += (_ROW_OF_LEGEND if narrow else _WIDE_ROW) * (rows - 1)
    if chart.shade:
        layout["margin"] |= {"t": 60, "b": 64}
        layout["coloraxis"] = _colors(chart.shade, narrow)
    for index, panel in enumerate(chart.panels):
        number = str(index + 1) if index else ""
        horizontal = _axis(panel.x, narrow, (4 if narrow else 6 if panel.x.kind != "params" else 8))
        vertical = _axis(panel.y, narrow, 8 if len(chart.panels) == 1 else 6)
        if chart.shade:  # beside a horizontal colour bar plotly takes tick labels to have no height
            horizontal["title"]["standoff"] = 34
        if two and narrow:
            vertical["domain"] = (0, 0.4) if index else (0.58, 1)
        elif two:
            horizontal["domain"] = (0.56, 1) if index else (0, 0.44)
        layout[f"xaxis{number}"] = horizontal | {"anchor": f"y{number}"}
        layout[f"yaxis{number}"] = vertical | {"anchor": f"x{number}"}
        if panel.notes and not narrow:
            layout["margin"]["r"] = 44
            layout["annotations"] = [_note(note, panel) for note in panel.notes]
    return go.Layout(layout)


def _legend_rows(chart: Chart, room: int) -> int:
    """About how many rows the legend takes."""
    rows, left = 1, room
    series = chart.panels[0].series if chart.panels else ()
    for name in (s.name for s in series if isinstance(s, Points | Line) and s.name is not None):
        width = _MARK_OF_LEGEND + _LETTER * len(plain(name))
        if width > left:
            rows, left = rows + 1, room
        left -= width
    return rows


def _axis(axis: Axis, narrow: bool, wanted: int) -> Properties:
    size = 12 if narrow else 13.5
    found: Properties = {
        "title": {"text": plain(axis.label), "standoff": 8, "font": {"size": size}}
    }
    if axis.log:
        values, texts = zip(*axis.ticks(wanted), strict=True)
        found |= {"type": "log", "tickmode": "array", "tickvals": values, "ticktext": texts}
    if axis.view is not None:
        found |= {"range": axis.view}
    if axis.kind == "percent":
        found |= {"zeroline": True, "zerolinecolor": INKS["faint"][0], "zerolinewidth": 1.5}
    return found


def _note(note: tuple[float, float, str], panel: Panel) -> Properties:
    x, y, text = note
    return {
        "x": math.log10(x) if panel.x.log else x,
        "y": math.log10(y) if panel.y.log else y,
        "text": text,
        "showarrow": False,
        "xanchor": "left",
        "xshift": 2,
        "font": {"size": 11, "color": INKS["soft"][0]},
    }


def _colors(shade: Axis, narrow: bool) -> Properties:
    values, texts = zip(*shade.ticks(5), strict=True)
    return {
        "cmin": 0,
        "cmax": 1,
        "colorscale": [[stop, _color(stop)] for stop in _STOPS],
        "colorbar": {
            "orientation": "h",
            "x": 0.5,
            "y": 1.01,
            "yanchor": "bottom",
            "len": 0.98 if narrow else 0.6,
            "thickness": 10,
            "outlinewidth": 0,
            "title": {"text": plain(shade.label), "side": "top", "font": {"size": 12.5}},
            "tickvals": shade.place(values),
            "ticktext": texts,
        },
    }


def _template() -> go.layout.Template:
    faint, ink = INKS["faint"][0], INKS["ink"][0]
    axis = {
        "automargin": True,
        "gridcolor": INKS["rule"][0],
        "linecolor": faint,
        "showline": True,
        "zeroline": False,
        "ticks": "outside",
        "tickcolor": faint,
    }
    layout = go.Layout(
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        font={"family": FONT, "size": 13, "color": ink},
        hovermode="closest",
        hoverlabel={"bgcolor": INKS["panel"][0], "bordercolor": faint, "font": {"color": ink}},
        legend={"orientation": "h", "x": 0, "yanchor": "top", "font": {"size": 12.5}},
        modebar={"bgcolor": _CLEAR, "color": faint, "activecolor": ink},
        xaxis=axis,
        yaxis=axis,
    )
    return go.layout.Template(layout=layout)
