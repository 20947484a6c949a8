"""Approach 2: at each budget the size of least loss, then power laws through those sizes.

A valley is the losses of one budget against log N. Its vertex is taken by three methods; the
headline is the parabola on a local window, by rule and not by looking at the results:

    parabola  least squares in log N over the sizes within a factor 4 of the lowest, at least five.
              A wider window is steadier and more biased (Czech 2026: by 1% of D* at a factor 4).
    robust    the same by Huber's M-estimate: one bad run hardly moves it
    spline    Akima through the loss of each size (Porian et al. 2024); free of the parabola's
              bias, and as noisy as the runs

A valley whose lowest loss is at its smallest or largest size, or that is not convex, has no vertex:
it is left out and said so, never extrapolated to. The law N* = k C^a is a weighted regression on
the vertices, each with its own variance plus what scatter between valleys shows beyond that
(random effects, DerSimonian and Laird 1986). D* ~ C^b is fitted apart from N*, so that a + b = 1
is a finding and not an assumption.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.doubts import data_flags, unsteady, wide_interval
from scaling.fit.laws import UNKNOWN, Estimate, Flag, LawFit
from scaling.fit.lines import FEWEST_POINTS, PowerLaw, between_valleys, inverse_variances, regress
from scaling.fit.noise import Noise, noise_draws, valley_noise
from scaling.fit.observations import Observations
from scaling.fit.uncertainty import estimate, generator
from scaling.fit.valleys import (
    METHODS,
    Method,
    Valley,
    find_valleys,
    vertex_variance,
    vertices,
    window_fit,
)

_ENOUGH_BUDGETS = 5
HEADLINE: Method = "parabola"


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

    `scatter` is the standard deviation of log N* about the line beyond what noise explains.
    """

    n: PowerLaw
    d: PowerLaw
    n_samples: PowerLaw
    d_samples: PowerLaw
    points: Vertices
    samples: Vertices
    scatter: float

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
class IsoflopFit:
    """The fitted law, the valleys of the runs, and the headline frontier (None if refused)."""

    law: LawFit
    valleys: tuple[Valley, ...] = ()
    frontier: Frontier | None = None


def fit_isoflop(
    observations: Observations,
    n_bootstrap: int,
    seed: int,
    tolerance: float,
    methods: tuple[Method, ...] = METHODS,
) -> IsoflopFit:
    """Fit N* and D* against C through the valleys' vertices. Refuses rather than raises.

    `methods` must hold the headline; the others cost resamples of their own.
    """
    valleys = find_valleys(observations, tolerance)
    usable = [valley for valley in valleys if valley.reason is None]
    if len(usable) < FEWEST_POINTS:
        return IsoflopFit(LawFit("isoflop", reason=_too_few(valleys, usable)), valleys)
    noise = valley_noise(usable)
    draws = noise_draws(usable, noise, n_bootstrap, generator(seed, "isoflop"))
    frontiers: dict[str, Frontier | None] = {
        method: _frontier(usable, noise, draws, method, seed) for method in methods
    }
    head = frontiers[HEADLINE]
    if head is None:
        why = "the vertices of fewer than three budgets lie between the sampled sizes"
        return IsoflopFit(LawFit("isoflop", reason=why), valleys)
    reason = unsteady(head.failed, n_bootstrap)
    if reason is not None:
        return IsoflopFit(LawFit("isoflop", reason=reason), valleys)
    details = {
        "method": HEADLINE,
        "methods": {name: _exponents(frontier) for name, frontier in frontiers.items()},
        "valleys": _valley_documents(valleys, usable, head),
        "scatter_between_valleys": head.scatter,
        "failed_resamples": head.failed,
    }
    law = LawFit("isoflop", head.estimates, details, _flags(observations, valleys, usable, head))
    return IsoflopFit(law, valleys, head)


def _exponents(frontier: Frontier | None) -> dict[str, Any] | None:
    if frontier is None:
        return None
    return {name: frontier.estimates[name].document() for name in ("a", "b")}


