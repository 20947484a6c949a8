"""Influence of single runs: residuals by budget, leverage, influence, outliers. Drops nothing.

leverage    h_i = diag J (J'J)^-1 J', J the Jacobian of log L in the five constants: the share
            of its own loss in the surface's value at run i; the h_i sum to 5
influence   the exponent a with run i left out, less a: each an exact refit, not a linear step,
            since Huber's narrow delta makes the objective nearly piecewise linear (over 500 runs
            one Newton step, the curvature smoothed by the residuals' kernel);
            of the profiles' exponents, the parabola's whatever the headline's method, with
            the budgets that all runs make
outlier     a residual over 3.5 robust standard deviations from the median residual, that is
            0.6745 |r - median| > 3.5 MAD (Iglewicz & Hoaglin 1993); the laws are fitted
            again without such runs, and both results stand side by side
"""

import logging
from dataclasses import replace

import numpy as np

from scaling.fit.config import FitConfig
from scaling.fit.dispatch import HeadlineFits, fit_headline
from scaling.fit.isoflop import budgets, parabola_exponent, profile_of
from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows
from scaling.fit.observations import Observations
from scaling.fit.parametric import ALPHA, BETA, A, B, width, without_each
from scaling.fit.results.checks import (
    Diagnostics,
    Influence,
    Outlier,
    Outliers,
    ResidualsOfBudget,
    WithoutOutliers,
)
from scaling.fit.results.laws import Headline, IsoflopLaw, ParametricLaw

_log = logging.getLogger(__name__)

OUTLIER = 3.5
RULE = (
    f"residual of log loss over {OUTLIER} robust standard deviations (1.4826 MAD) from the median"
)
# Runs left out one at a time: those of largest leverage-weighted residual where there are more.
_REFITS: dict[Headline, int] = {"parametric": 1000, "isoflop": 300}
_AT_ONCE = 200  # refits of one batch: the weights are refits times runs
_ROUNDING = 1e-7  # residuals of data without noise scatter by rounding alone
_RESAMPLES = 500
_FEWEST_OF_A_BUDGET = 3
_BINS = 8


def diagnostics(observations: Observations, fits: HeadlineFits, config: FitConfig) -> Diagnostics:
    """Residuals, influence and outliers; empty where no law stands."""
    surface = fits.parametric.surface if fits.parametric is not None else None
    residuals = leverage = None
    if surface is not None:
        fitted = surface.predict_loss(observations.params, observations.tokens)
        residuals = np.log(observations.loss / fitted)
        leverage = _leverage(observations, surface)
    outliers = _outliers(residuals)
    runs = (
        ()
        if residuals is None
        else tuple(
            Outlier(*_name(observations, row), float(residuals[row]), score)
            for row, score in outliers
        )
    )
    without = _without([row for row, _ in outliers], observations, config)
    return Diagnostics(
        residuals_by_budget=_by_budget(observations, residuals, config.budget_tolerance),
        influence=_influence(observations, fits, config, residuals, leverage),
        outliers=Outliers(RULE, runs, without),
    )


def _leverage(observations: Observations, surface: Surface) -> np.ndarray:
    jacobian = surface.jacobian(observations.params, observations.tokens)
    # Columns of one size, so that the rank is judged on the runs and not on the units.
    jacobian /= np.linalg.norm(jacobian, axis=0)
    basis, size, _ = np.linalg.svd(jacobian, full_matrices=False)
    return (basis[:, size > 1e-12 * size[0]] ** 2).sum(axis=1)


def _outliers(residuals: np.ndarray | None) -> list[tuple[int, float]]:
    """(row, robust standard deviations from the median), the worst first."""
    if residuals is None:
        return []
    distance = residuals - np.median(residuals)
    scale = max(float(np.median(np.abs(distance))) / 0.6745, _ROUNDING)
    score = distance / scale
    rows = np.flatnonzero(np.abs(score) > OUTLIER)
    return [(int(row), float(score[row])) for row in rows[np.argsort(-np.abs(score[rows]))]]


def _by_budget(
    observations: Observations, residuals: np.ndarray | None, tolerance: float
) -> tuple[ResidualsOfBudget, ...]:
    """Mean and spread of log(observed/fitted) by budget, or by eighths of the runs in compute."""
    if residuals is None:
        return ()
    groups = [
        members
        for _, members in budgets(observations, tolerance)
        if len(members) >= _FEWEST_OF_A_BUDGET
    ]
    if sum(map(len, groups)) < 0.8 * len(observations):
        order = np.argsort(observations.flops, kind="stable")
        groups = [part for part in np.array_split(order, _BINS) if len(part)]
    return tuple(
        ResidualsOfBudget(
            flops_low=float(observations.flops[members].min()),
            flops_high=float(observations.flops[members].max()),
            runs=len(members),
            mean=float(residuals[members].mean()),
            sd=float(residuals[members].std(ddof=1)) if len(members) > 1 else None,
        )
        for members in groups
    )


