"""From the minima of the profiles to N* and D* against C, by each method.

Shapes: V profiles of k sizes, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scaling.fit.frontier import Frontier
from scaling.fit.isoflop.akima import DRAWS, Bag, bag, local_noise
from scaling.fit.isoflop.noise import Noise
from scaling.fit.isoflop.profiles import Profile, minima, minimum_variance, window_fit
from scaling.fit.isoflop.shared_shape import Shape, shape_losses, shape_minima
from scaling.fit.numerics import (
    FEWEST_POINTS,
    between_profiles,
    generator,
    inverse_variances,
    regress,
)

# A spline's minimum with an sd of under a step of its grid tells neighbouring sizes apart.
_RESOLVED = 1.0

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Minima:
    """log N*, log D*, log C and loss of each profile's minimum: (V,), or (R, V) of resamples."""

    log_n: np.ndarray
    log_d: np.ndarray
    log_c: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class ProfileFrontier:
    """N* and D* against C by one method, and the minima behind them with their resamples.

    `scatter` is the standard deviation of log N* about the line beyond what noise explains,
    `weights` (V,) are those of the minima in the line of N*.
    """

    line: Frontier
    points: Minima
    samples: Minima
    scatter: float
    weights: np.ndarray


@dataclass(frozen=True)
class UsableProfiles:
    """The profiles with a minimum, what is known of their noise, and draws of it (R, k) each."""

    usable: tuple[Profile, ...]
    noise: Noise
    draws: list[np.ndarray]


@dataclass(frozen=True)
class Bagged:
    """Profiles whose minimum Porian et al.'s spline finds between their sizes."""

    usable: tuple[Profile, ...]
    bags: tuple[Bag, ...]

    @property
    def resolved(self) -> bool:
        """Whether the spline knows the minimum of most profiles to a step of the grid."""
        coarse = [b.sd / b.step for b in self.bags]
        return len(coarse) >= FEWEST_POINTS and float(np.median(coarse)) <= _RESOLVED


def bagged(profiles: Sequence[Profile], resamples: int, seed: int) -> Bagged | None:
    """Minima by the spline of log loss over draws of noise; None without four sizes anywhere.

    Whether a profile is open is for the draws to say: in most of them its minimum must be inside.
    """
    usable = [v for v in profiles if may_have_minimum(v)]
    rng = generator(seed, "isoflop spline noise")
    sd = local_noise([v.log_n for v in usable], [v.loss for v in usable])
    if not np.isfinite(sd):
        return None
    found = [bag_of(profile, sd, max(DRAWS, resamples + 1), rng) for profile in usable]
    pairs = [(v, b) for v, b in zip(usable, found, strict=True) if np.isfinite(b.minimum)]
    return Bagged(tuple(v for v, _ in pairs), tuple(b for _, b in pairs))


def may_have_minimum(profile: Profile) -> bool:
    """Whether the draws of noise decide if a profile's minimum is between its sizes."""
    return profile.reason is None or (profile.open_edge and len(profile.loss) > 3)


