"""The laws `coupled` and `bounded`: another form of the surface, with intervals (forms.py).

Each is fitted where it is named, by the surface's own objective, and resampled as the surface is:
losses drawn anew about it on a planned grid, else runs weighed anew.
"""

from dataclasses import replace

import numpy as np
from scipy.special import fdtrc

from scaling.fit.config import Objective
from scaling.fit.data_flags import (
    E_AT_BOUND,
    collinear,
    data_flags,
    poor_design,
    too_few_points,
    unidentified,
    unsteady,
    wide_floor,
    wide_interval,
    wide_share,
)
from scaling.fit.flags import Flag
from scaling.fit.numerics import Rows, bayesian_weights, estimate, estimates, generator
from scaling.fit.numerics.huber import SETTLED_RESAMPLE
from scaling.fit.numerics.identifiability import identify
from scaling.fit.observations import Observations
from scaling.fit.parametric import forms
from scaling.fit.parametric.bootstrap import resampling_scheme, smooth_draws
from scaling.fit.parametric.forms import COUPLED, HOFFMANN, TIED, Form
from scaling.fit.parametric.minimum import PointFit, minimise, stages, width
from scaling.fit.results.estimate import Estimate, Identifiability
from scaling.fit.results.laws import FormLaw, NestedTest, judged

_MOST_RESAMPLES, _ROWS_RESAMPLED = 400, 400_000
_NEEDED = 0.05  # p from which on k = 1 is not rejected
_CONSTANTS_OF_THETA = ("E", "A", "B", "alpha", "beta", "k")
_CONSTANTS = ("E", "A", "B", "alpha", "beta", "a", "b")


def fit_coupled(
    observations: Observations,
    resamples: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
) -> FormLaw:
    """L = E + (A N^-alpha + B D^-beta)^k; refuses rather than raises."""
    return _fit(COUPLED, observations, resamples, seed, width(objective, delta))


def fit_bounded(
    observations: Observations,
    resamples: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
    loss_unit: str = "nats",
) -> FormLaw:
    """The form below log V; refuses rather than raises, so where V is not known."""
    ceiling = loss_of_guessing(observations, loss_unit)
    if isinstance(ceiling, str):
        return FormLaw(**judged(reason=ceiling))
    form = forms.bounded(ceiling)
    return _fit(form, observations, resamples, seed, width(objective, delta))


def loss_of_guessing(observations: Observations, loss_unit: str) -> float | str:
    """log V in nats, or why it is not known."""
    if loss_unit == "bpb":
        return "in bits per byte the loss of guessing is not log V; give the loss in nats"
    sizes = observations.columns.get("vocab_size", np.array([]))
    known = np.unique(sizes[np.isfinite(sizes)])
    if len(known) != 1 or known[0] < 2:
        return "no one vocab_size, of which log V is the loss of guessing; add the column"
    ceiling = float(np.log(known[0]))
    if (above := observations.loss >= ceiling).any():
        run = observations.run_id[int(np.argmax(above))]
        return f"{run} has a loss at or above log V = {ceiling:.4g}, that of guessing"
    return ceiling


def optimum(
    form: Form, rows: Rows, point: PointFit, delta: float
) -> tuple[np.ndarray, float] | None:
    """Six parameters and the objective of the form's optimum over all rows, from starts about
    Hoffmann's `point`; None if none settles.
    """
    start = forms.starts(form, point.theta, rows)
    found = form.solve(rows, start, np.ones((len(start), rows.loss.size)), stages(delta))
    best = found.best()
    if not found.settled[best]:
        return None
    # Hoffmann's own optimum is the certified one of Newton's method.
    objective = point.objective if form is HOFFMANN else float(found.objective[best])
    return found.theta[best], objective


def nested_test(
    form: Form, theta_6: np.ndarray, objective: float, hoffmann: PointFit, rows: Rows, delta: float
) -> NestedTest | None:
    """The quasi-likelihood ratio of a form against Hoffmann's; None where they are not nested."""
    if form.name not in (TIED.name, COUPLED.name):
        return None
    larger = HOFFMANN if form is TIED else form
    at = forms.starts(HOFFMANN, hoffmann.theta, rows)[0] if form is TIED else theta_6
    residuals = np.log(rows.loss) - larger.log_loss(at[None], rows)[0][0]
    rise = abs(objective - hoffmann.objective)
    statistic = rise * forms.rise_weight(residuals, delta, larger.parameters)
    dof = max(rows.loss.size - larger.parameters, 1)
    return NestedTest(statistic, float(fdtrc(1, dof, statistic)))


