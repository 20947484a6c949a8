"""How the runs of a surface might have come out otherwise, and the surface fitted to each outcome.

A planned grid fixes the sizes, and only the losses are random: they are drawn again about the
surface. Of a collection of runs, the runs themselves could have been others: they are weighted
anew (`scaling.fit.numerics.bootstrap.bayesian_weights`). So are those of any table with many rows,
by one Newton step a resample (`scaling.fit.numerics.one_step`). Shapes: R resamples, n rows.
"""

from dataclasses import replace
from typing import Literal

import numpy as np

from scaling.fit.numerics import Rows, bayesian_weights, robust_sd, t_scale
from scaling.fit.numerics.one_step import MANY_ROWS, Terms, leave_out_step, one_step
from scaling.fit.observations import Observations
from scaling.fit.parametric import newton
from scaling.fit.parametric.newton import (
    ALPHA,
    BETA,
    LOWER,
    PARAMETERS,
    UPPER,
    A,
    B,
    E,
    NewtonResult,
    newton_minimise,
)
from scaling.fit.parametric.row_terms import row_terms

Resampling = Literal["noise", "cases"]

_ONE_BUDGET = 1.01  # planned runs of one budget differ by the rounding of their steps
_FEWEST_SIZES, _FEWEST_BUDGETS = 3, 3


def resampling_scheme(observations: Observations) -> Resampling:
    """ "noise" where every run belongs to a budget of three sizes or more, else "cases".

    More than MANY_ROWS are always "cases": both schemes give the same intervals there. Runs are of
    one budget where they name one, or where their FLOP are equal within 1%.
    """
    if len(observations) > MANY_ROWS:
        return "cases"
    named = np.isfinite(observations.flops_budget)
    level = np.log(np.where(named, observations.flops_budget, observations.flops))
    order = np.argsort(level)
    group = np.cumsum(np.diff(level[order], prepend=level[order[0]]) > np.log(_ONE_BUDGET))
    pairs = np.unique(np.stack([group, np.log(observations.params[order])]), axis=1)
    sizes = np.bincount(pairs[0].astype(int))
    planned = len(sizes) >= _FEWEST_BUDGETS and sizes.min() >= _FEWEST_SIZES
    return "noise" if planned else "cases"


def bootstrap_fits(
    how: Resampling,
    rows: Rows,
    theta: np.ndarray,
    resamples: int,
    delta: float,
    rng: np.random.Generator,
) -> NewtonResult:
    """The surface of each resample of `rows`, whose own surface is `theta`."""
    n = rows.loss.size
    if n > MANY_ROWS:
        terms, start = terms_of(rows, theta, delta), theta[free_part(rows)]
        floor = E if rows.E is None else None
        return _stepped(_whole(one_step(start, terms, n, resamples, rng, floor), rows))
    if how == "cases":
        weights = bayesian_weights(n, constants(rows), resamples, rng)
        return refit(rows, theta, weights, delta)
    fitted = newton.predicted(theta[None], rows)[0]
    drawn = smooth_draws(rows.loss - fitted, constants(rows), resamples, rng)
    # An asymmetric objective leaves the runs above the law on average.
    drawn += (rows.loss - fitted).mean() if rows.above != 1 else 0.0
    others = replace(rows, loss=np.maximum(fitted + drawn, 1e-3 * fitted))
    return refit(others, theta, np.ones_like(drawn), delta)


def constants(rows: Rows) -> int:
    """How many constants of the surface are fitted."""
    return PARAMETERS - (rows.E is not None)


def free_part(rows: Rows) -> slice:
    """Those constants among the five."""
    return slice(PARAMETERS - constants(rows), None)


def _whole(theta_RP: np.ndarray, rows: Rows) -> np.ndarray:
    """The five constants (R, 5) of those fitted."""
    if rows.E is None:
        return theta_RP
    return np.column_stack([np.full(len(theta_RP), rows.E), theta_RP])


