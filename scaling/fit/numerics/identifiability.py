"""Which constants of a law its runs determine: rank and condition of the Jacobian at the optimum.

To first order a fit knows its constants only through J, the derivatives of its residuals in them:
noise of standard deviation s leaves them uncertain by s^2 (J'J)^-1. Where a direction of the
constants moves no residual (one amount of data: E and the data term), no number of resamples shows
it, since each descends from the same optimum. Each column is scaled to a constant's own size, so
that no unit enters. Shapes: n rows, P constants.
"""

from collections.abc import Sequence

import numpy as np

from scaling.fit.results.estimate import Identifiability

_NULL = 1e-7  # singular value, as a share of the greatest, under which a direction moves nothing
_SHARE = 1e-3  # of a null direction that makes a constant part of it
_UNKNOWN = 0.5  # relative standard error beyond which a constant is not determined


def identify(
    names: Sequence[str], jacobian_nP: np.ndarray, sizes_P: np.ndarray, sd: float
) -> Identifiability:
    """What runs with residuals of `sd` determine of the constants `names`.

    `jacobian_nP` has the derivatives of the residuals at the optimum, without constants that are
    held; `sizes_P` the change of each constant that counts as its own size: its value, or 1 for
    one that is held as a logarithm.
    """
    own = jacobian_nP * sizes_P
    length = np.linalg.norm(own, axis=0)
    unit = own / np.where(length > 0, length, 1.0)
    # The square keeps rows out of it: of a million there is no need.
    values, vectors = np.linalg.eigh(unit.T @ unit)
    singular, vectors = np.sqrt(np.maximum(values[::-1], 0.0)), vectors[:, ::-1].T
    known = singular > _NULL * singular[0]
    lost = (length == 0) | ((vectors[~known] ** 2).sum(axis=0) > _SHARE**2)
    spread = np.sqrt(((vectors[known] / singular[known, None]) ** 2).sum(axis=0))
    relative = sd * spread / np.where(length > 0, length, 1.0)
    se = {
        name: None if gone else float(error)
        for name, gone, error in zip(names, lost, relative, strict=True)
    }
    return Identifiability(
        rank=int(known.sum()),
        constants=len(names),
        condition=float(singular[0] / singular[-1]) if known.all() else None,
        relative_se=se,
        undetermined=tuple(name for name, e in se.items() if e is None or e > _UNKNOWN),
    )