def _fit(
    form: Form, observations: Observations, resamples: int, seed: int, delta: float
) -> FormLaw:
    reason = too_few_points(observations, form.parameters) or poor_design(observations)
    if reason:
        return FormLaw(**judged(reason=reason))
    rows = Rows.of(observations.params, observations.tokens, observations.loss)
    point = minimise(rows, delta)
    found = optimum(form, rows, point, delta)
    if found is None:
        return FormLaw(**judged(reason="not converged: no start ended at a minimum"))
    theta, objective = found
    if forms.at_bounds(form, theta[None])[0]:
        text = "a constant ended at its bound: these runs do not show the form"
        return FormLaw(**judged(reason=text))
    identified = _identified(form, theta, rows)
    if reason := unidentified(identified, observations, {}):
        return FormLaw(**judged(reason=reason), identifiability=identified)
    resamples = min(resamples, _MOST_RESAMPLES, max(40, _ROWS_RESAMPLED // len(observations)))
    drawn = _resamples(form, observations, rows, theta, resamples, seed, delta)
    failed = int(np.isnan(drawn[:, 0]).sum())
    if reason := unsteady(failed, resamples):
        return FormLaw(**judged(reason=reason))
    (surface, k), (surfaces, ks) = (form.constants(one, rows) for one in (theta, drawn))
    constants = estimates(surface, surfaces, _CONSTANTS)
    if surface.E <= 0:
        constants["E"] = Estimate(None, bound="low")
    law = FormLaw(
        **judged(),
        **constants,
        k=estimate(float(k), ks) if form is COUPLED else None,
        ceiling=form.ceiling if np.isfinite(form.ceiling) else None,
        objective=objective,
        objective_of_hoffmann=point.objective,
        against_hoffmann=nested_test(form, theta, objective, point, rows, delta),
        identifiability=identified,
        n_points=len(observations),
        failed_resamples=failed,
    )
    return replace(
        law,
        **judged((*_flags(law), *collinear(identified, observations), *data_flags(observations))),
    )


def _identified(form: Form, theta_6: np.ndarray, rows: Rows) -> Identifiability:
    """What the runs determine of the form's constants, to first order."""
    log_loss, slopes = form.log_loss(theta_6[None], rows)
    sizes = np.where(np.isin(range(6), [forms.U, forms.V, forms.LOG_K]), 1.0, theta_6)
    # A constant at 0, as E may be, has no size of its own: that of the least loss serves.
    sizes = np.where(sizes > 0, sizes, float(rows.loss.min()))
    names = [_CONSTANTS_OF_THETA[index] for index in form.free.argmax(axis=1)]
    sd = float(np.sqrt(np.mean((np.log(rows.loss) - log_loss[0]) ** 2)))
    return identify(names, slopes[0] @ form.free.T, form.reduce(sizes), sd)


def _resamples(
    form: Form,
    observations: Observations,
    rows: Rows,
    theta: np.ndarray,
    resamples: int,
    seed: int,
    delta: float,
) -> np.ndarray:
    """Parameters (R, 6) of each resample, nan where it has no answer."""
    rng = generator(seed, form.name)
    weights = np.ones((resamples, rows.loss.size))
    if resampling_scheme(observations) == "cases":
        weights = bayesian_weights(rows.loss.size, form.parameters, resamples, rng)
    else:
        fitted = np.exp(form.log_loss(theta[None], rows)[0][0])
        noise = smooth_draws(rows.loss - fitted, form.parameters, resamples, rng)
        rows = replace(rows, loss=np.maximum(fitted + noise, 1e-3 * fitted))
    start = np.repeat(theta[None], resamples, axis=0)
    found = form.solve(rows, start, weights, stages(delta)[-3:], SETTLED_RESAMPLE)
    answered = found.settled & ~forms.at_bounds(form, found.theta)
    return np.where(answered[:, None], found.theta, np.nan)


def _flags(law: FormLaw) -> tuple[Flag, ...]:
    flags: list[Flag] = []
    if law.E.bound:
        flags.append(Flag("term_at_bound", E_AT_BOUND))
    test = law.against_hoffmann
    if test is not None and test.p >= _NEEDED:
        text = f"k = 1 is not rejected (p = {test.p:.2g}): the parametric surface says as much"
        flags.append(Flag("form_not_needed", text))
    if law.k is not None:
        flags += wide_share(law.k, "k")
    return (*flags, *wide_floor(law.E), *wide_interval(law.a))
