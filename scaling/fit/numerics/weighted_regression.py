"""Power laws through profile minima: weighted, with what scatter between profiles there is."""

import numpy as np

from scaling.fit.laws import PowerLaw

FEWEST_POINTS = 3
# Minima of data without noise differ from a line by rounding alone: no variance to weigh by.
_NO_VARIANCE = 1e-20


def inverse_variances(variance: np.ndarray) -> np.ndarray:
    """Inverse variances; equal ones where the minima are exact or their variance is unknown."""
    if not np.isfinite(variance).all() or variance.max() < _NO_VARIANCE:
        return np.ones_like(variance)
    return 1 / np.maximum(variance, 1e-6 * variance.max())


def regress(log_c_RV: np.ndarray, log_y_RV: np.ndarray, weights_V: np.ndarray) -> PowerLaw:
    """Weighted lines through each row's finite points; nan with fewer than three of them."""
    there = np.isfinite(log_y_RV)
    weights = np.where(there, weights_V, 0.0)
    x, y = np.where(there, log_c_RV, 0.0), np.where(there, log_y_RV, 0.0)
    total = weights.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        x_mean, y_mean = (weights * x).sum(axis=1) / total, (weights * y).sum(axis=1) / total
        dx = x - x_mean[:, None]
        slope = (weights * dx * (y - y_mean[:, None])).sum(axis=1) / (weights * dx**2).sum(axis=1)
    slope = np.where(there.sum(axis=1) >= FEWEST_POINTS, slope, np.nan)
    return PowerLaw(y_mean - slope * x_mean, slope)


def between_profiles(
    log_c: np.ndarray, log_y: np.ndarray, variance: np.ndarray, degree: int = 1
) -> float:
    """Variance of the minima about a line beyond their own, by the method of moments.

    About a polynomial of another `degree` in log C, where that is asked for.
    """
    there = np.isfinite(log_y)
    x, y, variance = log_c[there], log_y[there], variance[there]
    dof = len(x) - degree - 1
    if dof < 1:
        return 0.0
    known = np.isfinite(variance).all() and variance.max() >= _NO_VARIANCE
    weights = inverse_variances(variance)
    design = np.vander(x - x.mean(), degree + 1)
    gram = design.T @ (weights[:, None] * design)
    residuals = y - design @ np.linalg.solve(gram, design.T @ (weights * y))
    excess = float(weights @ residuals**2) - (dof if known else 0)
    trace = weights.sum() - np.trace(
        np.linalg.solve(gram, design.T @ (weights[:, None] ** 2 * design))
    )
    return max(0.0, excess / float(trace))
