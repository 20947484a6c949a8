"""One chart as JSON-ready values: axes with their ticks, series of points, lines, and a shade.

figures.py draws it in print, charts.js on screen; both read the ticks from here. Axes and shade are
logarithmic.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from scaling.fit.observations import Observations
from scaling.report.numbers import log_ticks, power_of_ten, rounded, tick

Chart = dict[str, Any]
Series = dict[str, Any]
Mark = tuple[float, float, str]
_WRITERS: dict[str, Callable[[float], str]] = {
    "params": tick,
    "tokens": tick,
    "flops": power_of_ten,
    "ratio": lambda value: f"{value:g}",
    "value": lambda value: tick(value) if value >= 1e3 else f"{value:g}",
    "loss": lambda value: f"{value:g}",
}


def chart(
    key: str,
    words: tuple[str, str],
    x: tuple[str, str],
    y: tuple[str, str],
    points: list[Series],
    lines: list[Series],
    shade: tuple[str, str] | None = None,
) -> Chart:
    """The chart `key` with its (title, caption); x, y and shade are (label, kind of value).

    Ticks cover the points. Series without a point are left out.
    """
    shown = [series for series in points if series["x"]]
    shades = [value for series in shown for value in series["shade"] or ()]
    return {
        "key": key,
        "title": words[0],
        "caption": words[1],
        "x": _axis([value for series in shown for value in series["x"]], *x),
        "y": _axis([value for series in shown for value in series["y"]], *y),
        "shade": _axis(shades, *shade, 5) if shade else None,
        "points": shown,
        "lines": lines,
    }


def _axis(values: list[float], label: str, write: str, wanted: int = 6) -> dict[str, Any]:
    low, high = min(values), max(values)
    ticks = log_ticks(low, high, wanted)
    return {
        "label": label,
        "low": low,
        "high": high,
        "ticks": [[value, _WRITERS[write](value)] for value in ticks],
    }


def runs(
    name: str | None,
    observations: Observations,
    rows: np.ndarray,
    x: np.ndarray,
    look: str,
    shade: np.ndarray | None = None,
    y: str = "loss",
) -> Series:
    """A series of runs, with their rows in the scene's points for what the page says of them."""
    return {
        "name": name,
        "look": look,
        "x": rounded(x[rows]),
        "y": rounded(getattr(observations, y)[rows]),
        "shade": None if shade is None else rounded(shade[rows]),
        "runs": [int(row) for row in rows],
        "text": None,
    }


def marks(
    name: str | None, marks: Sequence[Mark], look: str, shade: Sequence[float] | None = None
) -> Series:
    """A series of (x, y, what the page says of it)."""
    return {
        "name": name,
        "look": look,
        "x": rounded([x for x, _, _ in marks]),
        "y": rounded([y for _, y, _ in marks]),
        "shade": None if shade is None else rounded(shade),
        "runs": None,
        "text": [text for _, _, text in marks],
    }


def line(
    name: str | None,
    x: np.ndarray,
    y: np.ndarray,
    ink: str | None = None,
    dash: str = "solid",
    shade: float | None = None,
) -> Series:
    """A line; without a name it has no entry in the legend."""
    return {
        "name": name,
        "ink": ink,
        "dash": dash,
        "shade": shade,
        "x": rounded(x),
        "y": rounded(y),
    }