def terms_of(rows: Rows, theta: np.ndarray, delta: float) -> Terms:
    """The objective's terms at `theta`, row by row."""
    width = kernel(misfit(rows, theta), constants(rows))[1]
    return row_terms(rows, theta, delta, max(width, 1e-12))


def misfit(rows: Rows, theta: np.ndarray) -> np.ndarray:
    """Observed less fitted of each row, in the objective's own terms."""
    fitted = newton.predicted(theta[None], rows)[0]
    return rows.loss - fitted if rows.residual == "loss" else np.log(rows.loss / fitted)


def without_each(rows: Rows, theta: np.ndarray, delta: float, left: np.ndarray) -> NewtonResult:
    """The surface without each of the rows `left`, exactly, or by one step where rows are many."""
    n = rows.loss.size
    if n > MANY_ROWS:
        found = leave_out_step(theta[free_part(rows)], terms_of(rows, theta, delta), n, left)
        return _stepped(_whole(found, rows))
    weights = np.ones((len(left), n))
    weights[np.arange(len(left)), left] = 0.0
    return refit(rows, theta, weights, delta)


def exponents_without(rows: Rows, theta: np.ndarray, delta: float, left: np.ndarray) -> np.ndarray:
    """The exponent a (m,) without each of the rows `left`; nan where a refit has no answer."""
    found = without_each(rows, theta, delta, left)
    alpha, beta = found.theta[:, ALPHA], found.theta[:, BETA]
    there = found.converged & (found.theta[:, [A, B]] > 0).all(axis=1)
    return np.where(there, beta / (alpha + beta), np.nan)


def _stepped(theta_R5: np.ndarray) -> NewtonResult:
    """Where one step led; a member out of its bounds has no answer."""
    inside = np.all((theta_R5 >= LOWER) & (theta_R5 <= UPPER), axis=1)
    unknown = np.full(len(theta_R5), np.nan)
    return NewtonResult(np.nan_to_num(theta_R5), unknown, unknown, inside)


def refit(rows: Rows, theta: np.ndarray, weights_Rn: np.ndarray, delta: float) -> NewtonResult:
    """The minimum for each row of resampling weights, descended to from the optimum of all rows.

    `rows.loss` may be (R, n), of the losses of each resample.
    """
    starts = np.repeat(theta[None], len(weights_Rn), axis=0)
    widths = (10 * delta, 3 * delta) if delta > 1e-4 else (1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)
    return newton_minimise(starts, rows, weights_Rn, (*widths, delta))


def smooth_draws(
    residuals_n: np.ndarray, fitted: int, resamples: int, rng: np.random.Generator
) -> np.ndarray:
    """Noise (R, n) from the kernel density of the residuals of a fit of `fitted` parameters.

    Under noise well above delta the Huber objective is one of absolute values. Redrawing cases or
    bare residuals then errs by the order n^-1/4, and the intervals come out too wide; drawing from
    a smooth density errs less (De Angelis, Hall & Young 1993). Silverman's (1986) kernel, with the
    spread kept; scaled for the parameters fitted, and for the uncertainty of the noise level.
    """
    n = residuals_n.size
    centred, width, keep = kernel(residuals_n, fitted)
    drawn = rng.choice(centred, (resamples, n)) + width * rng.standard_normal((resamples, n))
    dof = max(n - fitted, 1)
    return drawn * keep * np.sqrt(n / dof) * t_scale(dof, resamples, rng)[:, None]


def kernel(residuals_n: np.ndarray, fitted: int) -> tuple[np.ndarray, float, float]:
    """Centred residuals, Silverman's width for them, and the factor that restores their spread."""
    centred = residuals_n - residuals_n.mean()
    spread = float(centred.std())
    width = 1.06 * min(spread, robust_sd(centred, fitted)) * residuals_n.size**-0.2
    return centred, width, spread / float(np.hypot(spread, width)) if spread > 0 else 1.0
