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
    """Gradients (m, 5) and Hessians (m, 5, 5) of Huber_delta of the residuals; of 4 with E held.

    `width` is that of the residuals' kernel.
    """
    free = slice(A if rows.E is not None else E, None)

    def terms(at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        log_n, log_d = rows.log_n[at], rows.log_d[at]
        x, y = np.exp(-theta[ALPHA] * log_n), np.exp(-theta[BETA] * log_d)
        loss = theta[E] + theta[A] * x + theta[B] * y
        part = rows.take(at)
        r, one = part.residuals(loss), np.ones(log_n.size)
        pull = part.pulls(one, r) * np.clip(r, -delta, delta)
        above, below = part.pulls(one, -one), part.pulls(one, one)
        inside = above * (ndtr((delta - r) / width) - ndtr((-delta - r) / width))
        if rows.above != 1:
            inside += (below - above) * (ndtr((delta - r) / width) - ndtr(-r / width))
        over = loss if rows.residual == "log" else one
        first = np.empty((len(r), PARAMETERS))
        first[:, E], first[:, A], first[:, B] = 1 / over, x / over, y / over
        first[:, ALPHA] = -theta[A] * log_n * first[:, A]
        first[:, BETA] = -theta[B] * log_d * first[:, B]
        bend = inside - pull if rows.residual == "log" else inside
        curvature = first[:, :, None] * (first * bend[:, None])[:, None, :]
        for term, exponent, log_size in ((A, ALPHA, log_n), (B, BETA, log_d)):
            bent = pull * first[:, term] * log_size
            curvature[:, term, exponent] -= bent
            curvature[:, exponent, term] -= bent
            curvature[:, exponent, exponent] += theta[term] * bent * log_size
        return (first * pull[:, None])[:, free], curvature[:, free, free]

    return terms
