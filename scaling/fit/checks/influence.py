"""Influence of single runs: residuals by budget, leverage, influence. Drops nothing.

leverage    h_i = diag J (J'J)^-1 J', J the Jacobian of log L in the constants fitted, five as a
            rule: the share of its own loss in the surface's value at run i; the h_i sum to 5
influence   the exponent a with run i left out, less a: each an exact refit, not a linear step,
            since Huber's narrow delta makes the objective nearly piecewise linear (over 500 runs
            one Newton step, the curvature smoothed by the residuals' kernel);
            of the profiles' exponents by the headline's method (isoflop/leave_out.py), with
            the budgets that all runs make
"""

import logging
from dataclasses import replace

import numpy as np

from scaling.fit.checks.outliers import find_outliers, name_of
from scaling.fit.config import FitConfig
from scaling.fit.dispatch import HeadlineFits
from scaling.fit.isoflop import budgets, exponents_without
from scaling.fit.observations import Observations
from scaling.fit.results.checks import (
    Diagnostics,
    Influence,
    ResidualsOfBudget,
)
from scaling.fit.results.laws import Headline, IsoflopLaw

_log = logging.getLogger(__name__)

# Runs left out one at a time: those of largest leverage-weighted residual where there are more.
_REFITS: dict[Headline, int] = {"parametric": 1000, "isoflop": 300}
_AT_ONCE = 200  # refits of one batch: the weights are refits times runs
_FEWEST_OF_A_BUDGET = 3
_BINS = 8


def diagnostics(observations: Observations, fits: HeadlineFits, config: FitConfig) -> Diagnostics:
    """Residuals, influence and outliers; empty where no law stands."""
    surface = fits.parametric.surface if fits.parametric is not None else None
    residuals = leverage = None
    if surface is not None and fits.parametric is not None:
        fitted = surface.predict_loss(observations.params, observations.tokens)
        residuals = np.log(observations.loss / fitted)
        leverage = _leverage(fits.parametric.jacobian)
    return Diagnostics(
        residuals_by_budget=_by_budget(observations, residuals, config.budget_tolerance),
        influence=_influence(observations, fits, config, residuals, leverage),
        outliers=find_outliers(observations, residuals, fits, config),
    )


def _leverage(jacobian: np.ndarray | None) -> np.ndarray | None:
    if jacobian is None:
        return None
    # Columns of one size, so that the rank is judged on the runs and not on the units.
    jacobian = jacobian / np.linalg.norm(jacobian, axis=0)
    basis, size, _ = np.linalg.svd(jacobian, full_matrices=False)
    return (basis[:, size > 1e-12 * size[0]] ** 2).sum(axis=1)


def _by_budget(
    observations: Observations, residuals: np.ndarray | None, tolerance: float
) -> tuple[ResidualsOfBudget, ...]:
    """Mean and spread of log(observed/fitted) by budget, or by eighths of the runs in compute."""
    if residuals is None:
        return ()
    groups = [
        members
        for _, members in budgets(observations, tolerance).groups
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
        if (whole := law.a.value) is None:
            continue
        rows = np.sort(order[: _REFITS[name]])
        _log.info("influence: %s without each of %s runs", name, len(rows))
        if name == "parametric":
            without = _surface_without(fits, rows)
        else:
            assert isinstance(law, IsoflopLaw) and law.method is not None
            asked = law.method, config.budget_tolerance, config.isoflop.window
            here = replace(observations, excluded=())
            with_all, each = exponents_without(here, rows, *asked)
            without = whole + np.array(each) - with_all
        shares = leverage if name == "parametric" else None
        for row, a in zip(rows, without, strict=True):
            known = bool(np.isfinite(a))
            found.append(
                Influence(
                    *name_of(observations, row),
                    law=name,
                    leverage=None if shares is None else float(shares[row]),
                    residual=None if residuals is None else float(residuals[row]),
                    a_without=float(a) if known else None,
                    a_change=float(a - whole) if known else None,
                )
            )
    return tuple(sorted(found, key=lambda r: (-abs(r.a_change or 0.0), r.law, r.run_id)))


def _surface_without(fits: HeadlineFits, rows: np.ndarray) -> np.ndarray:
    """The surface's a without each of `rows`, by descent from the optimum of all runs."""
    assert fits.parametric is not None and fits.parametric.without is not None
    without = fits.parametric.without
    parts = [without(rows[first : first + _AT_ONCE]) for first in range(0, len(rows), _AT_ONCE)]
    return np.concatenate([np.empty(0), *parts])