def bag_of(profile: Profile, sd: float, draws: int, rng: np.random.Generator) -> Bag:
    """The profile's minimum over draws of its known noise, or of this sd of log loss."""
    own = profile.noise / profile.loss
    half = rng.standard_normal((draws // 2, len(profile.loss)))
    # Each draw and its mirror image, which steadies the median.
    unit = np.stack([half, -half], axis=1).reshape(-1, len(profile.loss))
    known = np.where(np.isfinite(own), own, sd)
    least = profile.least_loss(float((known * profile.loss).max()))
    return bag(profile.log_n, profile.loss, known, unit, least)


def spline_frontier(found: Bagged, resamples: int, seed: int) -> ProfileFrontier | None:
    """The laws through the minima of `bagged`, and through those of so many of its draws."""
    points = [(np.array([b.minimum]), np.array([b.minimum_loss])) for b in found.bags]
    samples = [(b.log_n[:resamples], b.loss[:resamples]) for b in found.bags]
    variance = np.array([b.variance for b in found.bags])
    return _lines(found.usable, points, samples, variance, generator(seed, "isoflop spline"))


def parabola_frontier(profiles: UsableProfiles, seed: int) -> ProfileFrontier | None:
    """The laws through the parabolas' minima; None with fewer than three of them."""
    return _with_variance(profiles, _one_by_one(profiles), generator(seed, "isoflop parabola"))


def shape_frontier(profiles: UsableProfiles, shape: Shape, seed: int) -> ProfileFrontier | None:
    """The laws through the minima of the one shape; None with fewer than three of them."""
    pairs = _by_shape(profiles, shape)
    return _with_variance(profiles, pairs, generator(seed, "isoflop robust"))


def _with_variance(
    profiles: UsableProfiles, pairs: tuple[list[Pair], list[Pair]], rng: np.random.Generator
) -> ProfileFrontier | None:
    windows = zip(profiles.usable, profiles.noise.sd, strict=True)
    variance = np.array(
        [minimum_variance(v) * float((sd[v.window] ** 2).mean()) for v, sd in windows]
    )
    return _lines(profiles.usable, *pairs, variance, rng)


def curve_minima(profiles: UsableProfiles) -> tuple[Minima, Minima]:
    """The parabolas' minima, (V,), and of the resamples, (R, V), however few they are."""
    points, samples = _one_by_one(profiles)
    return _minima(profiles.usable, points, row=0), _minima(profiles.usable, samples)


def _lines(
    usable: Sequence[Profile],
    points: list[Pair],
    samples: list[Pair],
    variance: np.ndarray,
    rng: np.random.Generator,
) -> ProfileFrontier | None:
    point = _minima(usable, points, row=0)
    sample = _minima(usable, samples)
    if np.isfinite(point.log_n).sum() < FEWEST_POINTS:
        return None
    lines = []
    for log_y, log_y_samples in ((point.log_n, sample.log_n), (point.log_d, sample.log_d)):
        scatter = between_profiles(point.log_c, log_y, variance)
        weights = inverse_variances(variance + scatter)
        jitter = np.sqrt(scatter) * rng.standard_normal(log_y_samples.shape)
        line = regress(point.log_c[None], log_y[None], weights)
        cloud = regress(sample.log_c, log_y_samples + jitter, weights)
        lines.append((line[0], cloud, scatter, weights))
    (n, n_samples, scatter, weights), (d, d_samples, _, _) = lines
    frontier = Frontier(n, d, n_samples, d_samples)
    return ProfileFrontier(frontier, point, sample, float(np.sqrt(scatter)), weights)


def _one_by_one(profiles: UsableProfiles) -> tuple[list[Pair], list[Pair]]:
    points, samples = [], []
    for profile, draw in zip(profiles.usable, profiles.draws, strict=True):
        points.append(minima(profile, profile.loss[None]))
        base = profile.loss.copy()
        base[profile.window] = window_fit(profile)[0]
        samples.append(minima(profile, base + draw))
    return points, samples


def _by_shape(profiles: UsableProfiles, shape: Shape) -> tuple[list[Pair], list[Pair]]:
    usable = profiles.usable
    points = shape_minima(usable, [profile.loss[None] for profile in usable], shape, free=False)
    fitted = shape_losses(usable, shape)
    losses = [base + draw for base, draw in zip(fitted, profiles.draws, strict=True)]
    return points, shape_minima(usable, losses, shape, free=True)


def _minima(usable: Sequence[Profile], pairs: list[Pair], row: int | None = None) -> Minima:
    columns = []
    for profile, (log_n, loss) in zip(usable, pairs, strict=True):
        log_d, log_c = profile.at(log_n)
        columns.append((log_n, log_d, log_c, loss))
    arrays = [np.stack([column[i] for column in columns], axis=1) for i in range(4)]
    return Minima(*(array if row is None else array[row] for array in arrays))
