"""Linear regression where some targets are known to lie beyond a bound alone (Tobin 1958).

Maximum likelihood under normal noise of one size, by expectation and maximisation (Aitkin 1981):
a censored target is put at its expectation beyond its bound, the line is fitted, and so on. Shapes:
R outcomes, n rows, P coefficients.
"""

import numpy as np

_MOST_ROUNDS, _SETTLED = 300, 1e-7
_LEAST_SD = 1e-6  # of logarithms; data without noise have none


def tobit(
    design_nP: np.ndarray, target_Rn: np.ndarray, side_Rn: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (R, P) and residual standard deviations (R,) of each outcome.

    `side` is 0 where the target is known, 1 where it lies above what `target` says, -1 below.
    The sd counts the degrees of freedom of the known targets; nan where too few are known.
    """
    from scipy.special import log_ndtr  # here: a third of a second to import

    known = side_Rn == 0
    count = known.sum(axis=1)
    design = np.broadcast_to(design_nP, (*target_Rn.shape, design_nP.shape[1]))
    # From the line through the known targets alone.
    theta = _weighted(design, target_Rn, known.astype(float))
    sd = _sd(design, target_Rn, theta, known)
    inverse = np.linalg.pinv(design_nP)
    for _ in range(_MOST_ROUNDS):
        mean = np.einsum("rnp,rp->rn", design, theta)
        with np.errstate(all="ignore"):
            # Noise beyond the bound in units of sd, its mean by Mills' ratio, and its variance.
            bound = side_Rn * (target_Rn - mean) / sd[:, None]
            log_density = -0.5 * bound**2 - 0.5 * np.log(2 * np.pi)
            mills = np.exp(log_density - log_ndtr(-bound))
        filled = np.where(known, target_Rn, mean + side_Rn * sd[:, None] * mills)
        variance = np.where(known, 0.0, np.clip(1 + bound * mills - mills**2, 0.0, 1.0))
        after = filled @ inverse.T
        squares = (filled - np.einsum("rnp,rp->rn", design, after)) ** 2
        spread = (squares + variance * sd[:, None] ** 2).sum(axis=1)
        sd_after = np.maximum(np.sqrt(spread / target_Rn.shape[1]), _LEAST_SD)
        moved = np.abs(after - theta).max(initial=0) + np.abs(np.log(sd_after / sd)).max(initial=0)
        theta, sd = after, sd_after
        if not moved > _SETTLED:
            break
    dof = np.maximum(count - design_nP.shape[1], 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scaled = np.where(dof > 0, sd * np.sqrt(count / dof), np.nan)
    theta = np.where((dof > 0)[:, None], theta, np.nan)
    return theta, scaled


def _weighted(design: np.ndarray, target: np.ndarray, weights: np.ndarray) -> np.ndarray:
    gram = np.einsum("rnp,rn,rnq->rpq", design, weights, design)
    right = np.einsum("rnp,rn,rn->rp", design, weights, target)
    gram += 1e-12 * np.eye(design.shape[2])
    return np.asarray(np.linalg.solve(gram, right[:, :, None])[:, :, 0])


def _sd(design: np.ndarray, target: np.ndarray, theta: np.ndarray, known: np.ndarray) -> np.ndarray:
    squares = (target - np.einsum("rnp,rp->rn", design, theta)) ** 2
    mean = np.where(known, squares, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.maximum(np.sqrt(mean), _LEAST_SD)
