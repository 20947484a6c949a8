"""The losses of one budget against log N, and the size of least loss among them.

Shapes: k distinct sizes of a profile in ascending order, R resamples of its losses.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from common.text import plural
from scaling.fit.budget_flops import WIDEST_BUDGET
from scaling.fit.flags import Flag
from scaling.fit.isoflop.budgets import budgets, is_budget, same_sizes
from scaling.fit.isoflop.jitter import at_one_flops
from scaling.fit.observations import Observations

Method = Literal["parabola", "parabola_all", "robust", "spline"]
METHODS: tuple[Method, ...] = ("parabola", "parabola_all", "robust", "spline")

# The parabola sees the sizes within this factor of the lowest, and at least so many of them.
WINDOW_FACTOR, WINDOW_SIZES = 4.0, 5
FEWEST_SIZES = 3
# Neighbours among more are averaged: no method sees finer, and draws are resamples times sizes.
MOST_SIZES = 48
_TIE = 1e-6  # relative difference of losses that are equal but for rounding
_FAR_BELOW = 4.0  # standard deviations of a loss


@dataclass(frozen=True)
class Profile:
    """One budget; arrays are (k,), several runs of one size averaged.

    flops    the budget asked for, or the geometric mean of the runs' FLOP
    noise    run-to-run standard deviation of each loss; nan where unknown
    window   the sizes a parabola is fitted to: those within a factor `width` of the lowest
    reason   why there is no minimum here; None if there is one
    """

    flops: float
    log_n: np.ndarray
    log_d: np.ndarray
    log_c: np.ndarray
    loss: np.ndarray
    noise: np.ndarray
    window: np.ndarray
    n_points: int
    width: float = WINDOW_FACTOR
    reason: str | None = None
    open_edge: bool = False
    flags: tuple[Flag, ...] = ()

    @cached_property
    def centre(self) -> float:
        """Mean log N of the window."""
        return float(self.log_n[self.window].mean())

    @cached_property
    def x(self) -> np.ndarray:
        """log N in the window about its mean."""
        return self.log_n[self.window] - self.centre

    @cached_property
    def curve(self) -> np.ndarray:
        """Coefficients (3,) of 1, x and x^2 of the parabola in the window."""
        return np.asarray((self.loss[None, self.window] @ self.solver.T)[0])

    @cached_property
    def solver(self) -> np.ndarray:
        """What takes the losses of the window to those coefficients, (3, window)."""
        return np.linalg.pinv(_design(self.x))

    @cached_property
    def covariance(self) -> np.ndarray:
        """Of those coefficients (3, 3), for losses of unit noise."""
        design = _design(self.x)
        return np.linalg.inv(design.T @ design)

    def least_loss(self, sd: float) -> float:
        """Below any minimum that its losses and noise of this sd allow.

        That is what noise takes from the lowest loss, or from the parabola's minimum under it.
        """
        constant, slope, bend = self.curve
        lowest = float(self.loss.min())
        if bend > 0:
            lowest = min(lowest, float(constant - slope**2 / (4 * bend)))
        return lowest - _FAR_BELOW * sd

    def between_sizes(self, log_n: np.ndarray, loss: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both, nan where log N is not between the sizes that were sampled."""
        inside = (log_n >= self.log_n[0]) & (log_n <= self.log_n[-1])
        return np.where(inside, log_n, np.nan), np.where(inside, loss, np.nan)

    def at(self, log_n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(log D, log C) where the profile's runs have this log N, by linear interpolation."""
        return np.interp(log_n, self.log_n, self.log_d), np.interp(log_n, self.log_n, self.log_c)


def find_profiles(
    observations: Observations, tolerance: float, width: float = WINDOW_FACTOR
) -> tuple[Profile, ...]:
    """The budgets of the observations in ascending order, those without a minimum with the reason.

    Runs belong together by flops_budget where it is given, else by the gaps between their FLOP
    (budgets.py). An unnamed group of fewer than five sizes is chance and no profile. Where the runs
    of one differ in FLOP, their losses are taken to its mean (jitter.py). Windows reach over a
    factor `width` of the size of lowest loss.
    """
    groups = budgets_at_one_flops(observations, tolerance)
    found = [profile_of(*group, width) for group in groups]
    return tuple(profile for profile in found if profile is not None)


def budgets_at_one_flops(
    observations: Observations, tolerance: float
) -> list[tuple[Observations, float, np.ndarray]]:
    """(observations, FLOP, row indices) of each budget, its runs' losses taken to one FLOP."""
    found = [
        group
        for group in budgets(observations, tolerance).groups
        if is_budget(observations, group[1])
    ]
    corrected = at_one_flops(observations, found)
    return [(corrected, *group) for group in found]


def all_sizes(profile: Profile) -> Profile:
    """The profile with all its sizes in the window."""
    return replace(profile, window=np.ones(len(profile.loss), dtype=bool))


def profile_of(
    observations: Observations,
    flops: float,
    members: np.ndarray,
    width: float = WINDOW_FACTOR,
) -> Profile | None:
    """The profile of these rows, with the reason where it has no minimum; None where it is none."""
    if not members.size:
        return None
    if not is_budget(observations, members):
        return None
    return _judge(_profile(observations, flops, members, width), observations)


def minima(profile: Profile, losses_Rk: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(log N*, loss there) by parabolas in the window, each (R,); nan where not between sizes."""
    curves = losses_Rk[:, profile.window] @ profile.solver.T
    with np.errstate(divide="ignore", invalid="ignore"):
        log_n = profile.centre - curves[:, 1] / (2 * curves[:, 2])
        loss = curves[:, 0] - curves[:, 1] ** 2 / (4 * curves[:, 2])
    return profile.between_sizes(np.where(curves[:, 2] > 0, log_n, np.nan), loss)


def parabola(x_k: np.ndarray, losses_Rk: np.ndarray) -> np.ndarray:
    """Least-squares coefficients (R, 3) of 1, x and x^2."""
    return losses_Rk @ np.linalg.pinv(_design(x_k)).T


def minimum_variance(profile: Profile) -> float:
    """Variance of the parabola's log N* for a loss of unit noise, by the delta method."""
    _, slope, bend = profile.curve
    gradient = np.array([0.0, -1 / (2 * bend), slope / (2 * bend**2)])
    return float(gradient @ profile.covariance @ gradient)


def window_fit(profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """The parabola's losses in the window, and the leverage of each size there."""
    hat = _design(profile.x) @ profile.solver
    return hat @ profile.loss[profile.window], np.diag(hat)


def _design(x: np.ndarray) -> np.ndarray:
    return np.stack([np.ones_like(x), x, x**2], axis=1)


def _profile(
    observations: Observations, flops: float, members: np.ndarray, width: float
) -> Profile:
    # Of the members alone: a table has a million rows, and each budget some of them.
    own_log_n = np.log(observations.params[members])
    group = same_sizes(own_log_n)
    if (sizes := int(group.max()) + 1) > MOST_SIZES:
        group = group * MOST_SIZES // sizes
    count = np.bincount(group)

    def mean(values: np.ndarray) -> np.ndarray:
        return np.bincount(group, weights=values) / count

    least = np.full(len(count), np.inf)
    np.minimum.at(least, group, own_log_n)
    log_n, loss = least + mean(own_log_n - least[group]), mean(observations.loss[members])
    return Profile(
        flops=flops,
        log_n=log_n,
        log_d=mean(np.log(observations.tokens[members])),
        log_c=mean(np.log(observations.flops[members])),
        loss=loss,
        noise=np.sqrt(mean(observations.loss_se[members] ** 2) / count),
        window=window(log_n, lowest_size(loss), width),
        n_points=len(members),
        width=width,
    )


def lowest_size(loss: np.ndarray) -> int:
    """The place of the lowest loss (k,); the middle one of sizes that share it.

    Losses of few digits, or read off colours, have ties: the first may be at an end by chance.
    """
    tied = np.flatnonzero(loss <= loss.min() * (1 + _TIE))
    return int(tied[len(tied) // 2])


def window(log_n: np.ndarray, lowest: int, width: float) -> np.ndarray:
    """The sizes (k,) within a factor `width` of the one of lowest loss, and at least five."""
    distance = np.abs(log_n - log_n[lowest])
    nearest = np.sort(distance)[min(WINDOW_SIZES, len(distance)) - 1]
    return np.asarray(distance <= max(np.log(width), nearest) * (1 + 1e-9))


def _judge(profile: Profile, observations: Observations) -> Profile:
    """The profile with its flags, or the reason why it has no minimum."""
    lowest, spread = lowest_size(profile.loss), float(np.exp(np.ptp(profile.log_c)))
    sizes = len(profile.loss)
    if sizes < FEWEST_SIZES:
        return replace(profile, reason=f"{plural(sizes, 'size')}, expected at least {FEWEST_SIZES}")
    if spread > WIDEST_BUDGET:
        return replace(
            profile, reason=f"its runs differ {spread:.2f} times in FLOP: not one budget"
        )
    if lowest in (0, sizes - 1):
        side = "smallest" if lowest == 0 else "largest"
        reason = f"open: the {side} of its {sizes} sizes has the lowest loss"
        return replace(profile, reason=reason, open_edge=True)
    if not profile.curve[2] > 1e-12 * abs(profile.loss).max():
        return replace(profile, reason="not convex around its lowest loss")
    if np.isnan(minima(profile, profile.loss[None])[0][0]):
        return replace(profile, reason="minimum outside the sampled sizes", open_edge=True)
    return replace(profile, flags=_profile_flags(profile, observations))


def _profile_flags(profile: Profile, observations: Observations) -> tuple[Flag, ...]:
    flags = []
    lowest = lowest_size(profile.loss)
    if lowest in (1, len(profile.loss) - 2) and len(profile.loss) > 4:
        flags.append(Flag("near_edge", "only one size lies beyond the lowest loss on one side"))
    for lost in observations.excluded:
        if np.isclose(lost.flops_budget, profile.flops, rtol=1e-6) and np.isfinite(lost.params):
            size = np.log(lost.params)
            if not profile.log_n[0] < size < profile.log_n[-1]:
                text = f"run {lost.run_id} at its edge is missing ({lost.reason})"
                flags.append(Flag("edge_lost", text))
    fitted, _ = window_fit(profile)
    known = profile.noise[profile.window]
    dof = len(known) - 3
    if dof > 0 and np.isfinite(known).all():
        scatter = np.sqrt(((profile.loss[profile.window] - fitted) ** 2).sum() / dof)
        if scatter > 2 * np.sqrt((known**2).mean()):
            text = f"scatter about the parabola {scatter:.4f}, over twice the noise between seeds"
            flags.append(Flag("scatter", text))
    return tuple(flags)
