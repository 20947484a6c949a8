"""Whether a tuned learning rate carries over from one width to the next, in a verdict.

With muP or CompleteP the best rate is to be that of any width (Yang et al. 2022, arXiv 2203.03466,
figure 1); on networks like these it is known to drift (microsoft/mup, issue 66).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.text import plural

WIDTHS = 3
_ALIKE = 1.1  # between D, or batches, of cells that are named by their FLOP


@dataclass(frozen=True)
class TunedCell:
    """The best rate of a cell, None where the rates tried have none between them.

    step  the ratio of neighbouring rates that were tried
    """

    width: int
    tokens: float
    batch_tokens: int
    lr: float | None
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


def verdict(cells: Sequence[TunedCell], asked: bool, named: bool) -> str | None:
    """What a tuning stage says of transfer; None where it is not asked for and does not show.

    It is asked for with muP; without, cells that were `named` show it if they are of one D and
    batch, both of which move the best rate.
    """
    enough = len({cell.width for cell in cells}) >= WIDTHS
    apart = [
        f"{name} by x{max(values) / min(values):.2g}"
        for name, values in (
            ("tokens", [cell.tokens for cell in cells]),
            ("batches", [float(cell.batch_tokens) for cell in cells]),
        )
        if values and max(values) > _ALIKE * min(values)
    ]
    if not asked and (apart or not (named and enough)):
        return None
    unknown = "no verdict on whether the rate transfers: "
    if enough and apart:
        return (
            f"{unknown}the cells differ in {' and '.join(apart)}; name cells of one D "
            "(grid.tuning.cells) and a batch that follows D"
        )
    if found := transfer(cells):
        return found.text
    count = len({cell.width for cell in cells if cell.lr})
    has = "has" if count == 1 else "have"
    return (
        f"{unknown}{plural(count, 'width')} of those tried {has} an optimum between the rates "
        f"tried, expected {WIDTHS}"
    )


def transfer(cells: Sequence[TunedCell]) -> Transfer | None:
    """Whether the best rate is one for all widths; None for fewer than three.

    By a line through log rate over log width (least squares). It carries over if that moves, from
    the least width to the largest, by less than half a step of the rates that were tried: what the
    study can tell from none.
    """
    known = [(cell.width, cell.lr) for cell in cells if cell.lr]
    widths = sorted({width for width, _ in known})
    if len(widths) < WIDTHS:
        return None
    x, y = ([math.log2(value) for value in values] for values in zip(*known, strict=True))
    slope = float(np.polyfit(x, y, 1)[0])
    half_a_step = math.log2(min(cell.step for cell in cells if cell.lr)) / 2
    moved = abs(slope) * math.log2(widths[-1] / widths[0])
    return Transfer(2**slope, widths[0], widths[-1], moved < half_a_step)
