"""Whether one exponent serves all budgets: a quadratic in log C through minima, against a line."""

import numpy as np
from scipy.special import stdtrit

from scaling.fit.data_flags import ENOUGH_BUDGETS, WIDE
from scaling.fit.flags import Flag
from scaling.fit.numerics import FEWEST_RESAMPLES, between_profiles, inverse_variances

_CHANCE = 0.995  # two-sided, at 99%


def bend(log_c: np.ndarray, log_n: np.ndarray, draws: np.ndarray | None = None) -> tuple[Flag, ...]:
    """The flag of minima (V,) whose log N* is no line in log C: the exponent changes over them.

    The quadratic is weighted by the covariance of log N* in its resamples `draws` (R, V), of which
    None are known where minima are all that there is, and by the scatter about it. What scatter a
    few budgets show is uncertain, so its share of the error has V - 3 degrees of freedom
    (Satterthwaite 1946). nan, in either, is a curve without a minimum.
    """
    there = np.isfinite(log_n)
    log_c, log_n = log_c[there], log_n[there]
    apart = np.unique(log_c.round(3))  # budgets that differ by rounding show no bend
    if len(apart) < ENOUGH_BUDGETS or (draws is not None and len(draws) < FEWEST_RESAMPLES):
        return ()
    noise = None
    if draws is not None:
        noise = np.ma.cov(np.ma.masked_invalid(draws)[:, there], rowvar=False).filled(np.nan)
    own = np.zeros_like(log_n) if noise is None else noise.diagonal()
    scatter = between_profiles(log_c, log_n, own, degree=2)
    weights, x = inverse_variances(own + scatter), log_c - log_c.mean()
    design = np.vander(x, 3)
    fit = np.linalg.solve(design.T @ (weights[:, None] * design), design.T * weights)
    quadratic, slope, _ = fit @ log_n
    by_scatter = scatter * float(fit[0] @ fit[0])
    variance = (0.0 if noise is None else float(fit[0] @ noise @ fit[0])) + by_scatter
    freedom = (len(x) - 3) * (variance / by_scatter) ** 2 if by_scatter else np.inf
    reach = float(stdtrit(freedom, _CHANCE)) * np.sqrt(variance)
    low, high = (float(slope + 2 * quadratic * end) for end in (x.min(), x.max()))
    if not (abs(high - low) >= WIDE and abs(quadratic) > reach):
        return ()
    text = (
        f"log N* bends against log C: a is {low:.2f} at {np.exp(log_c.min()):.3g} FLOP and "
        f"{high:.2f} at {np.exp(log_c.max()):.3g}, so that one exponent serves between the "
        "budgets, not beyond"
    )
    return (Flag("bent_frontier", text),)
