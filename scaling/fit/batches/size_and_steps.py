"""Kaplan's law of size and least steps, fitted to training curves whose batches are known.

    L(N, S_min) = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S          Kaplan et al. 2020, eq. 1.6, 5.6
    S_min = S / (1 + B_crit(L)/B)                                 the same, eq. 5.4

B_crit(L) is that of the law `critical_batch` of the same curves, or Kaplan's own where it is asked
for by name. A curve, without its first twentieth, enters as means over bins of equal length in
log S, so that its many late rows count no more than its early ones. The loss of a row is the root
of the two equations together (steps_law.py); the fit is by least squares on log loss. Rows of one
run err together: a resample adds to each run its residuals times one normal number, with the doubt
of the runs' few degrees of freedom, and takes a B_crit of that law's resamples. Shapes: n rows,
R resamples, S starts.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from common.text import plural
from scaling.fit.batches import critical_batch as critical
from scaling.fit.batches.steps_law import KAPLAN_STEPS, StepsLaw, log_loss
from scaling.fit.batches.steps_to_loss import MeanRows, batch_of
from scaling.fit.data_flags import (
    FEWEST_VALUES,
    NARROW,
    unidentified,
    unsteady,
    wide_share,
)
from scaling.fit.envelope.lower_envelope import Trace
from scaling.fit.flags import Flag
from scaling.fit.frontier import Frontier
from scaling.fit.numerics import (
    RESAMPLE,
    Sampled,
    estimate,
    estimates,
    generator,
    identify,
    normal_draws,
    solve,
)
from scaling.fit.observations import Observations
from scaling.fit.other_laws.small_law import SmallLaw, both_terms, inside
from scaling.fit.results.critical_batch import CurveOfSteps, SizeAndStepsLaw
from scaling.fit.results.estimate import Estimate, Identifiability
from scaling.fit.results.laws import judged

BatchLaw = Literal["fitted", "kaplan"]
PARAMETERS = 4
_NAMES = ("N_c", "alpha_N", "S_c", "alpha_S")
# log of the size term and of the steps term at the rows' centre, and their exponents.
_U, _N, _V, _S, _B, _A = range(6)  # the last two, log B* and alpha_B, are held in a fit
_LOWER = np.array([-np.inf, 1e-3, -np.inf, 1e-2])
_UPPER = np.array([np.inf, 2.0, np.inf, 5.0])
_FEWEST_STEPS = 2.0  # a span of S_min that shows no exponent


def fit_size_and_steps(
    observations: Observations,
    resamples: int,
    seed: int,
    critical_batch: BatchLaw,
    traces: Sequence[Trace],
) -> SizeAndStepsLaw:
    """The law of curves of three sizes or more; refuses rather than raises.

    `critical_batch` is fitted, or kaplan for his published constants.
    """
    return fit_with_samples(observations, resamples, seed, critical_batch, traces)[0]


def fit_with_samples(
    observations: Observations,
    resamples: int,
    seed: int,
    critical_batch: BatchLaw,
    traces: Sequence[Trace],
) -> tuple[SizeAndStepsLaw, StepsLaw | None, StepsLaw | None]:
    """The same, and the law in numbers and in arrays (R,) of its resamples; None if refused."""
    runs, sizes = len(traces), len({trace.params for trace in traces})
    if not traces:
        return _refused("no training curves: they come from a sweep, or rows with a step column")
    if sizes < FEWEST_VALUES:
        return _refused(f"{sizes} distinct N, expected at least 3 to see an exponent")
    if runs <= PARAMETERS:
        return _refused(f"{plural(runs, 'run')}, expected {PARAMETERS + 1} at least")
    batch = _batch_law(traces, resamples, seed, critical_batch)
    if isinstance(batch, str):
        return _refused(batch)
    rows = MeanRows.of(traces)
    fit = _Fit(rows, batch)
    span = float(np.exp(np.ptp(fit.least_steps)))
    if span < _FEWEST_STEPS:
        return _refused(f"S_min spans a factor {span:.3g}, expected {_FEWEST_STEPS:g} at least")
    small = SmallLaw(fit.model, _LOWER, _UPPER, fit.whole, _NAMES)
    found = small.fit(fit.starts(), rows.log_loss)
    if isinstance(found, str):
        return _refused(found.replace("both N and D", "both N and S_min"))
    predicted, jacobian = (part[0] for part in fit.model(found.theta[None]))
    miss, dof = rows.log_loss - predicted, runs - PARAMETERS
    sd = _run_sd(rows.run, miss, dof)
    own = np.where(np.isinf(_LOWER), 1.0, found.theta)
    # So many rows of one run are no more than one.
    identified = identify(_NAMES, jacobian, own, sd * np.sqrt(len(miss) / runs))
    law = fit.law(found.theta, batch.value)
    known = {"alpha_N": float(law.alpha_N), "alpha_S": float(law.alpha_S)}
    why = f"{plural(runs, 'run')} of {sizes} sizes over a factor {span:.3g} in S_min"
    if reason := unidentified(identified, observations, known, why):
        return _refused(reason, identified)
    resamples, rng = batch.samples.shape[0], generator(seed, "size_and_steps")
    weight = np.sqrt(runs / dof) * normal_draws(1.0, runs, dof, resamples, rng)
    theta = fit.refit(found.theta, predicted + weight[:, rows.run] * miss)
    samples = fit.law(theta, batch.samples)
    failed = int(np.isnan(samples.alpha_N).sum())
    if reason := unsteady(failed, resamples):
        return _refused(reason)
    flags = _flags(traces, span, critical_batch)
    result = replace(
        _fitted(law, samples, flags, held=critical_batch == "kaplan"),
        critical_batch=critical_batch,
        curves=fit.curves(traces),
        n_points=len(miss),
        run_sd=sd,
        failed_resamples=failed,
        identifiability=identified,
    )
    return result, law, samples


def _refused(
    reason: str, identified: Identifiability | None = None
) -> tuple[SizeAndStepsLaw, None, None]:
    return SizeAndStepsLaw(**judged(reason=reason), identifiability=identified), None, None


def _batch_law(
    traces: Sequence[Trace], resamples: int, seed: int, critical_batch: BatchLaw
) -> Sampled | str:
    """log B* and alpha_B, (2,) and (R, 2) of resamples, or why there are none."""
    if critical_batch == "kaplan":
        value = np.array([KAPLAN_STEPS.log_B_star, KAPLAN_STEPS.alpha_B])
        return Sampled(value, np.tile(value, (min(resamples, critical.MOST_RESAMPLES), 1)))
    fit = critical.fit_all_losses(traces, resamples, seed)
    if isinstance(fit, str):
        return f"B_crit(L) is not fitted: {fit}; critical_batch=kaplan holds his"
    pair = fit.log_B_star, fit.alpha_B
    value, samples = np.array([one.value for one in pair]), [one.samples for one in pair]
    return Sampled(value, np.stack(samples, axis=1))


class _Fit:
    """Rows under a law of the batch; theta (S, 4), or (S, 6) with log B* and alpha_B of each."""

    def __init__(self, rows: MeanRows, batch: Sampled) -> None:
        self.rows, self.batch = rows, batch
        log_B, alpha = batch.value
        rise = np.logaddexp(0.0, log_B - rows.log_loss / alpha - rows.log_b)
        self.least_steps = rows.log_s - rise  # log S_min of each row, at its own loss
        self.centre = float(rows.log_n.mean()), float(self.least_steps.mean())

    def model(self, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log loss (S, n), and its derivatives in the four constants (S, n, P); those of others 0.

        Both terms move the loss at a fixed B_crit, and B_crit follows: log_loss has the share.
        """
        rows = self.rows
        batch = np.broadcast_to(self.batch.value, (len(theta), 2))
        held = theta if theta.shape[1] == len(_NAMES) + 2 else np.hstack([theta, batch])
        u, n, v, s, log_B, alpha = (held[:, [i]] for i in range(6))
        size, steps = rows.log_n - self.centre[0], rows.log_s - self.centre[1]
        law = StepsLaw(0.0, n, 0.0, s, log_B, alpha)
        log_u = u - n * size
        value, rise, share, moved = log_loss(log_u, v - s * steps, law, rows.log_b, rows.log_loss)
        from_size, from_steps = (1 - share) * moved, share * moved
        slopes = [from_size, -from_size * size, from_steps, from_steps * (rise - steps)]
        slopes += [np.zeros_like(value)] * (theta.shape[1] - len(_NAMES))
        return value, np.stack(slopes, axis=2)

    def starts(self) -> np.ndarray:
        """Over both exponents and over which term is the greater, all through the mean loss."""
        mean = float(self.rows.log_loss.mean())
        return np.array(
            [
                (mean + np.log(share), n, mean + np.log1p(-share), s)
                for share in (0.3, 0.6, 0.85)
                for n in (0.03, 0.1, 0.3)
                for s in (0.2, 0.5, 1.0)
            ]
        )

    def whole(self, theta: np.ndarray) -> np.ndarray:
        """Whether both terms count in some row and no exponent is at its bound."""
        size, steps = self.rows.log_n - self.centre[0], self.least_steps - self.centre[1]
        u, n, v, s = (theta[:, [i]] for i in range(len(_NAMES)))
        at = [_N, _S]
        inner = inside(theta[:, at], _LOWER[at], _UPPER[at])
        return inner & both_terms(u - n * size - v + s * steps)

    def refit(self, theta_P: np.ndarray, target_Rn: np.ndarray) -> np.ndarray:
        """theta (R, 4) of each resample under its own law of the batch; nan without an answer."""
        samples = self.batch.samples
        known = np.isfinite(samples).all(axis=1)
        held = np.where(known[:, None], samples, self.batch.value)
        starts = np.hstack([np.tile(theta_P, (len(held), 1)), held])
        lower, upper = np.append(_LOWER, [-np.inf] * 2), np.append(_UPPER, [np.inf] * 2)
        weights = np.ones((1, target_Rn.shape[1]))
        found = solve(self.model, starts, target_Rn, weights, lower, upper, RESAMPLE)
        theta = found.theta[:, : len(_NAMES)]
        answered = found.converged & known & self.whole(theta)
        return np.where(answered[:, None], theta, np.nan)

    def law(self, theta: np.ndarray, batch: np.ndarray) -> StepsLaw:
        """The law in raw N and S_min of centred constants (..., 4) and of (..., 2) of the batch."""
        u, n, v, s = (theta[..., i] for i in range(len(_NAMES)))
        log_N_c, log_S_c = u / n + self.centre[0], v / s + self.centre[1]
        return StepsLaw(log_N_c, n, log_S_c, s, batch[..., 0], batch[..., 1])

    def curves(self, traces: Sequence[Trace]) -> tuple[CurveOfSteps, ...]:
        """Each curve as it was fitted."""
        found = []
        for index, trace in enumerate(traces):
            mine = self.rows.run == index
            steps, loss = np.exp(self.least_steps[mine]), np.exp(self.rows.log_loss[mine])
            curve = CurveOfSteps(
                run_id=trace.run_id,
                params=trace.params,
                batch_tokens=batch_of(trace),
                S_min=tuple(map(_short, steps)),
                losses=tuple(map(_short, loss)),
            )
            found.append(curve)
        return tuple(found)


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _run_sd(run: np.ndarray, miss: np.ndarray, dof: int) -> float:
    """Standard deviation of log loss if all rows of a run erred together."""
    rows = np.bincount(run)
    return float(np.sqrt((np.bincount(run, miss**2) / rows).sum() / dof))


