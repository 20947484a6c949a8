"""The frontier by every method, for the choice of the headline and to stand beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scaling.fit.isoflop.choice import Choice, choose
from scaling.fit.isoflop.frontier import (
    Bagged,
    ProfileFrontier,
    UsableProfiles,
    bagged,
    parabola_frontier,
    shape_frontier,
    spline_frontier,
)
from scaling.fit.isoflop.noise import noise_draws, profile_noise
from scaling.fit.isoflop.profiles import Method, Profile, all_sizes
from scaling.fit.isoflop.shared_shape import Shape, fit_shape
from scaling.fit.numerics import generator


@dataclass(frozen=True)
class Ways:
    """The frontier by each method, and what the methods share."""

    frontiers: Mapping[Method, ProfileFrontier | None]
    usable: tuple[Profile, ...]
    wide: tuple[Profile, ...]
    bagged: Bagged | None
    shape: Shape | None


def ways_of(
    profiles: Sequence[Profile],
    parts: UsableProfiles,
    n_bootstrap: int,
    seed: int,
    methods: Sequence[Method],
) -> Ways:
    """The frontiers by `methods`, each through the minima of the profiles that have one."""
    usable, wide = parts.usable, tuple(map(all_sizes, parts.usable))
    found: dict[Method, ProfileFrontier | None] = {}
    rich = shape = None
    for method in methods:
        if method == "robust":
            shape = fit_shape(usable)
            found[method] = shape_frontier(parts, shape, seed)
        elif method == "spline":
            rich = bagged(profiles, n_bootstrap, seed)
            found[method] = spline_frontier(rich, n_bootstrap, seed) if rich else None
        elif method == "parabola_all":
            noise = profile_noise(wide)
            draws = noise_draws(wide, noise, n_bootstrap, generator(seed, "isoflop all sizes"))
            found[method] = parabola_frontier(UsableProfiles(wide, noise, draws), seed)
        else:
            found[method] = parabola_frontier(parts, seed)
    return Ways(found, usable, wide, rich, shape)


def headline(ways: Ways, asked: Method | None, seed: int) -> Choice:
    """The headline's method: the one asked for, the only one, or the one chosen."""
    if asked is not None and asked in ways.frontiers:
        return Choice(asked, f"asked for: isoflop.method={asked}", {})
    standing = [name for name, frontier in ways.frontiers.items() if frontier is not None]
    if len(standing) < 2:
        only = standing[0] if standing else next(iter(ways.frontiers))
        return Choice(only, "no other method finds the minima of three budgets", {})
    resolved = ways.bagged is not None and ways.bagged.resolved
    return choose(ways.usable, ways.shape, standing, resolved, seed)
