"""How figures look, in print and on the page: colours that survive grey print and colour blindness.

A colour is the name of an ink, or a number from 0 to 1 on a perceptual scale of shades.
"""

from dataclasses import dataclass
from typing import Any, Literal

Ink = str | float
Properties = dict[str, Any]  # of matplotlib or plotly, which check them themselves
INKS = {  # on light and on dark ground
    "ground": ("#ffffff", "#14161a"),
    "panel": ("#f5f6f8", "#1d2026"),
    "ink": ("#16181d", "#e9ebef"),
    "soft": ("#565b66", "#a9afba"),
    "rule": ("#d9dce2", "#343942"),
    "faint": ("#9aa0ab", "#6d7480"),
    "isoflop": ("#0072b2", "#56b4e9"),
    "parametric": ("#d55e00", "#ff9b52"),
    "envelope": ("#007a5a", "#2fc79a"),
    # The fit compared with has thin lines of another hue.
    "isoflop-other": ("#7b4ba0", "#c39bea"),
    "parametric-other": ("#b8860b", "#e8c547"),
    "envelope-other": ("#555555", "#aaaaaa"),
    "ok": ("#0b6e4f", "#5fd3a8"),
    "flagged": ("#8a5a00", "#f0b94b"),
    "refused": ("#a4262c", "#ff8a8a"),
}
SHADES = ((0.0, 0.84), (0.3, 1.0))
"""The part of viridis on light and on dark ground, without the end that the ground swallows."""

Dash = Literal["solid", "dash", "dashdot", "dot"]
DASHES: dict[str, Dash] = {"isoflop": "solid", "parametric": "dash", "envelope": "dashdot"}
SYMBOLS = (  # one a budget: matplotlib's, plotly's
    ("o", "circle"),
    ("s", "square"),
    ("D", "diamond"),
    ("^", "triangle-up"),
    ("P", "cross"),
    ("v", "triangle-down"),
    ("p", "pentagon"),
    ("X", "x"),
)


@dataclass(frozen=True)
class Look:
    """A marker: its diameter in pixels of the page, and whether it is drawn as an outline."""

    size: float
    outline: bool = False
    opacity: float = 1.0
    symbol: tuple[str, str] | None = None
    """matplotlib's and plotly's, where it is not the one of a budget."""


LOOKS = {
    "run": Look(8),
    "seed": Look(6, opacity=0.45),
    "faint": Look(6, opacity=0.6),
    "minimum": Look(12, outline=True, symbol=("D", "diamond-open")),
    "optimum": Look(9, symbol=("D", "diamond")),
    "answer": Look(13, outline=True, symbol=("o", "circle-open")),
    "law": Look(10, outline=True, symbol=("x", "x-thin-open")),
}


def shade_of(index: int, of: int) -> Ink:
    """The shade of a budget by its place among `of` budgets; -1 is none of them."""
    if index < 0:
        return "soft"
    return 0.4 if of < 2 else index / (of - 1)
