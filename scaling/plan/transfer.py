"""Whether a tuned learning rate carries over from one width to the next, in a verdict.

With muP or CompleteP the best rate is to be that of any width (Yang et al. 2022, arXiv 2203.03466,
figure 1); on networks like these it is known to drift (microsoft/mup, issue 66).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WIDTHS = 3


@dataclass(frozen=True)
class Optimum:
    """The best rate at a width; `step`: the ratio of neighbouring rates that were tried."""

    width: int
    lr: float
    step: float


@dataclass(frozen=True)
class Transfer:
    """`per_doubling`: what the best rate is multiplied by when the width doubles."""

    per_doubling: float
    low: int
    high: int
    carries_over: bool

    @property
    def text(self) -> str:
        """The verdict in a line."""
        moves = f"its optimum moves x{self.per_doubling:.2g} per doubling of width"
        over = f"from {self.low} to {self.high}"
        if self.carries_over:
            return f"the rate transfers: {moves} {over}, less than half a step of the rates tried"
        return f"the rate does not transfer: {moves} {over}"


def transfer(optima: Sequence[Optimum]) -> Transfer | None:
    """Whether the best rate is one for all widths; None for fewer than three.

    By a line through log rate over log width (least squares). It carries over if that moves, from
    the least width to the largest, by less than half a step of the rates that were tried: what the
    study can tell from none.
    """
    widths = sorted({optimum.width for optimum in optima})
    if len(widths) < WIDTHS:
        return None
    x = [math.log2(optimum.width) for optimum in optima]
    y = [math.log2(optimum.lr) for optimum in optima]
    slope = float(np.polyfit(x, y, 1)[0])
    half_a_step = math.log2(min(optimum.step for optimum in optima)) / 2
    moved = abs(slope) * math.log2(widths[-1] / widths[0])
    return Transfer(2**slope, widths[0], widths[-1], moved < half_a_step)
