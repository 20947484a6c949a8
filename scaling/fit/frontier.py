"""From the vertices of the valleys to N* and D* against C, by each of three methods.

Shapes: V valleys of k sizes, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.fit.laws import Estimate
from scaling.fit.lines import FEWEST_POINTS, PowerLaw, between_valleys, inverse_variances, regress
from scaling.fit.noise import Noise
from scaling.fit.shape import fit_shape, shape_losses, shape_vertices
from scaling.fit.spline import DRAWS, RICH_SIZES, Bag, bag, local_noise
from scaling.fit.uncertainty import estimate, generator
from scaling.fit.valleys import Method, Valley, vertex_variance, vertices, window_fit

# A spline's vertex with an sd of under a step of its grid tells neighbouring sizes apart.
_RESOLVED = 1.0

Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Vertices:
    """log N*, log D*, log C and loss of each valley's vertex: (V,), or (R, V) of resamples."""

    log_n: np.ndarray
    log_d: np.ndarray
    log_c: np.ndarray
    loss: np.ndarray


@dataclass(frozen=True)
class Frontier:
    """N* and D* against C by one method, their resamples, and the vertices behind them.

    `scatter` is the standard deviation of log N* about the line beyond what noise explains,
    `weights` (V,) are those of the vertices in the line of N*.
    """

    n: PowerLaw
    d: PowerLaw
    n_samples: PowerLaw
    d_samples: PowerLaw
    points: Vertices
    samples: Vertices
    scatter: float
    weights: np.ndarray

    @property
    def estimates(self) -> dict[str, Estimate]:
        """The exponents a and b, and the coefficients of N* = n_coef C^a and D* = d_coef C^b."""
        n, d, n_samples, d_samples = self.n, self.d, self.n_samples, self.d_samples
        return {
            "a": estimate(float(n.slope), n_samples.slope),
            "b": estimate(float(d.slope), d_samples.slope),
            "n_coef": estimate(float(np.exp(n.log_scale)), np.exp(n_samples.log_scale)),
            "d_coef": estimate(float(np.exp(d.log_scale)), np.exp(d_samples.log_scale)),
        }

    @property
    def failed(self) -> int:
        """Resamples in which fewer than three valleys have a vertex."""
        return int(np.isnan(self.n_samples.slope).sum())


@dataclass(frozen=True)
class Valleys:
    """The valleys with a vertex, what is known of their noise, and draws of it (R, k) each."""

    usable: tuple[Valley, ...]
    noise: Noise
    draws: list[np.ndarray]


@dataclass(frozen=True)
class Bagged:
    """Valleys whose vertex Porian et al.'s spline finds between their sizes, and that vertex."""

    usable: tuple[Valley, ...]
    bags: tuple[Bag, ...]

    @property
    def resolved(self) -> bool:
        """Whether the spline knows the vertex of most valleys to a step of the grid."""
        coarse = [b.sd / b.step for b in self.bags]
        return len(coarse) >= FEWEST_POINTS and float(np.median(coarse)) <= _RESOLVED


