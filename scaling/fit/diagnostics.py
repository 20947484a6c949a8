"""Which runs a fit leans on: residuals by budget, leverage, influence, outliers. Drops nothing.

leverage    h_i = diag J (J'J)^-1 J', J the Jacobian of log L in the five constants: the share
            of its own loss in the surface's value at run i; the h_i sum to 5
influence   the exponent a with run i left out, less a: each an exact refit, not a linear step,
            since Huber's narrow delta makes the objective nearly piecewise linear;
            of the valleys' exponents, the parabola's whatever the headline's method, with
            the budgets that all runs make
outlier     a residual over 3.5 robust standard deviations from the median residual, that is
            0.6745 |r - median| > 3.5 MAD (Iglewicz & Hoaglin 1993); the laws are fitted
            again without such runs, and both results stand side by side
"""

from dataclasses import replace
from typing import Any

import numpy as np

from scaling.fit import descent
from scaling.fit.config import FitConfig
from scaling.fit.headline import HeadlineFits, fit_headline
from scaling.fit.isoflop import parabola_exponent
from scaling.fit.laws import LawFit, Surface
from scaling.fit.observations import Observations
from scaling.fit.parametric import centred, width
from scaling.fit.resampling import resample
from scaling.fit.valleys import budgets, valley_of

OUTLIER = 3.5
RULE = (
    f"residual of log loss over {OUTLIER} robust standard deviations (1.4826 MAD) from the median"
)
# Runs left out one at a time: those of largest leverage-weighted residual where there are more.
_REFITS = {"parametric": 1000, "isoflop": 300}
_AT_ONCE = 200  # refits of one batch: the weights are refits times runs
_ROUNDING = 1e-7  # residuals of data without noise scatter by rounding alone
_RESAMPLES = 500
_FEWEST_OF_A_BUDGET = 3
_BINS = 8


def diagnostics(
    observations: Observations, fits: HeadlineFits, config: FitConfig
) -> dict[str, Any]:
    """The entry `diagnostics` of fit.json; its lists are empty where no law stands."""
    surface = fits.parametric.surface if fits.parametric is not None else None
    residuals = leverage = None
    if surface is not None:
        fitted = surface.predict_loss(observations.params, observations.tokens)
        residuals = np.log(observations.loss / fitted)
        leverage = _leverage(observations, surface)
    outliers = _outliers(residuals)
    return {
        "residuals_by_budget": _by_budget(observations, residuals, config.budget_tolerance),
        "influence": _influence(observations, fits, config, residuals, leverage),
        "outliers": {
            "rule": RULE,
            "runs": [
                {
                    **_name(observations, row),
                    "residual": float(residuals[row]) if residuals is not None else None,
                    "score": score,
                }
                for row, score in outliers
            ],
            "without": _without([row for row, _ in outliers], observations, config),
        },
    }


def _leverage(observations: Observations, surface: Surface) -> np.ndarray:
    n, d = observations.params, observations.tokens
    a, b = surface.A * n**-surface.alpha, surface.B * d**-surface.beta
    columns = [np.ones_like(n), a, b, a * np.log(n), b * np.log(d)]
    jacobian = np.stack(columns, axis=1) / (surface.E + a + b)[:, None]
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
) -> list[dict[str, Any]]:
    """Mean and spread of log(observed/fitted) by budget, or by eighths of the runs in compute."""
    if residuals is None:
        return []
    groups = [
        members
        for _, members in budgets(observations, tolerance)
        if len(members) >= _FEWEST_OF_A_BUDGET
    ]
    if sum(map(len, groups)) < 0.8 * len(observations):
        order = np.argsort(observations.flops, kind="stable")
        groups = [part for part in np.array_split(order, _BINS) if len(part)]
    return [
        {
            "flops_low": float(observations.flops[members].min()),
            "flops_high": float(observations.flops[members].max()),
            "runs": len(members),
            "mean": float(residuals[members].mean()),
            "sd": float(residuals[members].std(ddof=1)) if len(members) > 1 else None,
        }
        for members in groups
    ]


