"""The laws `coupled` and `bounded`, and the law `parametric` where it is asked for as such a form.

Refused where the runs do not show the form; form_fit.py fits it.
"""

from dataclasses import replace

import numpy as np

from scaling.fit.config import Objective, SurfaceConfig
from scaling.fit.data_flags import (
    E_AT_BOUND,
    collinear,
    data_flags,
    wide_floor,
    wide_interval,
    wide_share,
)
from scaling.fit.flags import Flag
from scaling.fit.observations import Observations
from scaling.fit.parametric.bootstrap import resampling_scheme
from scaling.fit.parametric.criterion import PLAIN, absolute, rows_of
from scaling.fit.parametric.flags import misfit
from scaling.fit.parametric.form_fit import FormFit, fit_form, named_form
from scaling.fit.parametric.forms import COUPLED
from scaling.fit.parametric.minimum import width
from scaling.fit.parametric.result import ParametricFit
from scaling.fit.results.laws import FormLaw, ParametricLaw, judged

_NEEDED = 0.05  # p from which on k = 1 is not rejected


def fit_coupled(
    observations: Observations,
    resamples: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
    surface: SurfaceConfig = PLAIN,
) -> FormLaw:
    """L = E + (A N^-alpha + B D^-beta)^k; refuses rather than raises."""
    rows = rows_of(observations, objective, surface)
    found = fit_form(COUPLED, observations, rows, resamples, seed, width(objective, delta))
    return _law(found, observations)


def fit_bounded(
    observations: Observations,
    resamples: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
    surface: SurfaceConfig = PLAIN,
    loss_unit: str = "nats",
) -> FormLaw:
    """The form below log V; refuses rather than raises, so where V is not known."""
    form = named_form("bounded", observations, loss_unit)
    if isinstance(form, str):
        return FormLaw(**judged(reason=form))
    rows = rows_of(observations, objective, surface)
    found = fit_form(form, observations, rows, resamples, seed, width(objective, delta))
    return _law(found, observations)


def fit_chosen_form(
    observations: Observations,
    resamples: int,
    seed: int,
    delta: float,
    objective: Objective,
    surface: SurfaceConfig,
    loss_unit: str,
) -> ParametricFit:
    """The law `parametric` as the form that `surface` names; refuses rather than raises."""
    form = named_form(surface.form, observations, loss_unit)
    if isinstance(form, str):
        return ParametricFit(ParametricLaw(**judged(reason=form)))
    rows = rows_of(observations, objective, surface)
    found = fit_form(form, observations, rows, resamples, seed, width(objective, delta))
    if isinstance(found, FormLaw):
        reason, identified = found.reason, found.identifiability
        return ParametricFit(ParametricLaw(**judged(reason=reason), identifiability=identified))
    log_loss, slopes = form.log_loss(found.theta[None], rows)
    residuals = np.log(rows.loss) - log_loss[0]
    starts, together = found.starts
    law = ParametricLaw(
        **judged(),
        **found.estimates(),
        form=form.name if form.name != "hoffmann" else None,
        equation=form.equation,
        objective=absolute(rows, residuals) if objective == "lad" else found.objective,
        converged=True,
        starts=starts,
        starts_at_optimum=together,
        resampling=resampling_scheme(observations),
        residuals=tuple(float(r) for r in residuals),
        failed_resamples=found.failed,
        identifiability=found.identified,
    )
    return ParametricFit(
        replace(law, **judged(_flags(found, law, observations))),
        found.surface,
        found.samples,
        float(np.sqrt(np.mean(residuals**2))),
        slopes[0] @ form.of(rows).T,
        found.without,
    )


def _law(found: FormFit | FormLaw, observations: Observations) -> FormLaw:
    if isinstance(found, FormLaw):
        return found
    law = FormLaw(
        **judged(),
        **found.estimates(),
        objective=found.objective,
        objective_of_hoffmann=found.point.objective,
        against_hoffmann=found.against_hoffmann,
        identifiability=found.identified,
        n_points=len(observations),
        failed_resamples=found.failed,
    )
    return replace(law, **judged(_flags(found, law, observations)))


def _flags(
    found: FormFit, law: FormLaw | ParametricLaw, observations: Observations
) -> tuple[Flag, ...]:
    """What to know beside the constants of a form."""
    log_loss, _ = found.form.log_loss(found.theta[None], found.rows)
    flags = misfit(observations, np.log(found.rows.loss) - log_loss[0], law.E.value)
    if law.E.bound:
        flags.append(Flag("term_at_bound", E_AT_BOUND))
    test = found.against_hoffmann
    if found.form is COUPLED and test is not None and test.p >= _NEEDED:
        text = f"k = 1 is not rejected (p = {test.p:.2g}): the parametric surface says as much"
        flags.append(Flag("form_not_needed", text))
    if law.k is not None:
        flags += wide_share(law.k, "k")
    flags += (*wide_floor(law.E), *wide_interval(law.a))
    return (*flags, *collinear(found.identified, observations), *data_flags(observations))
