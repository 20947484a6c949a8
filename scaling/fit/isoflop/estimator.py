"""Approach 2: at each budget the size of least loss, then power laws through those sizes.

A profile is the losses of one budget against log N. Its minimum is taken by four methods:

    parabola      least squares in log N over the sizes within a factor 4 of the lowest, at least
                  five. A wider window is steadier and more biased (Czech 2026: by 1% of D* at a
                  factor 4).
    parabola_all  the same over all sizes
    robust        one skewed shape for all profiles (shared_shape.py): no bias on a surface,
                  whatever the width of the grid, and Huber's weights, so that one bad run hardly
                  moves it
    spline        Akima's, as Porian et al. (2024) take it: log loss, the median minimum over draws
                  of the runs' own noise, weights 1/sd^2, sd at least a third of the grid's step; a
                  profile whose minimum is at an edge in most draws is dropped

The headline is the one of least error of a in simulations of this grid and this noise (choice.py),
unless a method is asked for.

A profile whose lowest loss is at its smallest or largest size, or that is not convex, has no
minimum: it is left out and said so, never extrapolated to. The law N* = k C^a is a weighted
regression on the minima, each with its own variance plus what scatter between profiles shows beyond
that (random effects, DerSimonian and Laird 1986). D* ~ C^b is fitted independently of N*, so that
a + b = 1 is a result and not an assumption.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from common.text import plural
from scaling.fit.config import IsoflopConfig
from scaling.fit.data_flags import unsteady
from scaling.fit.flags import Flag
from scaling.fit.frontier import Frontier
from scaling.fit.isoflop.flags import law_flags, with_flags
from scaling.fit.isoflop.frontier import (
    Minima,
    UsableProfiles,
    curve_minima,
)
from scaling.fit.isoflop.methods import headline, ways_of
from scaling.fit.isoflop.noise import noise_draws, profile_noise
from scaling.fit.isoflop.profiles import METHODS, Method, Profile, find_profiles
from scaling.fit.numerics import FEWEST_POINTS, estimate, generator
from scaling.fit.observations import Observations
from scaling.fit.results.estimate import UNKNOWN
from scaling.fit.results.laws import IsoflopLaw, IsoflopMinimum, judged

CHOSEN = IsoflopConfig()


@dataclass(frozen=True)
class IsoflopFit:
    """The fitted law, the profiles, and the frontiers of the headline and of the robust method."""

    law: IsoflopLaw
    profiles: tuple[Profile, ...] = ()
    frontier: Frontier | None = None
    robust: Frontier | None = None


def fit_isoflop(
    observations: Observations,
    n_bootstrap: int,
    seed: int,
    budget_tolerance: float,
    isoflop: IsoflopConfig = CHOSEN,
    methods: tuple[Method, ...] = METHODS,
) -> IsoflopFit:
    """Fit N* and D* against C through the profiles' minima. Refuses rather than raises.

    The headline is by the method that `isoflop` asks for, else chosen among `methods`.
    """
    profiles = find_profiles(observations, budget_tolerance, isoflop.window)
    usable = [profile for profile in profiles if profile.reason is None]
    noise = profile_noise(usable)
    flagged = dict(zip(map(id, usable), with_flags(usable, noise), strict=True))
    profiles = tuple(flagged.get(id(profile), profile) for profile in profiles)
    usable = list(flagged.values())
    draws = noise_draws(usable, noise, n_bootstrap, generator(seed, "isoflop"))
    parts = UsableProfiles(tuple(usable), noise, draws)
    if len(usable) < FEWEST_POINTS:
        return _refused(_too_few(profiles, usable), profiles, parts)
    ways = ways_of(profiles, parts, n_bootstrap, seed, methods)
    choice = headline(ways, isoflop.method, seed)
    head = ways.frontiers[choice.method]
    if head is None:
        why = "the minima of fewer than three budgets lie between the sampled sizes"
        return _refused(why, profiles, parts)
    if reason := unsteady(head.line.failed, n_bootstrap):
        return _refused(reason, profiles, parts)
    if choice.method == "spline" and ways.bagged is not None:
        usable = list(ways.bagged.usable)
    if choice.method == "parabola_all":
        wide = {id(old): new for old, new in zip(usable, ways.wide, strict=True)}
        profiles = tuple(wide.get(id(profile), profile) for profile in profiles)
        usable = list(ways.wide)
    robust = ways.frontiers.get("robust")
    flags = law_flags(observations, profiles, usable, head, choice.method, robust)
    law = IsoflopLaw(
        **judged(flags),
        **head.line.estimates,
        method=choice.method,
        method_reason=choice.reason,
        method_errors=choice.errors or None,
        methods={name: one.line.exponents if one else None for name, one in ways.frontiers.items()},
        valleys=tuple(_minimum(one, usable, (head.points, head.samples)) for one in profiles),
        scatter_between_valleys=head.scatter,
        failed_resamples=head.line.failed,
    )
    return IsoflopFit(law, profiles, head.line, robust.line if robust else None)


def _refused(reason: str, profiles: tuple[Profile, ...], parts: UsableProfiles) -> IsoflopFit:
    """No law; its profiles stay with the minima of their parabolas, as few as they are."""
    pair = curve_minima(parts) if parts.usable else None
    minima = tuple(_minimum(profile, parts.usable, pair) for profile in profiles)
    return IsoflopFit(IsoflopLaw(**judged(reason=reason), valleys=minima), profiles)


def _minimum(
    profile: Profile, usable: Sequence[Profile], found: tuple[Minima, Minima] | None
) -> IsoflopMinimum:
    """The profile's minimum of those found with their resamples, if it has one, and its flags."""
    index = next((i for i, other in enumerate(usable) if other is profile), None)
    flags, n, d, loss = profile.flags, UNKNOWN, UNKNOWN, UNKNOWN
    if index is None:
        code = "edge_valley" if profile.open_edge else "unusable"
        flags = (*flags, Flag(code, str(profile.reason)))
    elif found is not None:
        points, samples = found
        n, d, loss = (
            estimate(float(value(point[index])), value(cloud[:, index]))
            for value, point, cloud in (
                (np.exp, points.log_n, samples.log_n),
                (np.exp, points.log_d, samples.log_d),
                (np.asarray, points.loss, samples.loss),
            )
        )
    return IsoflopMinimum(profile.flops, n, d, loss, int(profile.window.sum()), flags)


def _too_few(profiles: Sequence[Profile], usable: Sequence[Profile]) -> str:
    lost = "; ".join(f"{v.flops:.3g} FLOP: {v.reason}" for v in profiles if v.reason is not None)
    with_minimum = plural(len(usable), "budget with a minimum", "budgets with a minimum")
    found = f"{with_minimum}, expected at least {FEWEST_POINTS}"
    return found + (f" ({lost})" if lost else "")
