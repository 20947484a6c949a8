"""Approach 3: the surface E + A N^-alpha + B D^-beta through all runs (Hoffmann et al. 2022).

Two independent roads lead to the minimum and must agree: a grid over (alpha, beta) on which E, A
and B are solved for (variable projection, as Czech 2026 advises), and Newton descents in all five
parameters from the best cells of that grid. Hoffmann's own optimiser stopped short of the minimum
(Besiroglu et al. 2024), so the fit carries its certificate: gradient, starts, starts that agree.
"""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaling.fit import descent
from scaling.fit.cells import plural
from scaling.fit.config import Objective
from scaling.fit.descent import ALPHA, BETA, LOWER, UPPER, A, B, Descent, E, Rows, descend
from scaling.fit.doubts import data_flags, unsteady, wide_interval
from scaling.fit.laws import Estimate, Flag, LawFit, Surface
from scaling.fit.observations import Observations
from scaling.fit.profile import profile
from scaling.fit.resampling import how_to_resample, resampled
from scaling.fit.screening import CELLS, project, spread
from scaling.fit.uncertainty import estimate, generator

PARAMETERS = 5
_AGREE = 1e-6  # relative difference of objectives that count as one minimum
_NOTHING = 1e-9  # share of the loss under which a term changes nothing
# Huber widths that no residual is within, or all are.
_WIDTHS: dict[str, float] = {"lad": 1e-6, "least_squares": 1e9}
_FLAT_FLOOR = 0.5  # width of E's 90% interval, as a share of E, beyond which E is not known


@dataclass(frozen=True)
class PointFit:
    """The minimum of the objective over the rows given, with what certifies it.

    theta           E, A, B, alpha, beta; A and B at the rows' geometric means
    at_bound        names of parameters that ended at a bound, and which one
    grid_objective  lowest objective that variable projection found
    """

    theta: np.ndarray
    objective: float
    gradient: float
    converged: bool
    starts: int
    starts_at_optimum: int
    grid_objective: float
    at_bound: dict[str, Literal["low", "high"]]

    @property
    def certified(self) -> bool:
        """Stationary, and nowhere does the grid lie lower."""
        slack = _AGREE * self.objective + 1e-18
        return self.converged and self.objective <= self.grid_objective + slack


@dataclass(frozen=True)
class ParametricFit:
    """The fitted law, its surface (None if refused), and the surfaces of the resamples.

    `samples` holds arrays of (R,), nan where a resample failed; `residual_sd` is the rms of
    log L - log Lhat over the rows.
    """

    law: LawFit
    surface: Surface | None = None
    samples: Surface | None = None
    residual_sd: float = float("nan")


def fit_parametric(
    observations: Observations,
    n_bootstrap: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
) -> ParametricFit:
    """Fit the surface to the observations and to resamples of them. Refuses rather than raises.

    The objective on r = log Lhat - log L: "huber" the sum of Huber_delta(r) (Hoffmann et al.),
    "lad" the sum of |r| (which the published refit of Besiroglu et al. is in effect), or
    "least_squares" half the sum of r^2.
    """
    delta = width(objective, delta)
    reason = _too_little(observations)
    if reason is not None:
        return ParametricFit(LawFit("parametric", reason=reason))
    rows, centre = centred(observations.params, observations.tokens, observations.loss)
    point = minimise(rows, delta)
    residuals = np.log(rows.loss / descent.predicted(point.theta[None], rows)[0])
    details: dict[str, Any] = {
        "objective": float(np.abs(residuals).sum()) if objective == "lad" else point.objective,
        "gradient_norm": point.gradient,
        "converged": point.certified,
        "starts": point.starts,
        "starts_at_optimum": point.starts_at_optimum,
    }
    reason = _not_identified(point)
    if reason is not None:
        return ParametricFit(LawFit("parametric", details=details, reason=reason))
    how, rng = how_to_resample(observations), generator(seed, "parametric")
    others = resampled(how, rows, point.theta, n_bootstrap, delta, rng)
    samples, lost = _raw(_failed_to_nan(others), centre), _lost(others)
    surface = _raw(point.theta, centre)
    failed = int(np.isnan(samples.alpha).sum())
    reason = unsteady(failed, n_bootstrap)
    if reason is not None:
        return ParametricFit(LawFit("parametric", details=details, reason=reason))
    details["resampling"] = how
    details["residuals"] = [float(r) for r in residuals]
    details["failed_resamples"] = failed
    estimates = _estimates(surface, samples, point)
    flags = _flags(observations, estimates, point, lost)
    beside = profile(rows, point.theta, point.objective, delta)
    details["profile"] = beside.document(estimates["a"])
    known = {flag.code for flag in flags}
    flags += tuple(flag for flag in beside.flags(estimates["a"]) if flag.code not in known)
    law = LawFit("parametric", estimates, details, flags)
    return ParametricFit(law, surface, samples, float(np.sqrt(np.mean(residuals**2))))


def width(objective: Objective, delta: float) -> float:
    """The Huber width by which `objective` is minimised."""
    return _WIDTHS.get(objective, delta)


def centred(
    params: np.ndarray,
    tokens: np.ndarray,
    loss: np.ndarray,
    residual: Literal["log", "loss"] = "log",
) -> tuple[Rows, np.ndarray]:
    """Rows with log N and log D about their means, and those two means."""
    log_n, log_d = np.log(params), np.log(tokens)
    centre = np.array([log_n.mean(), log_d.mean()])
    return Rows(log_n - centre[0], log_d - centre[1], loss, residual), centre


