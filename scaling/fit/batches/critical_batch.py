"""The critical batch: what steps and examples to one loss cost at batches of several sizes.

    (S/S_min - 1)(E/E_min - 1) = 1,  B_crit = E_min/S_min      McCandlish et al. 2018, eq. 2.11
    S = S_min (1 + B_crit/B)                                   the same, with E = B S
    B_crit(L) = B* / L^(1/alpha_B)                             Kaplan et al. 2020, eq. 1.4

A training curve says in how many steps S its batch B reached a loss, for each loss of a ladder that
all curves of one size reach (steps_to_loss.py). At each loss S_min and B_crit are fitted by
themselves; B* and alpha_B by all losses and sizes together, each loss with an S_min of its own.
Losses scatter by an error of each run, the same along its curve, and by one of each point: in log S
either is divided by the slope of the curve there, so it is residuals in nats that are squared, and
redrawn. Shapes: n points (a run at a loss), R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from common.text import plural
from scaling.fit.batches.steps_to_loss import Points, points_of
from scaling.fit.data_flags import unsteady, wide_share
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.flags import Flag
from scaling.fit.numerics import RESAMPLE, Sampled, Solved, estimate, generator, normal_draws, solve
from scaling.fit.numerics.levenberg_marquardt import POINT
from scaling.fit.observations import Observations
from scaling.fit.results.critical_batch import CriticalBatchLaw, CriticalLevel
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import judged

MOST_RESAMPLES = 1000
_BEYOND = np.log(1e3)  # a critical batch this far from those tried does not show
_STEEPEST = 50.0  # 1/alpha_B


@dataclass(frozen=True)
class CriticalBatch:
    """A fit with its resamples: `log_B` of the batch at the log loss `centre`, and 1/alpha_B.

    `errors` are those of _errors, of `dof` degrees of freedom, `noise` (R, n) in nats their draws.
    """

    points: Points
    noise: np.ndarray
    centre: float
    log_B: Sampled
    power: Sampled
    errors: tuple[float, float]
    dof: int

    @property
    def log_B_star(self) -> Sampled:
        """log B*, in tokens."""
        return self.log_at(1.0)

    @property
    def alpha_B(self) -> Sampled:
        """alpha_B; nan of a resample in which the batch does not grow as the loss falls."""
        with np.errstate(all="ignore"):
            powers = (self.power.value, self.power.samples)
            return Sampled(*(1 / np.where(power > 0, power, np.nan) for power in powers))

    def log_at(self, loss: float) -> Sampled:
        """Log B_crit at a loss."""
        x = np.log(loss) - self.centre
        pairs = zip(
            (self.log_B.value, self.log_B.samples),
            (self.power.value, self.power.samples),
            strict=True,
        )
        return Sampled(*(log_B - power * x for log_B, power in pairs))

    def levels_at(
        self, loss: float, traces: Sequence[Trace], resamples: int, seed: int
    ) -> tuple[CriticalLevel, ...]:
        """S_min, E_min and B_crit of each size whose curves all pass through a loss."""
        points = points_of(traces, loss)
        if isinstance(points, str):
            return ()
        rng = generator(seed, f"critical_batch.{loss:.17g}")
        noise = _noise(points, self.errors, self.dof, min(resamples, MOST_RESAMPLES), rng)
        return _levels(points, noise / points.slope, self.centre)


def fit_critical_batch(
    observations: Observations, resamples: int, seed: int, traces: Sequence[Trace]
) -> CriticalBatchLaw:
    """The law of the sizes trained at three batches or more; refuses rather than raises."""
    found = fit_all_losses(traces, resamples, seed)
    if isinstance(found, str):
        return CriticalBatchLaw(**judged(reason=found))
    points, fit = found.points, found
    alpha, scale = fit.alpha_B.estimate, fit.log_B_star
    levels = _levels(points, fit.noise / points.slope, fit.centre)
    with np.errstate(over="ignore"):
        B_star = estimate(float(np.exp(scale.value)), np.exp(scale.samples))
    return CriticalBatchLaw(
        **judged(_flags(traces, points, alpha, levels)),
        B_star=B_star,
        alpha_B=alpha,
        levels=levels,
        runs=len(np.unique(points.run)),
        run_sd=fit.errors[0],
        point_sd=fit.errors[1],
        failed_resamples=int(np.isnan(scale.samples).sum()),
    )


def fit_all_losses(traces: Sequence[Trace], resamples: int, seed: int) -> CriticalBatch | str:
    """B* and alpha_B by all losses and sizes together, with resamples, or why they are none."""
    points = points_of(traces)
    if isinstance(points, str):
        return points
    runs, sizes = len(np.unique(points.run)), len(np.unique(points.size))
    dof = runs - sizes - 2
    if dof < 1:
        few = f"{plural(runs, 'run')} of {plural(sizes, 'size')}"
        return f"{few}, expected {sizes + 3} at least"
    centre = float(np.log(points.loss).mean())
    joint = _Fit(points, centre)
    theta = joint.best()
    low, high = joint.bounds
    if theta is None or not (low < theta).all() or not (theta < high).all():
        return "these batches do not show a critical one"
    if theta[1] <= 0:
        return "the critical batch does not grow as the loss falls, so that no B*, alpha_B is"
    fitted, misfit = joint.fitted(theta)
    errors = _errors(points, misfit * points.slope, dof)
    resamples, rng = min(resamples, MOST_RESAMPLES), generator(seed, "critical_batch")
    noise = _noise(points, errors, dof, resamples, rng)
    samples = joint.refit(theta, fitted + noise / points.slope)
    failed = int(np.isnan(samples[:, 0]).sum())
    if reason := unsteady(failed, resamples):
        return reason
    log_B, power = (Sampled(theta[i], samples[:, i]) for i in range(2))
    return CriticalBatch(points, noise, centre, log_B, power, errors, dof)


class _Fit:
    """Critical batches of points, each level with an S_min of its own that falls out of the fit.

    theta (S, 2) is log B_crit at the mean log loss `centre`, and 1/alpha_B; of one level (S, 1).
    """

    def __init__(self, points: Points, centre: float, constants: int = 2) -> None:
        same = points.level[:, None] == points.level
        weight = np.where(same, points.slope**2, 0.0)
        self.within = np.eye(len(same)) - weight / weight.sum(axis=1, keepdims=True)
        self.points, self.constants = points, constants
        self.x = np.log(points.loss) - centre
        low, high = points.log_b.min() - _BEYOND, points.log_b.max() + _BEYOND
        self.bounds = np.array([[low, -_STEEPEST], [high, _STEEPEST]])[:, :constants]

    def rise(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log(1 + B_crit/B) (S, n), and its derivatives (S, n, P)."""
        at = theta[:, [0]] - self.points.log_b
        if self.constants == 2:
            at = at - theta[:, [1]] * self.x
        share = expit(at)
        slopes = np.stack([share, -share * self.x], axis=2)[..., : self.constants]
        with np.errstate(invalid="ignore"):  # a resample that diverges is one that failed
            return np.logaddexp(0.0, at), slopes

    def model(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same about the mean of each level, which is what the data show."""
        value, slopes = self.rise(theta)
        return value @ self.within.T, np.einsum("ij,sjp->sip", self.within, slopes)

    def best(self) -> np.ndarray | None:
        """theta (P,) of least squares; None where no start settles."""
        ends = self.points.log_b.min() - 1, self.points.log_b.max() + 1
        steep = (0.0, 2.0, 5.0, 10.0)[: 1 + 3 * (self.constants == 2)]
        starts = np.array([(b, m) for b in np.linspace(*ends, 6) for m in steep])
        found = self._solve(starts[:, : self.constants], self.points.log_s)
        best = found.best()
        return np.asarray(found.theta[best]) if found.converged[best] else None

    def fitted(self, theta_P: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """log S (n,) of the fit, and what it misses."""
        rise = self.rise(theta_P[None])[0][0]
        fitted = rise + (self.points.log_s - rise) - self.within @ (self.points.log_s - rise)
        return fitted, self.points.log_s - fitted

    def refit(self, theta_P: np.ndarray, drawn_Rn: np.ndarray) -> np.ndarray:
        """theta (R, P) of each resample; nan where it has none inside the bounds."""
        starts = np.repeat(theta_P[None], len(drawn_Rn), axis=0)
        found = self._solve(starts, drawn_Rn, RESAMPLE)
        inside = ((found.theta > self.bounds[0]) & (found.theta < self.bounds[1])).all(axis=1)
        return np.where((found.converged & inside)[:, None], found.theta, np.nan)

    def steps(self, theta: np.ndarray, log_s: np.ndarray) -> np.ndarray:
        """log S_min (S,) of a fit to one level."""
        weight = self.points.slope**2 / (self.points.slope**2).sum()
        return np.asarray((log_s - self.rise(theta)[0]) @ weight)

    def _solve(self, starts: np.ndarray, log_s: np.ndarray, tight: float = POINT) -> Solved:
        weights = (self.points.slope**2)[None]
        target = log_s @ self.within.T
        return solve(self.model, starts, target, weights, self.bounds[0], self.bounds[1], tight)


def _levels(points: Points, noise_Rn: np.ndarray, centre: float) -> tuple[CriticalLevel, ...]:
    """Each loss of each size by itself."""
    return tuple(_level(points.take(at), noise_Rn[:, at], centre) for at in points.levels())


def _level(points: Points, noise_Rn: np.ndarray, centre: float) -> CriticalLevel:
    """S_min, E_min and B_crit at one loss of one size, from its own points alone."""
    fit = _Fit(points, centre, 1)
    found = CriticalLevel(
        params=float(points.size[0]),
        loss=float(points.loss[0]),
        runs=len(points.run),
        batches=tuple(np.exp(points.log_b).tolist()),
        steps=tuple(np.exp(points.log_s).tolist()),
        noise_scale=_middle(points.log_noise),
    )
    theta = fit.best()
    if theta is None or not fit.bounds[0] < theta < fit.bounds[1]:
        return found
    drawn = fit.fitted(theta)[0] + noise_Rn
    samples = fit.refit(theta, drawn)
    batch, batches = theta[0], samples[:, 0]
    steps = float(fit.steps(theta[None], points.log_s)[0])
    least = fit.steps(samples, drawn)
    with np.errstate(over="ignore"):
        return replace(
            found,
            B_crit=estimate(float(np.exp(batch)), np.exp(batches)),
            S_min=estimate(float(np.exp(steps)), np.exp(least)),
            E_min=estimate(float(np.exp(steps + batch)), np.exp(least + batches)),
        )


def _middle(log_noise: np.ndarray) -> float | None:
    """Geometric mean over the runs that logged it."""
    known = log_noise[np.isfinite(log_noise)]
    return float(np.exp(known.mean())) if known.size else None


def _errors(points: Points, nats: np.ndarray, dof: int) -> tuple[float, float]:
    """Standard deviations in nats: of a run, along its whole curve, and of a point about that."""
    runs, index = np.unique(points.run, return_inverse=True)
    mean = np.bincount(index, nats) / np.bincount(index)
    spare = max(len(nats) - len(runs), 1)
    return (
        float(np.sqrt((mean**2).sum() / dof)),
        float(np.sqrt(((nats - mean[index]) ** 2).sum() / spare)),
    )


def _noise(
    points: Points, errors: tuple[float, float], dof: int, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Errors (R, n) in nats, with the uncertainty of that of the runs."""
    runs, index = np.unique(points.run, return_inverse=True)
    of_runs = normal_draws(errors[0], len(runs), dof, resamples, rng)
    return of_runs[:, index] + errors[1] * rng.standard_normal((resamples, len(index)))


def _flags(
    traces: Sequence[Trace], points: Points, alpha: Estimate, levels: Sequence[CriticalLevel]
) -> tuple[Flag, ...]:
    flags = list(wide_share(alpha, "alpha_B"))
    log_b = points.log_b
    known = [np.log(one.B_crit.value) for one in levels if one.B_crit.value is not None]
    outside = sum(not log_b.min() <= b <= log_b.max() for b in known) + len(levels) - len(known)
    if outside:
        text = (
            f"at {outside} of {len(levels)} losses the critical batch lies outside the batches "
            f"tried, {np.exp(log_b.min()):.3g} to {np.exp(log_b.max()):.3g} tokens"
        )
        flags.append(Flag("edge_optimum", text))
    return (*flags, *unsettled(traces, np.unique(points.run).tolist()))


def unsettled(traces: Sequence[Trace], used: Sequence[int]) -> tuple[Flag, ...]:
    """The flag of curves inside a schedule that had yet to end, if any of those used is one."""
    early = sum(traces[run].settled_from > 0 for run in used)
    if not early:
        return ()
    text = (
        f"{plural(early, 'run')} of {len(used)} had a falling learning rate, so that a loss "
        "inside its schedule is not that of so many steps"
    )
    return (Flag("unsettled_schedule", text),)
