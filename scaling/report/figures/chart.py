"""What a figure shows, described once: panels with axes, lines, bands and points.

static.py draws a chart in print, interactive.py on the page; both read everything from here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from common.numbers import power_of_ten, tick
from scaling.report.figures.style import Dash, Ink
from scaling.report.text.labels import visible

Kind = Literal["params", "tokens", "flops", "ratio", "value", "loss", "percent"]
Ends = tuple[float, float]
Values = Sequence[float | None] | Sequence[float] | np.ndarray
_STEPS = ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
_LONGEST_NAME = 80
_ROOM = 1.5  # about the one value of an axis, for round ticks beside it
_WRITERS: dict[Kind, Callable[[float], str]] = {
    "params": tick,
    "tokens": tick,
    "flops": lambda value: power_of_ten(value, 3),
    "ratio": "{:g}".format,
    "value": lambda value: tick(value) if value >= 1e3 else f"{value:g}",
    "loss": "{:g}".format,
    "percent": "{:g}".format,
}


@dataclass(frozen=True)
class Axis:
    """An axis, or a scale of shades: its label, the kind of its values, and their ends.

    `view` is the part of a linear axis that is seen first; None: all of it.
    """

    label: str
    kind: Kind
    low: float
    high: float
    log: bool = True
    view: Ends | None = None

    def ticks(self, wanted: int = 6) -> list[tuple[float, str]]:
        """About so many round values of a logarithmic axis, each as it is written."""
        return [(v, _WRITERS[self.kind](v)) for v in log_ticks(self.low, self.high, wanted)]

    def place(self, values: Values) -> tuple[float, ...]:
        """Where values lie between the ends, from 0 to 1, on a logarithmic scale."""
        if not self.high > self.low:
            return (0.5,) * len(values)
        reach = math.log(self.high / self.low)
        found = np.log(np.asarray(values, dtype=float) / self.low) / reach
        return tuple(float(f"{v:.4g}") for v in np.clip(found, 0, 1))


@dataclass(frozen=True)
class Points:
    """Markers; `text` is what the page says of each, `ink` one for all or one a point."""

    x: Values
    y: Values
    text: Sequence[str]
    look: str = "run"
    ink: Ink | tuple[float, ...] = "soft"
    name: str | None = None
    symbol: int = 0
    group: str | None = None
    x_ends: tuple[Ends | None, ...] | None = None
    y_ends: tuple[Ends | None, ...] | None = None


@dataclass(frozen=True)
class Line:
    """A line, with an entry in the legend where it has a name.

    The page says nothing of it without `heading`, else that, the `text` of a point and its place.
    """

    x: Values
    y: Values
    ink: Ink
    name: str | None = None
    dash: Dash = "solid"
    width: float = 2.0
    opacity: float = 1.0
    group: str | None = None
    heading: str | None = None
    text: Sequence[str] = ()


@dataclass(frozen=True)
class Band:
    """The area between two lines."""

    x: Values
    low: Values
    high: Values
    ink: Ink
    group: str | None = None


Series = Points | Line | Band


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its series, the first below the others.

    `notes` are texts (x, y, text) right of their place, for which a narrow screen has no room.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    notes: tuple[tuple[float, float, str], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A figure under `key`, the name of its files; `absent` is the reason where it has no panel."""

    key: str
    title: str
    caption: str
    panels: tuple[Panel, ...] = ()
    shade: Axis | None = None
    legend: str | None = None
    absent: str | None = None


def axis(label: str, kind: Kind, *values: Values, log: bool = True) -> Axis:
    """The axis of such values; unknown ones do not count. One value has room on both sides."""
    known = [float(v) for part in values for v in part if v is not None and math.isfinite(v)]
    low, high = min(known), max(known)
    if log and low > 0 and high <= low * (1 + 1e-6):
        low, high = low / _ROOM, high * _ROOM
    return Axis(label, kind, low, high, log)


def rounded(values: Values) -> list[float | None]:
    """Six significant digits, enough for any picture; None for what is unknown."""
    return [float(f"{v:.6g}") if v is not None and math.isfinite(v) else None for v in values]


def said(title: str, *lines: str) -> str:
    """What the page says of a point: a title in bold and lines, all of them text."""
    return "<br>".join([f"<b>{plain(title)}</b>", *map(plain, lines)])


def plain(text: str) -> str:
    """Text for plotly, which reads some markup: none is left, and a long name is cut."""
    short = visible(text)[:_LONGEST_NAME]
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def log_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round values between `low` and `high`, about so many, for a logarithmic axis.

    Powers of ten, every few of them, or steps within a decade; equal steps where the axis is short.
    """
    low, high = low * 0.98, high * 1.02
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [[10.0**e for e in decades if e % stride == 0] for stride in (4, 3, 2, 1)]
    found += [[s * 10.0**e for e in decades for s in steps] for steps in _STEPS]
    for e in range(math.floor(math.log10(high - low)) - 1, math.floor(math.log10(high)) + 1):
        for step in (10.0**e, 2 * 10.0**e, 5 * 10.0**e):
            if (high - low) / step < 4 * wanted and high < 4 * low:
                first = math.ceil(low / step)
                found.append([step * i for i in range(first, math.floor(high / step) + 1)])
    inside = [[float(f"{v:.6g}") for v in ticks if low <= v <= high] for ticks in found]
    return min(inside, key=lambda ticks: abs(len(ticks) - wanted))