def minimise(rows: Rows, delta: float) -> PointFit:
    """The global minimum of the objective over all rows, certified as far as that is possible."""
    deltas = stages(delta)
    screened, squares = project(rows, CELLS)
    chosen = spread(squares)
    ones = np.ones((len(chosen), rows.loss.size))
    on_grid = descend(screened[chosen], rows, ones, (delta,), (True, True, True, False, False), 60)
    free = descend(screened[chosen], rows, ones, deltas)
    best = int(np.argmin(free.objective))
    theta, value = free.theta[best], float(free.objective[best])
    return PointFit(
        theta=theta,
        objective=value,
        gradient=float(free.gradient[best]),
        converged=bool(free.converged[best]),
        starts=len(chosen),
        starts_at_optimum=int((free.objective <= value * (1 + _AGREE) + 1e-18).sum()),
        grid_objective=float(on_grid.objective.min()),
        at_bound=_bounds(theta, rows),
    )


def _bounds(theta: np.ndarray, rows: Rows) -> dict[str, Literal["low", "high"]]:
    """Parameters at a bound; a term that is the same for all rows, but for rounding, is at 0."""
    found: dict[str, Literal["low", "high"]] = {}
    for name, index in (("E", E), ("A", A), ("B", B), ("alpha", ALPHA), ("beta", BETA)):
        if theta[index] <= LOWER[index]:
            found[name] = "low"
        elif theta[index] >= UPPER[index]:
            found[name] = "high"
    for name, term, exponent, log_size in (
        ("A", A, ALPHA, rows.log_n),
        ("B", B, BETA, rows.log_d),
    ):
        if np.ptp(theta[term] * np.exp(-theta[exponent] * log_size)) < _NOTHING * rows.loss.min():
            found[name] = "low"
    return found


def stages(delta: float) -> tuple[float, ...]:
    """Falling Huber widths that end at `delta`, in steps of about a factor 3 from 0.1."""
    count = max(0, int(np.ceil(np.log(0.1 / delta) / np.log(3.2)))) if delta < 0.1 else 0
    return (*np.geomspace(0.1, delta, count + 1)[:-1], delta) if count else (delta,)


def _raw(theta: np.ndarray, centre: np.ndarray) -> Surface:
    """The surface in raw N and D of centred parameters (..., 5)."""
    alpha, beta = theta[..., ALPHA], theta[..., BETA]
    surface = Surface(
        E=theta[..., E],
        A=theta[..., A] * np.exp(alpha * centre[0]),
        B=theta[..., B] * np.exp(beta * centre[1]),
        alpha=alpha,
        beta=beta,
    )
    if theta.ndim == 1:
        return Surface(*(float(x) for x in (surface.E, surface.A, surface.B, alpha, beta)))
    return surface


def _lost(resampled: Descent) -> np.ndarray:
    """Resamples in which a term vanished: they have a minimum, but no exponent."""
    return resampled.converged & (resampled.theta[:, [A, B]] <= 0).any(axis=1)


def _failed_to_nan(resampled: Descent) -> np.ndarray:
    failed = ~resampled.converged | _lost(resampled)
    return np.where(failed[:, None], np.nan, resampled.theta)


def _estimates(surface: Surface, samples: Surface, point: PointFit) -> dict[str, Estimate]:
    found = {}
    for name in ("E", "A", "B", "alpha", "beta", "a", "b"):
        bound = point.at_bound.get(name)
        value = None if bound else getattr(surface, name)
        found[name] = (
            Estimate(None, bound=bound) if bound else estimate(value, getattr(samples, name))
        )
    return found


def _too_little(observations: Observations) -> str | None:
    points = len(set(zip(observations.params, observations.tokens, strict=True)))
    if points < PARAMETERS + 1:
        return f"{plural(points, 'distinct (N, D) point')}, expected at least {PARAMETERS + 1}"
    for name, values in (("N", observations.params), ("D", observations.tokens)):
        if len(np.unique(values)) < 3:
            return (
                f"{len(np.unique(values))} distinct {name}, expected at least 3 to see an exponent"
            )
    if np.ptp(np.log(observations.tokens / observations.params)) < 1e-6:
        return "D is one multiple of N in every run: their effects cannot be told apart"
    return None


def _not_identified(point: PointFit) -> str | None:
    if not point.certified:
        return (
            f"not converged: gradient {point.gradient:.1e} of its largest possible value, "
            f"objective {point.objective:.6g}, lowest on the grid {point.grid_objective:.6g}"
        )
    lost = [name for name in point.at_bound if name != "E"]
    if lost:
        sides = ", ".join(f"{name} at its {point.at_bound[name]} bound" for name in lost)
        return f"{sides}: these runs do not show how loss falls with both N and D"
    return None


def _flags(
    observations: Observations, found: dict[str, Estimate], point: PointFit, lost: np.ndarray
) -> tuple[Flag, ...]:
    flags: list[Flag] = []

    def flag(code: str, text: str) -> None:
        flags.append(Flag(code, text))

    floor = found["E"]
    if point.at_bound:
        flag("term_at_bound", "E ended at its bound 0: no floor shows in these runs")
        flag("floor_unidentified", "the irreducible loss E is not identified; do not quote it")
    elif floor.ci90 and floor.value and floor.ci90[1] - floor.ci90[0] > _FLAT_FLOOR * floor.value:
        flag(
            "floor_unidentified",
            f"the 90% interval of E, {floor.ci90[0]:.2f} to {floor.ci90[1]:.2f}, is wider than "
            "half of E; do not extrapolate far",
        )
    if lost.size and lost.mean() > 0.01:
        flag("term_at_bound", f"in {lost.mean():.0%} of the resamples a term vanished")
    return (*flags, *wide_interval(found["a"]), *data_flags(observations))
