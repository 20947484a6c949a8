"""How the printed figures look: colours that survive grey print and colour blindness, and axes."""

import math
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from scaling.report.numbers import power, power_of_ten, tick

MARKERS = "osD^PvpX"  # as SYMBOLS of look.js
INK, SOFT, RULE = "#16181d", "#565b66", "#d9dce2"
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # a run named $x is text
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "scaling-report",
    "figure.constrained_layout.use": True,
}


def palette() -> Any:
    """Viridis without its palest end, which vanishes on paper."""
    return mpl.colors.ListedColormap(mpl.colormaps["viridis"](np.linspace(0, 0.84, 256)))


def look(scene: dict[str, Any], budget: int) -> dict[str, Any]:
    """Colour and marker of a budget, by its place among the budgets; -1 is none."""
    if budget < 0:
        return {"color": SOFT, "marker": "o", "mec": "white", "mew": 0.6}
    last = max(1, len(scene["budgets"]) - 1)
    fraction = 0.4 if len(scene["budgets"]) < 2 else budget / last
    marker = MARKERS[budget % len(MARKERS)]
    return {"color": palette()(fraction), "marker": marker, "mec": "white", "mew": 0.6}


def budget_name(scene: dict[str, Any], budget: int) -> str:
    """A budget in a legend."""
    return "no budget" if budget < 0 else f"{power(scene['budgets'][budget])} FLOP"


def select(source: dict[str, Any], budget: int) -> np.ndarray:
    """The rows of one budget."""
    return np.array([i for i, group in enumerate(source["budget"]) if group == budget], dtype=int)


def xy(source: dict[str, Any], here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Size and loss of some rows."""
    return array(source["params"])[here], array(source["loss"])[here]


def array(values: list[float | None]) -> np.ndarray:
    """Floats with nan for null."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def bars(middle: list[float], ends: list[tuple[float, float] | None]) -> np.ndarray:
    """Distances to both ends of intervals that need not hold the estimate, as errorbar takes."""
    pairs = [end or (m, m) for m, end in zip(middle, ends, strict=True)]
    return np.maximum(
        0,
        [
            [m - p[0] for m, p in zip(middle, pairs, strict=True)],
            [p[1] - m for m, p in zip(middle, pairs, strict=True)],
        ],
    )


def log_flops(axes: Axes, label: str) -> None:
    """A log axis of compute in powers of ten."""
    axes.set_xscale("log")
    low, high = axes.xaxis.get_view_interval()
    steps = (1,) if math.log10(high / low) > 2 else (1, 3)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=20))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: power_of_ten(value)))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(label)


def log_counts(axes: Axes, which: str, label: str) -> None:
    """A log axis in 1, 2, 5 with k, M, B, T."""
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    steps = (1, 2, 5) if math.log10(high / low) < 3 else (1,)
    axis.set_major_locator(LogLocator(subs=steps, numticks=30))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(label)
