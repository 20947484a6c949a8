"""The surface's objective row by row, for tables with many rows.

Under noise well above delta the Huber objective bends only at rows whose residual lies within
delta. How many those are is known better from the residuals' kernel density than by counting, so
that psi' of a row is taken as the chance that its residual, spread by the kernel, lies there.
Shapes: n rows, 5 parameters (E, A, B, alpha, beta).
"""

import numpy as np
from scipy.special import ndtr

from scaling.fit.numerics import Rows
from scaling.fit.numerics.one_step import Terms
from scaling.fit.parametric.newton import ALPHA, BETA, PARAMETERS, A, B, E


def row_terms(rows: Rows, theta: np.ndarray, delta: float, width: float) -> Terms:
    """Gradients (m, 5) and Hessians (m, 5, 5) of Huber_delta of the residuals of log loss.

    `width` is that of the residuals' kernel.
    """

    def terms(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_n, log_d = rows.log_n[at], rows.log_d[at]
        x, y = np.exp(-theta[ALPHA] * log_n), np.exp(-theta[BETA] * log_d)
        loss = theta[E] + theta[A] * x + theta[B] * y
        r = np.log(loss / rows.loss[at])
        pull = np.clip(r, -delta, delta)
        inside = ndtr((delta - r) / width) - ndtr((-delta - r) / width)
        first = np.empty((len(r), PARAMETERS))
        first[:, E], first[:, A], first[:, B] = 1 / loss, x / loss, y / loss
        first[:, ALPHA] = -theta[A] * log_n * first[:, A]
        first[:, BETA] = -theta[B] * log_d * first[:, B]
        curvature = first[:, :, None] * (first * (inside - pull)[:, None])[:, None, :]
        for term, exponent, log_size in ((A, ALPHA, log_n), (B, BETA, log_d)):
            bent = pull * first[:, term] * log_size
            curvature[:, term, exponent] -= bent
            curvature[:, exponent, term] -= bent
            curvature[:, exponent, exponent] += theta[term] * bent * log_size
        return first * pull[:, None], curvature

    return terms
