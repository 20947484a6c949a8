"""Doubts about the valleys taken together: lost edges, windows that drift, odd curvature.

A window off its vertex by a constant factor spoils the intercept of N*(C) alone; one whose offset
drifts with C spoils the exponent (Czech 2026). Shapes: V valleys with a vertex.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scaling.fit.frontier import Frontier
from scaling.fit.laws import Flag
from scaling.fit.lines import FEWEST_POINTS, regress
from scaling.fit.noise import Noise
from scaling.fit.valleys import Valley, bend_variance, parabola

# From the lowest to the highest budget the centre may move so far against the vertices ...
_DRIFT = np.log(2.0)
# ... if it is not chance: so many standard errors of the trend.
_TREND_ERRORS = 3.0
_LOPSIDED = 3.0  # one side of the window so many times as long as the other, in log N
_CURVATURE = 3.0  # factor from the curvature that the other budgets foretell


def lost_edges(usable: Sequence[Valley], head: Frontier) -> list[Flag]:
    """For each valley that lost a run at its edge, the shift of a by leaving the valley out."""
    flags = []
    for index, valley in enumerate(usable):
        for flag in valley.flags:
            if flag.code == "edge_lost":
                text = f"{valley.flops:.3g} FLOP: {flag.text}; {_shift(head, index)}"
                flags.append(Flag("edge_valley", text))
    return flags


def drift(usable: Sequence[Valley], head: Frontier, robust: Frontier | None) -> list[Flag]:
    """The flag of a window whose centre moves against the vertices as budgets grow."""
    centres = np.array([v.log_n[v.window][[0, -1]].mean() for v in usable])
    offset, x = centres - head.points.log_n, head.points.log_c
    there = np.isfinite(offset)
    if there.sum() < FEWEST_POINTS + 1:
        return []
    x, offset = x[there], offset[there]
    dx = x - x.mean()
    slope = float(dx @ offset / (dx @ dx))
    left = offset - offset.mean() - slope * dx
    error = float(np.sqrt(left @ left / (len(x) - 2) / (dx @ dx)))
    moved = slope * float(np.ptp(x))
    if abs(moved) < _DRIFT or abs(slope) < _TREND_ERRORS * error:
        return []
    text = (
        f"the sampled sizes move from the vertices by a factor {np.exp(abs(moved)):.1f} from the "
        "lowest to the highest budget, which fakes an exponent"
    )
    if robust is not None:
        text += (
            f"; one skewed shape for all valleys gives a = {float(robust.n.slope):.4f}, "
            f"{float(robust.n.slope - head.n.slope):+.4f}"
        )
    return [Flag("drifting_centre", text)]


def with_doubts(usable: Sequence[Valley], noise: Noise) -> list[Valley]:
    """The valleys, flagged where their vertex is far off centre or their curvature is odd."""
    curves = [
        parabola(v.log_n[v.window] - v.log_n[v.window].mean(), v.loss[None, v.window])[0]
        for v in usable
    ]
    log_bend = np.log([curve[2] for curve in curves])
    log_c = np.log([valley.flops for valley in usable])
    found = []
    for index, valley in enumerate(usable):
        flags = list(valley.flags)
        x, curve = valley.log_n[valley.window], curves[index]
        vertex = x.mean() - curve[1] / (2 * curve[2])
        sides = sorted((vertex - x[0], x[-1] - vertex))
        if sides[1] > _LOPSIDED * max(sides[0], 0.0):
            flags.append(Flag("asymmetry", "its vertex is far from the middle of its sizes"))
        others = np.arange(len(usable)) != index
        if others.sum() >= FEWEST_POINTS:
            line = np.polyfit(log_c[others], log_bend[others], 1)
            off = float(log_bend[index] - np.polyval(line, log_c[index]))
            sd = float(np.sqrt((noise.sd[index][valley.window] ** 2).mean()))
            chance = np.sqrt(bend_variance(valley)) * sd / curve[2]
            if abs(off) > max(np.log(_CURVATURE), _TREND_ERRORS * chance):
                text = f"its curvature is {np.exp(off):.2g} times what the other budgets foretell"
                flags.append(Flag("curvature", text))
        found.append(replace(valley, flags=tuple(flags)))
    return found


def _shift(head: Frontier, index: int) -> str:
    log_n = head.points.log_n[None].copy()
    log_n[:, index] = np.nan
    other = float(regress(head.points.log_c[None], log_n, head.weights).slope[0])
    if not np.isfinite(other):
        return "without this valley there would be no law"
    return f"without this valley a = {other:.4f}, {other - float(head.n.slope):+.4f}"