def bagged(valleys: Sequence[Valley], resamples: int, seed: int) -> Bagged | None:
    """Vertices by the spline of log loss over draws of noise; None where sizes are too few.

    Whether a valley is open is for the draws to say: in most of them its vertex must be inside.
    """
    usable = [v for v in valleys if v.reason is None or (v.open_edge and len(v.loss) > 3)]
    if np.median([len(valley.loss) for valley in usable]) < RICH_SIZES:
        return None
    rng = generator(seed, "isoflop spline noise")
    sd = local_noise([v.log_n for v in usable], [v.loss for v in usable])
    found = []
    for valley in usable:
        own = valley.noise / valley.loss
        half = rng.standard_normal((max(DRAWS, resamples + 1) // 2, len(valley.loss)))
        # Each draw and its mirror image, which steadies the median.
        unit = np.stack([half, -half], axis=1).reshape(-1, len(valley.loss))
        known = np.where(np.isfinite(own), own, sd)
        found.append(bag(valley.log_n, valley.loss, known, unit))
    pairs = [(v, b) for v, b in zip(usable, found, strict=True) if np.isfinite(b.vertex)]
    return Bagged(tuple(v for v, _ in pairs), tuple(b for _, b in pairs))


def spline_frontier(found: Bagged, resamples: int, seed: int) -> Frontier | None:
    """The laws through the vertices of `bagged`, and through those of so many of its draws."""
    points = [(np.array([b.vertex]), np.array([b.vertex_loss])) for b in found.bags]
    samples = [(b.log_n[:resamples], b.loss[:resamples]) for b in found.bags]
    variance = np.array([b.variance for b in found.bags])
    return _lines(found.usable, points, samples, variance, generator(seed, "isoflop spline"))


def frontier(valleys: Valleys, method: Method, seed: int) -> Frontier | None:
    """The laws through the vertices by `method`; None with fewer than three of them."""
    windows = zip(valleys.usable, valleys.noise.sd, strict=True)
    variance = np.array(
        [vertex_variance(v) * float((sd[v.window] ** 2).mean()) for v, sd in windows]
    )
    points, samples = _by_shape(valleys) if method == "robust" else _one_by_one(valleys, method)
    return _lines(valleys.usable, points, samples, variance, generator(seed, f"isoflop {method}"))


def _lines(
    usable: Sequence[Valley],
    points: list[Pair],
    samples: list[Pair],
    variance: np.ndarray,
    rng: np.random.Generator,
) -> Frontier | None:
    point = _vertices(usable, points, row=0)
    sample = _vertices(usable, samples)
    if np.isfinite(point.log_n).sum() < FEWEST_POINTS:
        return None
    lines = []
    for log_y, log_y_samples in ((point.log_n, sample.log_n), (point.log_d, sample.log_d)):
        scatter = between_valleys(point.log_c, log_y, variance)
        weights = inverse_variances(variance + scatter)
        jitter = np.sqrt(scatter) * rng.standard_normal(log_y_samples.shape)
        line = regress(point.log_c[None], log_y[None], weights)
        cloud = regress(sample.log_c, log_y_samples + jitter, weights)
        lines.append((PowerLaw(line.log_scale[0], line.slope[0]), cloud, scatter, weights))
    (n, n_samples, scatter, weights), (d, d_samples, _, _) = lines
    return Frontier(n, d, n_samples, d_samples, point, sample, float(np.sqrt(scatter)), weights)


def _one_by_one(valleys: Valleys, method: Method) -> tuple[list[Pair], list[Pair]]:
    kind: Literal["parabola", "spline"] = "spline" if method == "spline" else "parabola"
    points, samples = [], []
    for valley, draw in zip(valleys.usable, valleys.draws, strict=True):
        points.append(vertices(valley, valley.loss[None], kind))
        base = valley.loss.copy()
        if kind == "parabola":
            base[valley.window] = window_fit(valley)[0]
        samples.append(vertices(valley, base + draw, kind))
    return points, samples


def _by_shape(valleys: Valleys) -> tuple[list[Pair], list[Pair]]:
    usable = valleys.usable
    shape = fit_shape(usable)
    points = shape_vertices(usable, [valley.loss[None] for valley in usable], shape, free=False)
    fitted = shape_losses(usable, shape)
    losses = [base + draw for base, draw in zip(fitted, valleys.draws, strict=True)]
    return points, shape_vertices(usable, losses, shape, free=True)


def _vertices(usable: Sequence[Valley], pairs: list[Pair], row: int | None = None) -> Vertices:
    columns = []
    for valley, (log_n, loss) in zip(usable, pairs, strict=True):
        log_d, log_c = valley.at(log_n)
        columns.append((log_n, log_d, log_c, loss))
    arrays = [np.stack([column[i] for column in columns], axis=1) for i in range(4)]
    return Vertices(*(array if row is None else array[row] for array in arrays))