def _frontier(
    usable: Sequence[Valley], noise: Noise, draws: list[np.ndarray], method: Method, seed: int
) -> Frontier | None:
    rng = generator(seed, f"isoflop {method}")
    points, samples = [], []
    for valley, draw in zip(usable, draws, strict=True):
        points.append(_vertex(valley, valley.loss[None], method))
        base = valley.loss.copy()
        if method != "spline":
            base[valley.window] = window_fit(valley)[0]
        samples.append(_vertex(valley, base + draw, method))
    point = Vertices(*(np.array([part[i][0] for part in points]) for i in range(4)))
    sample = Vertices(*(np.stack([part[i] for part in samples], axis=1) for i in range(4)))
    if np.isfinite(point.log_n).sum() < FEWEST_POINTS:
        return None
    variance = np.array(
        [
            vertex_variance(valley) * float((sd[valley.window] ** 2).mean())
            for valley, sd in zip(usable, noise.sd, strict=True)
        ]
    )
    lines = []
    for log_y, log_y_samples in ((point.log_n, sample.log_n), (point.log_d, sample.log_d)):
        scatter = between_valleys(point.log_c, log_y, variance)
        weights = inverse_variances(variance + scatter)
        jitter = np.sqrt(scatter) * rng.standard_normal(log_y_samples.shape)
        line = regress(point.log_c[None], log_y[None], weights)
        cloud = regress(sample.log_c, log_y_samples + jitter, weights)
        lines.append((PowerLaw(line.log_scale[0], line.slope[0]), cloud, scatter))
    (n, n_samples, scatter), (d, d_samples, _) = lines
    return Frontier(n, d, n_samples, d_samples, point, sample, float(np.sqrt(scatter)))


def _vertex(valley: Valley, losses: np.ndarray, method: Method) -> tuple[np.ndarray, ...]:
    log_n, loss = vertices(valley, losses, method)
    log_d, log_c = valley.at(log_n)
    return log_n, log_d, log_c, loss


def _valley_documents(
    valleys: Sequence[Valley], usable: Sequence[Valley], head: Frontier
) -> list[dict[str, Any]]:
    documents = []
    column = {id(valley): index for index, valley in enumerate(usable)}
    for valley in valleys:
        n_opt = d_opt = loss = UNKNOWN
        flags = valley.flags
        if valley.reason is None:
            index = column[id(valley)]
            n_opt, d_opt, loss = (
                estimate(float(value(getattr(head.points, name)[index])), value(cloud[:, index]))
                for name, value, cloud in (
                    ("log_n", np.exp, head.samples.log_n),
                    ("log_d", np.exp, head.samples.log_d),
                    ("loss", np.asarray, head.samples.loss),
                )
            )
        else:
            flags = (*flags, Flag("edge_valley" if valley.open_edge else "unusable", valley.reason))
        documents.append(
            {
                "flops": valley.flops,
                "n_opt": n_opt.document(),
                "d_opt": d_opt.document(),
                "loss": loss.document(),
                "n_points": int(valley.window.sum()),
                "flags": [flag.document() for flag in flags],
            }
        )
    return documents


def _too_few(valleys: Sequence[Valley], usable: Sequence[Valley]) -> str:
    lost = "; ".join(f"{v.flops:.3g} FLOP: {v.reason}" for v in valleys if v.reason is not None)
    found = f"{len(usable)} budgets with a vertex, expected at least {FEWEST_POINTS}"
    return found + (f" ({lost})" if lost else "")


def _flags(
    observations: Observations, valleys: Sequence[Valley], usable: Sequence[Valley], head: Frontier
) -> tuple[Flag, ...]:
    flags = []
    lost = [valley for valley in valleys if valley.reason is not None]
    for valley in lost:
        text = f"{valley.flops:.3g} FLOP is left out: {valley.reason}"
        flags.append(Flag("edge_valley", text))
    for valley in usable:
        for flag in valley.flags:
            if flag.code == "edge_lost":
                flags.append(Flag("edge_valley", f"{valley.flops:.3g} FLOP: {flag.text}"))
    if len(usable) < _ENOUGH_BUDGETS:
        text = f"{len(usable)} budgets, expected at least {_ENOUGH_BUDGETS} for a law to rely on"
        flags.append(Flag("few_budgets", text))
    return (*flags, *wide_interval(head.estimates["a"]), *data_flags(observations))
