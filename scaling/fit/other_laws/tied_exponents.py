"""Whether a law of one exponent for N and D holds: the surface of two, and the IsoFLOP minima.

The law L = E + A N^-k + B D^-k assumes N* ~ C^(1/2). Its exponents untied, by the same least
squares on the loss, a = beta/(alpha + beta) has a standard error to first order, with the
residuals as they are and not of one size (MacKinnon & White 1985, HC3). A few runs far off the
law move least squares and not approach 3: it has to reject a = 1/2 too, and its a is the one told.

Where IsoFLOP curves are fitted, their minima may reject a = 1/2 by themselves.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from scipy.special import stdtrit

from scaling.fit.data_flags import poor_design, too_few_points
from scaling.fit.flags import Flag
from scaling.fit.laws import Surface
from scaling.fit.numerics import Rows
from scaling.fit.observations import Observations
from scaling.fit.parametric import refit
from scaling.fit.results.laws import IsoflopLaw, Law, judged
from scaling.fit.results.other_laws import OverTrainingLaw

_TIED = 0.5  # a of equal exponents
_MOVED = 1.5  # a factor of the best D/N over the runs' compute that makes a difference
_CONSTANTS = 5
# Huber widths: one that every residual is within, and that of approach 3.
_SQUARES, _ROBUST = 1e9, 1e-3


def tied_exponents(observations: Observations, tied: Surface) -> tuple[Flag, ...]:
    """The flag of a law whose equal exponents these runs reject at 95%, if they do.

    `tied` is the law's own optimum, in N and D about the runs' geometric means.
    """
    if too_few_points(observations, _CONSTANTS) or poor_design(observations):
        return ()
    rows = Rows.of(observations.params, observations.tokens, observations.loss, "loss")
    start = np.array([tied.E, tied.A, tied.B, tied.alpha, tied.beta])
    squares = _untied(start, rows, _SQUARES)
    if squares is None:
        return ()
    robust = _untied(squares, replace(rows, residual="log"), _ROBUST)
    if robust is None:
        return ()
    reach = float(stdtrit(len(observations) - _CONSTANTS, 0.975)) * _se(squares, rows)
    apart = np.array([_a(squares), _a(robust)]) - _TIED
    if not (np.abs(apart) > reach).all() or apart.prod() < 0:
        return ()
    surface = rows.surface(robust)
    low, high = float(observations.flops.min()), float(observations.flops.max())
    best = [float(np.divide(*surface.optimal_allocation(c)[::-1])) for c in (low, high)]
    found = f"with exponents of their own these runs give a = {surface.a:.3f} +-{reach:.3f} (95%)"
    return _rejected(found, best, (low, high))


def against_minima(laws: Mapping[str, Law]) -> dict[str, Law]:
    """The laws; over-training is flagged where the minima of IsoFLOP curves reject its a = 1/2."""
    found, tied, minima = dict(laws), laws.get("over_training"), laws.get("isoflop")
    if not (isinstance(tied, OverTrainingLaw) and isinstance(minima, IsoflopLaw)):
        return found
    # Its a = 1/2 is that of C = 6 N D.
    told = {"tied_exponents", "flops_mismatch"} & {flag.code for flag in tied.flags}
    line = (minima.a.value, minima.b.value, minima.n_coef.value, minima.d_coef.value)
    known, interval = [value for value in line if value is not None], minima.a.ci95
    if told or tied.status == "refused" or interval is None or len(known) < len(line):
        return found
    a, b, n_coef, d_coef = known
    budgets = [one.flops for one in minima.valleys if one.n_opt.value is not None]
    low, high = min(budgets), max(budgets)
    best = [d_coef / n_coef * c ** (b - a) for c in (low, high)]
    if interval[0] <= _TIED <= interval[1]:
        return found
    ends = f"{interval[0]:.3f} to {interval[1]:.3f} at 95%"
    given = f"the minima of IsoFLOP curves give a = {a:.3f} ({ends})"
    flags = (*_rejected(given, best, (low, high)), *tied.flags)
    return {**found, "over_training": replace(tied, **judged(flags))}


def _rejected(given: str, best: Sequence[float], budgets: tuple[float, float]) -> tuple[Flag, ...]:
    """The flag of what gives another a, where the best D/N of both budgets differ enough."""
    if max(best) < _MOVED * min(best):
        return ()
    text = (
        f"it assumes a = 1/2, and {given}: the best D/N goes from {best[0]:.3g} at "
        f"{budgets[0]:.2g} FLOP to {best[1]:.3g} at {budgets[1]:.2g}"
    )
    return (Flag("tied_exponents", text),)


def _untied(start: np.ndarray, rows: Rows, width: float) -> np.ndarray | None:
    """E, A, B, alpha, beta of least objective; None without an optimum that has both terms."""
    found = refit(rows, start, np.ones((1, rows.loss.size)), width)
    theta: np.ndarray = found.theta[0]
    return theta if found.converged[0] and (theta[1:3] > 0).all() else None


def _a(theta: np.ndarray) -> float:
    return float(theta[4] / (theta[3] + theta[4]))


def _se(theta: np.ndarray, rows: Rows) -> float:
    """Standard error of a at the optimum `theta` (5,) of least squares; inf where it is open."""
    centred = Surface(*theta)
    n, d = np.exp(rows.log_n), np.exp(rows.log_d)
    fitted = centred.predict_loss(n, d)
    jacobian = centred.jacobian(n, d) * fitted[:, None]
    if theta[0] <= 0:
        jacobian = jacobian[:, 1:]  # E is held at its bound
    basis, singular, directions = np.linalg.svd(jacobian, full_matrices=False)
    if singular[-1] < 1e-12 * singular[0]:
        return float("inf")
    leverage = np.minimum((basis**2).sum(axis=1), 1 - 1e-6)
    alpha, beta = theta[3:]
    slope = np.zeros(jacobian.shape[1])
    slope[-2:] = np.array([-beta, alpha]) / (alpha + beta) ** 2
    along = basis @ ((directions @ slope) / singular)
    return float(np.sqrt((along**2 * ((rows.loss - fitted) / (1 - leverage)) ** 2).sum()))
