"""Flags of the profiles taken together: lost edges, windows that drift, bends, odd curvature.

A window off its minimum by a constant factor spoils the intercept of N*(C) alone; one whose offset
drifts with C spoils the exponent (Czech 2026). Shapes: V profiles with a minimum.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from scaling.fit.bend import bend
from scaling.fit.data_flags import ENOUGH_BUDGETS, data_flags, wide_interval
from scaling.fit.flags import Flag
from scaling.fit.isoflop.frontier import ProfileFrontier
from scaling.fit.isoflop.noise import Noise
from scaling.fit.isoflop.profiles import Method, Profile
from scaling.fit.numerics import FEWEST_POINTS, regress
from scaling.fit.observations import Observations

# From the lowest to the highest budget the centre may move so far against the minima ...
_DRIFT = np.log(2.0)
# ... if it is not chance: so many standard errors of the trend.
_TREND_ERRORS = 3.0
_LOPSIDED = 3.0  # one side of the window so many times as long as the other, in log N
_CURVATURE = 3.0  # factor from the curvature that the other budgets predict


def law_flags(
    observations: Observations,
    profiles: Sequence[Profile],
    usable: Sequence[Profile],
    head: ProfileFrontier,
    method: Method,
    robust: ProfileFrontier | None,
) -> tuple[Flag, ...]:
    """All flags of the law, by its headline's frontier and the profiles it rests on."""
    flags = []
    kept = {id(profile) for profile in usable}
    for profile in profiles:
        if id(profile) not in kept:
            text = f"{profile.flops:.3g} FLOP is left out: {profile.reason}"
            flags.append(Flag("edge_valley", text))
    flags += lost_edges(usable, head)
    if method in ("parabola", "parabola_all"):
        flags += drift(usable, head, robust)
    flags += bend(head.points.log_c, head.points.log_n, head.samples.log_n)
    if len(usable) < ENOUGH_BUDGETS:
        text = f"{len(usable)} budgets, expected at least {ENOUGH_BUDGETS} for a law to rely on"
        flags.append(Flag("few_budgets", text))
    return (*flags, *wide_interval(head.line.estimates["a"]), *data_flags(observations))


def lost_edges(usable: Sequence[Profile], head: ProfileFrontier) -> list[Flag]:
    """For each profile that lost a run at its edge, the shift of a by leaving the profile out."""
    flags = []
    for index, profile in enumerate(usable):
        for flag in profile.flags:
            if flag.code == "edge_lost":
                text = f"{profile.flops:.3g} FLOP: {flag.text}; {_shift(head, index)}"
                flags.append(Flag("edge_valley", text))
    return flags


def drift(
    usable: Sequence[Profile], head: ProfileFrontier, robust: ProfileFrontier | None
) -> list[Flag]:
    """The flag of a window whose centre moves against the minima as budgets grow."""
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
        f"the sampled sizes move from the minima by a factor {np.exp(abs(moved)):.1f} from the "
        "lowest to the highest budget, which biases the exponent"
    )
    if robust is not None:
        text += (
            "; one skewed shape for all IsoFLOP curves gives a = "
            f"{float(robust.line.n.slope):.4f}, "
            f"{float(robust.line.n.slope - head.line.n.slope):+.4f}"
        )
    return [Flag("drifting_centre", text)]


def with_flags(usable: Sequence[Profile], noise: Noise) -> list[Profile]:
    """The profiles, flagged where their minimum is far off centre or their curvature is odd."""
    log_bend = np.log([profile.curve[2] for profile in usable])
    log_c = np.log([profile.flops for profile in usable])
    found = []
    for index, profile in enumerate(usable):
        flags = list(profile.flags)
        x, curve = profile.log_n[profile.window], profile.curve
        minimum = profile.centre - curve[1] / (2 * curve[2])
        sides = sorted((minimum - x[0], x[-1] - minimum))
        if sides[1] > _LOPSIDED * max(sides[0], 0.0):
            flags.append(Flag("asymmetry", "its minimum is far from the middle of its sizes"))
        others = np.arange(len(usable)) != index
        if others.sum() >= FEWEST_POINTS:
            line = np.polyfit(log_c[others], log_bend[others], 1)
            off = float(log_bend[index] - np.polyval(line, log_c[index]))
            sd = float(np.sqrt((noise.sd[index][profile.window] ** 2).mean()))
            chance = np.sqrt(float(profile.covariance[2, 2])) * sd / curve[2]
            if abs(off) > max(np.log(_CURVATURE), _TREND_ERRORS * chance):
                text = f"its curvature is {np.exp(off):.2g} times that of the other budgets"
                flags.append(Flag("curvature", text))
        found.append(replace(profile, flags=tuple(flags)))
    return found


def _shift(head: ProfileFrontier, index: int) -> str:
    log_n = head.points.log_n[None].copy()
    log_n[:, index] = np.nan
    other = float(regress(head.points.log_c[None], log_n, head.weights).slope[0])
    if not np.isfinite(other):
        return "without this IsoFLOP curve no law can be fitted"
    return f"without this IsoFLOP curve a = {other:.4f}, {other - float(head.line.n.slope):+.4f}"