def _influence(
    observations: Observations,
    fits: HeadlineFits,
    config: FitConfig,
    residuals: np.ndarray | None,
    leverage: np.ndarray | None,
) -> list[dict[str, Any]]:
    """One row a run and law, the largest change of a first; null where a refit has no answer."""
    if leverage is not None and residuals is not None:
        weight = leverage * residuals**2 / np.maximum(1 - leverage, 1e-6) ** 2  # Cook's distance
    else:
        weight = np.ones(len(observations))
    order = np.argsort(-weight, kind="stable")
    found = []
    for law in fits.standing:
        whole = _whole(law)
        if whole is None:
            continue
        rows = np.sort(order[: _REFITS[law.name]])
        if law.name == "parametric":
            without = _surface_without(observations, fits, config, rows)
        else:
            without = np.array(_valleys_without(observations, config, rows))
        for row, a in zip(rows, without, strict=True):
            known = bool(np.isfinite(a))
            found.append(
                {
                    **_name(observations, row),
                    "law": law.name,
                    "leverage": float(leverage[row])
                    if leverage is not None and law.name == "parametric"
                    else None,
                    "residual": float(residuals[row]) if residuals is not None else None,
                    "a_without": float(a) if known else None,
                    "a_change": float(a - whole) if known else None,
                }
            )
    return sorted(found, key=lambda r: (-abs(r["a_change"] or 0.0), r["law"], r["run_id"]))


def _whole(law: LawFit) -> float | None:
    """The exponent a with all runs, by the method that the refits use."""
    if law.name == "isoflop":
        parabola = law.details["methods"]["parabola"]
        return parabola["a"]["value"] if parabola else None
    return law.estimates["a"].value if law.name in _REFITS else None


def _name(observations: Observations, row: int) -> dict[str, Any]:
    """What tells a run from the others: one run_id may stand at several amounts of tokens."""
    return {
        "run_id": observations.run_id[row],
        "params": float(observations.params[row]),
        "tokens": float(observations.tokens[row]),
    }


def _surface_without(
    observations: Observations, fits: HeadlineFits, config: FitConfig, rows: np.ndarray
) -> np.ndarray:
    """The surface's a without each of `rows`, by descent from the optimum of all runs."""
    assert fits.parametric is not None and fits.parametric.surface is not None
    s = fits.parametric.surface
    data, centre = centred(observations.params, observations.tokens, observations.loss)
    theta = np.array(
        [
            s.E,
            s.A * np.exp(-s.alpha * centre[0]),
            s.B * np.exp(-s.beta * centre[1]),
            s.alpha,
            s.beta,
        ]
    )
    parts = [np.empty(0)]
    for first in range(0, len(rows), _AT_ONCE):
        left = rows[first : first + _AT_ONCE]
        weights = np.ones((len(left), len(observations)))
        weights[np.arange(len(left)), left] = 0.0
        found = resample(data, theta, weights, width(config.objective, config.delta))
        alpha, beta = found.theta[:, descent.ALPHA], found.theta[:, descent.BETA]
        there = found.converged & (found.theta[:, [descent.A, descent.B]] > 0).all(axis=1)
        parts.append(np.where(there, beta / (alpha + beta), np.nan))
    return np.concatenate(parts)


def _valleys_without(
    observations: Observations, config: FitConfig, rows: np.ndarray
) -> list[float]:
    """The valleys' a without each of `rows`, the budgets being those of all runs."""
    whole = replace(observations, excluded=())
    groups = budgets(whole, config.budget_tolerance)
    valleys = [valley_of(whole, *group) for group in groups]
    place = {int(row): index for index, (_, members) in enumerate(groups) for row in members}
    found = []
    for row in rows.tolist():
        flops, members = groups[place[row]]
        changed = valleys.copy()
        changed[place[row]] = valley_of(whole, flops, members[members != row])
        found.append(parabola_exponent(changed))
    return found


def _without(
    rows: list[int], observations: Observations, config: FitConfig
) -> list[dict[str, Any]]:
    """Each law asked for, fitted to the runs that are no outliers; empty where none are."""
    if not rows or not set(config.asked) & set(_REFITS):
        return []
    kept = replace(observations.take(np.setdiff1d(np.arange(len(observations)), rows)), excluded=())
    config = replace(config, laws=tuple(law for law in config.asked if law in _REFITS))
    fits = fit_headline(kept, config, min(config.n_bootstrap, _RESAMPLES))
    names = ("a", "b", "E", "alpha", "beta")
    return [
        {
            "law": law.name,
            "status": law.status,
            "reason": law.reason,
            "runs": len(kept),
            **{
                name: law.estimates[name].document() if name in law.estimates else None
                for name in names
            },
        }
        for law in fits.laws
        if law.name in _REFITS
    ]