def _fitted(
    law: StepsLaw, samples: StepsLaw, flags: tuple[Flag, ...], held: bool
) -> SizeAndStepsLaw:
    found = estimates(law, samples, ("alpha_N", "alpha_S", "alpha_B", "alpha_C"))
    with np.errstate(over="ignore"):
        for name in ("N_c", "S_c", "B_star", "C_c"):
            logs = getattr(law, f"log_{name}"), getattr(samples, f"log_{name}")
            found[name] = estimate(*map(np.exp, logs))
        frontier = frontier_of(law, samples).estimates
    if held:
        found |= {n: Estimate(found[n].value, held=True) for n in ("B_star", "alpha_B")}
    wide = (*wide_share(found["alpha_N"], "alpha_N"), *wide_share(found["alpha_S"], "alpha_S"))
    return SizeAndStepsLaw(**judged((*wide, *flags)), **found, **frontier)


def frontier_of(law: StepsLaw, samples: StepsLaw) -> Frontier:
    """N and E_min of least loss against C_min."""
    with np.errstate(all="ignore"):
        return Frontier(law.n_opt, law.d_opt, samples.n_opt, samples.d_opt)


def _flags(traces: Sequence[Trace], span: float, critical_batch: BatchLaw) -> tuple[Flag, ...]:
    flags = []
    sizes = [trace.params for trace in traces]
    for name, factor in (("N", max(sizes) / min(sizes)), ("S_min", span)):
        if factor < NARROW:
            flags.append(Flag("narrow_range", f"{name} spans only a factor {factor:.3g}"))
    if critical_batch == "kaplan":
        text = "B_crit(L) is Kaplan's, of his corpus, tokenizer and model, and not of these runs"
        flags.append(Flag("held_batch", text))
    return (*flags, *critical.unsettled(traces, range(len(traces))))
