"""Approach 2: at each budget the size of least loss, then power laws through those sizes.

A profile is the losses of one budget against log N. Its minimum is taken by three methods:

    parabola  least squares in log N over the sizes within a factor 4 of the lowest, at least five.
              A wider window is steadier and more biased (Czech 2026: by 1% of D* at a factor 4).
    robust    one skewed shape for all profiles (shared_shape.py): no bias on a surface, whatever
              the width of the grid, and Huber's weights, so that one bad run hardly moves it
    spline    Akima's, and where the headline as Porian et al. (2024) take it: log loss, the median
              minimum over draws of the runs' own noise, weights 1/sd^2, sd at least a third of the
              grid's step; a profile whose minimum is at an edge in most draws is dropped

The headline is chosen by a rule that sees the grid and the noise but no result; the rule itself
was chosen with Porian et al.'s exponents in view, so agreement with those is calibration. It is the
parabola, whose form steadies it, on grids planned about the minimum: up to seven sizes a profile,
the window holding nearly all of them, so that its bias is the same at every budget and spoils
no exponent. It is the spline where most profiles have eight sizes or more and their noise lets it
locate the minimum within a step of the grid: such a table is a ladder of sizes on which the window
slides from budget to budget, the parabola's bias slides with it and biases the exponent (Czech
2026), and a curve that assumes no form is affordable.

A profile whose lowest loss is at its smallest or largest size, or that is not convex, has no
minimum: it is left out and said so, never extrapolated to. The law N* = k C^a is a weighted
regression on the minima, each with its own variance plus what scatter between profiles shows beyond
that (random effects, DerSimonian and Laird 1986). D* ~ C^b is fitted independently of N*, so that
a + b = 1 is a result and not an assumption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from common.text import plural
from scaling.fit.data_flags import ENOUGH_BUDGETS, data_flags, unsteady, wide_interval
from scaling.fit.flags import Flag
from scaling.fit.frontier import Frontier
from scaling.fit.isoflop.akima import RICH_SIZES
from scaling.fit.isoflop.flags import drift, lost_edges, with_flags
from scaling.fit.isoflop.frontier import (
    Bagged,
    Minima,
    ProfileFrontier,
    UsableProfiles,
    bagged,
    curve_minima,
    frontier,
    spline_frontier,
)
from scaling.fit.isoflop.noise import noise_draws, profile_noise
from scaling.fit.isoflop.profiles import METHODS, Method, Profile, find_profiles
from scaling.fit.numerics import FEWEST_POINTS, estimate, generator
from scaling.fit.observations import Observations
from scaling.fit.results.estimate import UNKNOWN
from scaling.fit.results.laws import IsoflopLaw, IsoflopMinimum, judged


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
    methods: tuple[Method, ...] = METHODS,
) -> IsoflopFit:
    """Fit N* and D* against C through the profiles' minima. Refuses rather than raises.

    Without "spline" among `methods` the headline is the parabola, which must be.
    """
    profiles = find_profiles(observations, budget_tolerance)
    usable = [profile for profile in profiles if profile.reason is None]
    noise = profile_noise(usable)
    flagged = dict(zip(map(id, usable), with_flags(usable, noise), strict=True))
    profiles = tuple(flagged.get(id(profile), profile) for profile in profiles)
    usable = list(flagged.values())
    draws = noise_draws(usable, noise, n_bootstrap, generator(seed, "isoflop"))
    parts = UsableProfiles(tuple(usable), noise, draws)
    if len(usable) < FEWEST_POINTS:
        return _refused(_too_few(profiles, usable), profiles, parts)
    frontiers = {method: frontier(parts, method, seed) for method in methods}
    rich = bagged(profiles, n_bootstrap, seed) if "spline" in methods else None
    headline, why_headline = _headline(rich)
    if rich is not None and headline == "spline":
        usable = list(rich.usable)
        frontiers["spline"] = spline_frontier(rich, n_bootstrap, seed)
    head = frontiers[headline]
    if head is None:
        why = "the minima of fewer than three budgets lie between the sampled sizes"
        return _refused(why, profiles, parts)
    if reason := unsteady(head.line.failed, n_bootstrap):
        return _refused(reason, profiles, parts)
    law = IsoflopLaw(
        **judged(_flags(observations, profiles, usable, head, frontiers)),
        **head.line.estimates,
        method=headline,
        method_reason=why_headline,
        methods={name: one.line.exponents if one else None for name, one in frontiers.items()},
        valleys=tuple(
            _minimum(profile, usable, (head.points, head.samples)) for profile in profiles
        ),
        scatter_between_valleys=head.scatter,
        failed_resamples=head.line.failed,
    )
    robust = frontiers.get("robust")
    return IsoflopFit(law, profiles, head.line, robust.line if robust else None)


def _refused(reason: str, profiles: tuple[Profile, ...], parts: UsableProfiles) -> IsoflopFit:
    """No law; its profiles stay with the minima of their parabolas, as few as they are."""
    pair = curve_minima(parts) if parts.usable else None
    minima = tuple(_minimum(profile, parts.usable, pair) for profile in profiles)
    return IsoflopFit(IsoflopLaw(**judged(reason=reason), valleys=minima), profiles)


def parabola_exponent(profiles: Sequence[Profile | None]) -> float:
    """The exponent a through the parabolas' minima alone; nan where the law would be refused."""
    usable = tuple(p for p in profiles if p is not None and p.reason is None)
    if len(usable) < FEWEST_POINTS:
        return float("nan")
    noise = profile_noise(usable)
    draws = [np.zeros((0, len(profile.loss))) for profile in usable]
    found = frontier(UsableProfiles(usable, noise, draws), "parabola", seed=0)
    return float("nan") if found is None else float(found.line.n.slope)


def _headline(rich: Bagged | None) -> tuple[Method, str]:
    """The method of the headline and why, by the grid and the noise and not by the results."""
    if rich is None:
        return "parabola", f"most IsoFLOP curves have fewer than {RICH_SIZES} sizes"
    if not rich.resolved:
        return "parabola", "noise leaves the spline's minima uncertain by over a step of the grid"
    return "spline", f"{RICH_SIZES} sizes an IsoFLOP curve, and noise lets a spline resolve them"


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


def _flags(
    observations: Observations,
    profiles: Sequence[Profile],
    usable: Sequence[Profile],
    head: ProfileFrontier,
    frontiers: Mapping[Method, ProfileFrontier | None],
) -> tuple[Flag, ...]:
    flags = []
    kept = {id(profile) for profile in usable}
    for profile in profiles:
        if id(profile) not in kept:
            text = f"{profile.flops:.3g} FLOP is left out: {profile.reason}"
            flags.append(Flag("edge_valley", text))
    flags += lost_edges(usable, head)
    if frontiers.get("parabola") is head:
        flags += drift(usable, head, frontiers.get("robust"))
    if len(usable) < ENOUGH_BUDGETS:
        text = f"{len(usable)} budgets, expected at least {ENOUGH_BUDGETS} for a law to rely on"
        flags.append(Flag("few_budgets", text))
    return (*flags, *wide_interval(head.line.estimates["a"]), *data_flags(observations))
