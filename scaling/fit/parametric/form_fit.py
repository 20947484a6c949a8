"""A form of the surface at its optimum, and its resamples (forms.py has the forms).

It is fitted by the surface's own objective, and resampled as the surface is: losses drawn anew
about it on a planned grid, else runs weighed anew.
"""

from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
from scipy.special import fdtrc

from scaling.fit.config import SurfaceForm
from scaling.fit.data_flags import poor_design, too_few_points, unidentified, unsteady
from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows, bayesian_weights, estimate, estimates, generator
from scaling.fit.numerics.huber import SETTLED_RESAMPLE, HuberFit
from scaling.fit.numerics.identifiability import identify
from scaling.fit.observations import Observations
from scaling.fit.parametric import forms
from scaling.fit.parametric.bootstrap import resampling_scheme, smooth_draws
from scaling.fit.parametric.forms import COUPLED, HOFFMANN, TIED, Form
from scaling.fit.parametric.minimum import PointFit, minimise, stages
from scaling.fit.parametric.rise import rise_weight
from scaling.fit.results.estimate import Estimate, Identifiability
from scaling.fit.results.laws import FormLaw, NestedTest, judged

_MOST_RESAMPLES, _ROWS_RESAMPLED = 400, 400_000
_AGREE = 1e-6  # relative difference of objectives that count as one minimum
_CONSTANTS_OF_THETA = ("E", "A", "B", "alpha", "beta", "k")
_CONSTANTS = ("E", "A", "B", "alpha", "beta", "a", "b")


@dataclass(frozen=True)
class FormFit:
    """A form at its optimum over the rows, and its resamples, nan where one has no answer.

    theta, drawn   six parameters, and (R, 6)
    point          Hoffmann's optimum of the same objective
    objective      the form's
    starts         how many, and how many ended at the optimum
    """

    form: Form
    rows: Rows
    delta: float
    theta: np.ndarray
    drawn: np.ndarray
    point: PointFit
    objective: float
    starts: tuple[int, int]
    identified: Identifiability

    @property
    def surface(self) -> Surface:
        """The law in raw N and D."""
        found = self.form.surface(self.theta, self.rows)
        return Surface(*(None if v is None else float(v) for v in astuple(found)))

    @property
    def samples(self) -> Surface:
        """The laws of the resamples."""
        return self.form.surface(self.drawn, self.rows)

    @property
    def failed(self) -> int:
        """Resamples without an answer."""
        return int(np.isnan(self.drawn[:, 0]).sum())

    def estimates(self) -> dict[str, Any]:
        """The constants by name; k of the coupled form alone, the ceiling of the bounded one."""
        found = estimates(self.surface, self.samples, _CONSTANTS)
        if self.rows.E is not None:
            found["E"] = Estimate(self.rows.E, held=True)
        elif self.surface.E <= 0:
            found["E"] = Estimate(None, bound="low")
        if self.form is COUPLED:
            found["k"] = estimate(self.surface.k, self.samples.k)
        return found | {"ceiling": self.surface.ceiling}

    @property
    def against_hoffmann(self) -> NestedTest | None:
        """The likelihood ratio against Hoffmann's form; None where the two are not nested."""
        point, rows = self.point, self.rows
        return nested_test(self.form, self.theta, self.objective, point, rows, self.delta)

    def without(self, left: np.ndarray) -> np.ndarray:
        """The exponent a without each of the rows at `left`; nan where a refit has no answer."""
        weights = np.ones((len(left), self.rows.loss.size))
        weights[np.arange(len(left)), left] = 0.0
        found = _refitted(self.form, self.rows, self.theta, weights, self.delta)
        return np.asarray(self.form.surface(found, self.rows).a)


def named_form(name: SurfaceForm, observations: Observations, loss_unit: str) -> Form | str:
    """The form of that name, or why these runs have none."""
    if name != "bounded":
        return {"hoffmann": HOFFMANN, "tied": TIED, "coupled": COUPLED}[name]
    ceiling = loss_of_guessing(observations, loss_unit)
    return ceiling if isinstance(ceiling, str) else forms.bounded(ceiling)


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
    found = _descend(form, rows, point, delta)
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
    fitted = len(larger.of(rows))
    rise = abs(objective - hoffmann.objective)
    statistic = rise * rise_weight(rows, larger.misfit(at, rows), delta, fitted)
    dof = max(rows.loss.size - fitted, 1)
    return NestedTest(statistic, float(fdtrc(1, dof, statistic)))


