"""Approach 3: the surface E + A N^-alpha + B D^-beta through all runs (Hoffmann et al. 2022).

Its minimum (minimum.py) carries a certificate, since Hoffmann's own optimiser stopped short of it
(Besiroglu et al. 2024); what the runs do not determine is refused; the rest gets its interval from
resamples.
"""

from dataclasses import replace
from functools import partial

import numpy as np

from scaling.fit.config import Objective, SurfaceConfig
from scaling.fit.data_flags import (
    collinear,
    poor_design,
    too_few_points,
    unidentified,
    unsteady,
)
from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows, estimates, generator, identify, robust_sd
from scaling.fit.observations import Observations
from scaling.fit.parametric import newton
from scaling.fit.parametric.bootstrap import (
    bootstrap_fits,
    constants,
    exponents_without,
    free_part,
    resampling_scheme,
)
from scaling.fit.parametric.criterion import PLAIN, absolute, rows_of
from scaling.fit.parametric.flags import surface_flags
from scaling.fit.parametric.form_laws import fit_chosen_form
from scaling.fit.parametric.minimum import NAMES, PointFit, minimise, width
from scaling.fit.parametric.newton import A, B
from scaling.fit.parametric.profile_likelihood import profile_flags, profile_likelihood
from scaling.fit.parametric.result import ParametricFit
from scaling.fit.results.estimate import Estimate, Identifiability
from scaling.fit.results.laws import ParametricLaw, judged


def fit_parametric(
    observations: Observations,
    n_bootstrap: int,
    seed: int,
    delta: float = 1e-3,
    objective: Objective = "huber",
    surface: SurfaceConfig = PLAIN,
    loss_unit: str = "nats",
    profiled: bool = True,
) -> ParametricFit:
    """Fit the surface to the observations and to resamples of them. Refuses rather than raises.

    Without `profiled` no profile likelihood is taken, which only checks the intervals. criterion.py
    has the objectives; "lad" is in effect that of the published refit of Besiroglu et al. BadInput
    is raised for what `surface` says that cannot be of these runs.
    """
    if surface.form != "hoffmann":
        asked = objective, surface, loss_unit
        return fit_chosen_form(observations, n_bootstrap, seed, delta, *asked)
    delta = width(objective, delta)
    rows = rows_of(observations, objective, surface)
    reason = too_few_points(observations, constants(rows)) or poor_design(observations)
    if reason is not None:
        return ParametricFit(ParametricLaw(**judged(reason=reason)))
    point = minimise(rows, delta)
    residuals = np.log(rows.loss / newton.predicted(point.theta[None], rows)[0])
    certificate = ParametricLaw(
        **judged(reason=_not_identified(point)),
        objective=absolute(rows, residuals) if objective == "lad" else point.objective,
        gradient_norm=point.gradient,
        converged=point.certified,
        starts=point.starts,
        starts_at_optimum=point.starts_at_optimum,
    )
    if certificate.reason is not None:
        return ParametricFit(certificate)
    identified = _identified(point, rows, residuals)
    fitted = rows.surface(point.theta)
    known = {"alpha": fitted.alpha, "beta": fitted.beta}
    certificate = replace(
        certificate,
        identifiability=identified,
        **judged(reason=unidentified(identified, observations, known)),
    )
    if certificate.reason is not None:
        return ParametricFit(certificate)
    how, rng = resampling_scheme(observations), generator(seed, "parametric")
    others = bootstrap_fits(how, rows, point.theta, n_bootstrap, delta, rng)
    # Where a term vanished a resample has a minimum, but no exponent.
    lost = others.converged & (others.theta[:, [A, B]] <= 0).any(axis=1)
    failed = ~others.converged | lost
    samples = rows.surface(np.where(failed[:, None], np.nan, others.theta))
    if (reason := unsteady(int(failed.sum()), n_bootstrap)) is not None:
        return ParametricFit(replace(certificate, **judged(reason=reason)))
    found = estimates(fitted, samples, (*NAMES, "a", "b"))
    if rows.E is not None:
        found["E"] = Estimate(rows.E, held=True)
    found |= {name: Estimate(None, bound=side) for name, side in point.at_bound.items()}
    flags = surface_flags(observations, residuals, found, point, lost)
    flags = (*collinear(identified, observations), *flags)
    profile = None
    if profiled:
        profile = profile_likelihood(rows, point.theta, point.objective, delta, found["a"])
        codes = {flag.code for flag in flags}
        flags += tuple(flag for flag in profile_flags(profile) if flag.code not in codes)
    law = replace(
        certificate,
        **judged(flags),
        **found,
        resampling=how,
        residuals=tuple(float(r) for r in residuals),
        failed_resamples=int(failed.sum()),
        profile=profile,
    )
    return ParametricFit(
        law,
        fitted,
        samples,
        float(np.sqrt(np.mean(residuals**2))),
        fitted.jacobian(observations.params, observations.tokens)[:, free_part(rows)],
        partial(exponents_without, rows, rows.theta(fitted), delta),
    )


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


def _identified(point: PointFit, rows: Rows, residuals: np.ndarray) -> Identifiability:
    """What the rows determine, under noise of the residuals' robust size."""
    n, sizes = np.exp(rows.log_n), np.exp(rows.log_d)
    jacobian = Surface(*point.theta).jacobian(n, sizes)
    fitted = range(len(NAMES))[free_part(rows)]
    free = [i for i in fitted if NAMES[i] not in point.at_bound]
    names = [NAMES[i] for i in free]
    return identify(names, jacobian[:, free], point.theta[free], robust_sd(residuals, len(free)))