def _influence(
    observations: Observations,
    fits: HeadlineFits,
    config: FitConfig,
    residuals: np.ndarray | None,
    leverage: np.ndarray | None,
) -> tuple[Influence, ...]:
    """One row a run and law, the largest change of a first; null where a refit has no answer."""
    if leverage is not None and residuals is not None:
        weight = leverage * residuals**2 / np.maximum(1 - leverage, 1e-6) ** 2  # Cook's distance
    else:
        weight = np.ones(len(observations))
    order = np.argsort(-weight, kind="stable")
    found = []
    for name, law in fits.standing.items():
        whole = _whole(law)
        if whole is None:
            continue
        rows = np.sort(order[: _REFITS[name]])
        _log.info("influence: %s without each of %s runs", name, len(rows))
        if name == "parametric":
            without = _surface_without(observations, fits, config, rows)
        else:
            without = np.array(_profiles_without(observations, config, rows))
        shares = leverage if name == "parametric" else None
        for row, a in zip(rows, without, strict=True):
            known = bool(np.isfinite(a))
            found.append(
                Influence(
                    *_name(observations, row),
                    law=name,
                    leverage=None if shares is None else float(shares[row]),
                    residual=None if residuals is None else float(residuals[row]),
                    a_without=float(a) if known else None,
                    a_change=float(a - whole) if known else None,
                )
            )
    return tuple(sorted(found, key=lambda r: (-abs(r.a_change or 0.0), r.law, r.run_id)))


def _whole(law: IsoflopLaw | ParametricLaw) -> float | None:
    """The exponent a with all runs, by the method that the refits use."""
    if isinstance(law, IsoflopLaw):
        parabola = law.methods["parabola"]
        return parabola.a.value if parabola else None
    return law.a.value


def _name(observations: Observations, row: int) -> tuple[str, float, float]:
    """What tells a run from the others: one run_id may stand at several amounts of tokens."""
    n, d = observations.params[row], observations.tokens[row]
    return observations.run_id[row], float(n), float(d)


def _surface_without(
    observations: Observations, fits: HeadlineFits, config: FitConfig, rows: np.ndarray
) -> np.ndarray:
    """The surface's a without each of `rows`, by descent from the optimum of all runs."""
    assert fits.parametric is not None and fits.parametric.surface is not None
    data = Rows.of(observations.params, observations.tokens, observations.loss)
    theta = data.theta(fits.parametric.surface)
    parts = [np.empty(0)]
    for first in range(0, len(rows), _AT_ONCE):
        left = rows[first : first + _AT_ONCE]
        found = without_each(data, theta, width(config.objective, config.delta), left)
        alpha, beta = found.theta[:, ALPHA], found.theta[:, BETA]
        there = found.converged & (found.theta[:, [A, B]] > 0).all(axis=1)
        parts.append(np.where(there, beta / (alpha + beta), np.nan))
    return np.concatenate(parts)


def _profiles_without(
    observations: Observations, config: FitConfig, rows: np.ndarray
) -> list[float]:
    """The profiles' a without each of `rows`, the budgets being those of all runs."""
    whole = replace(observations, excluded=())
    groups = budgets(whole, config.budget_tolerance)
    profiles = [profile_of(whole, *group) for group in groups]
    place = {int(row): index for index, (_, members) in enumerate(groups) for row in members}
    found = []
    for row in rows.tolist():
        flops, members = groups[place[row]]
        changed = profiles.copy()
        changed[place[row]] = profile_of(whole, flops, members[members != row])
        found.append(parabola_exponent(changed))
    return found


def _without(
    rows: list[int], observations: Observations, config: FitConfig
) -> tuple[WithoutOutliers, ...]:
    """Each law asked for, fitted to the runs that are no outliers; empty where none are."""
    if not rows or not set(config.asked) & set(_REFITS):
        return ()
    kept = replace(observations.take(np.setdiff1d(np.arange(len(observations)), rows)), excluded=())
    config = replace(config, laws=tuple(law for law in config.asked if law in _REFITS))
    fits = fit_headline(kept, config, min(config.n_bootstrap, _RESAMPLES))
    found = []
    for name, law in fits.laws.items():
        of = law if law.status != "refused" else None
        surface = of if isinstance(of, ParametricLaw) else None
        found.append(
            WithoutOutliers(
                law=name,
                status=law.status,
                reason=law.reason,
                runs=len(kept),
                a=of.a if of else None,
                b=of.b if of else None,
                E=surface.E if surface else None,
                alpha=surface.alpha if surface else None,
                beta=surface.beta if surface else None,
            )
        )
    return tuple(found)