def _descend(form: Form, rows: Rows, point: PointFit, delta: float) -> HuberFit:
    """The minimum downhill of each start about Hoffmann's `point`."""
    start = forms.starts(form, point.theta, rows)
    return form.solve(rows, start, np.ones((len(start), rows.loss.size)), stages(delta))


def fit_form(
    form: Form,
    observations: Observations,
    rows: Rows,
    resamples: int,
    seed: int,
    delta: float,
) -> FormFit | FormLaw:
    """The form fitted to the rows and to resamples of them, or a law that says why it is not."""
    reason = too_few_points(observations, len(form.of(rows))) or poor_design(observations)
    if reason:
        return FormLaw(**judged(reason=reason))
    point = minimise(rows, delta)
    found = _descend(form, rows, point, delta)
    best = found.best()
    if not found.settled[best]:
        return FormLaw(**judged(reason="not converged: no start ended at a minimum"))
    theta = found.theta[best]
    if forms.at_bounds(form, theta[None])[0]:
        text = "a constant ended at its bound: these runs do not show the form"
        return FormLaw(**judged(reason=text))
    identified = _identified(form, theta, rows)
    if reason := unidentified(identified, observations, {}):
        return FormLaw(**judged(reason=reason), identifiability=identified)
    resamples = min(resamples, _MOST_RESAMPLES, max(40, _ROWS_RESAMPLED // len(observations)))
    least = float(found.objective[best])
    together = int((found.objective <= least * (1 + _AGREE)).sum())
    fit = FormFit(
        form=form,
        rows=rows,
        delta=delta,
        theta=theta,
        drawn=_resamples(form, observations, rows, theta, resamples, seed, delta),
        point=point,
        objective=least,
        starts=(len(found.theta), together),
        identified=identified,
    )
    if reason := unsteady(fit.failed, resamples):
        return FormLaw(**judged(reason=reason))
    return fit


def _identified(form: Form, theta_6: np.ndarray, rows: Rows) -> Identifiability:
    """What the runs determine of the form's constants, to first order."""
    log_loss, slopes = form.log_loss(theta_6[None], rows)
    sizes = np.where(np.isin(range(6), [forms.U, forms.V, forms.LOG_K]), 1.0, theta_6)
    # A constant at 0, as E may be, has no size of its own: that of the least loss serves.
    sizes = np.where(sizes > 0, sizes, float(rows.loss.min()))
    free = form.of(rows)
    names = [_CONSTANTS_OF_THETA[index] for index in free.argmax(axis=1)]
    sd = float(np.sqrt(np.mean((np.log(rows.loss) - log_loss[0]) ** 2)))
    return identify(names, slopes[0] @ free.T, form.reduce(sizes)[-len(free) :], sd)


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
    rng, fitted = generator(seed, form.name), len(form.of(rows))
    weights = np.ones((resamples, rows.loss.size))
    if resampling_scheme(observations) == "cases":
        weights = bayesian_weights(rows.loss.size, fitted, resamples, rng)
    else:
        losses = np.exp(form.log_loss(theta[None], rows)[0][0])
        noise = smooth_draws(rows.loss - losses, fitted, resamples, rng)
        noise += (rows.loss - losses).mean() if rows.above != 1 else 0.0
        rows = replace(rows, loss=np.maximum(losses + noise, 1e-3 * losses))
    return _refitted(form, rows, theta, weights, delta)


def _refitted(
    form: Form, rows: Rows, theta: np.ndarray, weights_Rn: np.ndarray, delta: float
) -> np.ndarray:
    """Parameters (R, 6) under each row of weights, nan where there is no answer."""
    start = np.repeat(theta[None], len(weights_Rn), axis=0)
    found = form.solve(rows, start, weights_Rn, stages(delta)[-3:], SETTLED_RESAMPLE)
    answered = found.settled & ~forms.at_bounds(form, found.theta)
    return np.where(answered[:, None], found.theta, np.nan)
