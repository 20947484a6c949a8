"""What a rise of the objective is worth, where a constant of the surface is held elsewhere.

A quasi-likelihood ratio for M-estimates (Schrader & Hettmansperger 1980, Biometrika 67, 93):

    tau = 2 (Q(held) - Q(best)) E[psi'] / E[psi^2]  ~  F(1, n - p)

with Q the objective, psi its derivative in a residual, and both expectations under the kernel
density of the residuals, scaled for the p constants fitted; for squares it is the usual F ratio.
"""

import numpy as np
from scipy.special import ndtri

from scaling.fit.numerics import Rows
from scaling.fit.parametric.bootstrap import kernel

_NODES = ndtri((np.arange(101) + 0.5) / 101)
_ROWS_AT_ONCE = 65_536


def rise_weight(rows: Rows, misfit_n: np.ndarray, delta: float, fitted: int) -> float:
    """2 E[psi'] / E[psi^2] of residuals, observed less fitted, spread by their kernel."""
    n = misfit_n.size
    centred, width, keep = kernel(misfit_n, fitted)
    spread = keep * np.sqrt(n / max(n - fitted, 1))
    # An asymmetric objective leaves the runs above the law on average.
    middle = misfit_n.mean() if rows.above != 1 else 0.0
    square = inside = 0.0
    for part in np.array_split(np.arange(n), n // _ROWS_AT_ONCE + 1):
        smooth = spread * (centred[part, None] + width * _NODES) + middle
        counts = rows.take(part[:, None]).pulls(np.ones_like(smooth), -smooth)
        square += float(((counts * np.clip(smooth, -delta, delta)) ** 2).sum())
        inside += float((counts * (np.abs(smooth) <= delta)).sum())
    return 2 * inside / max(square, 1e-300 * n)
