"""From losses to compute: the multiplier k(C) of an arm over a baseline.

    L*(C) = E + (C_0/C)^gamma                  the frontier of an arm, E one for both arms
    k(C)  = C_baseline(L*_arm(C)) / C          the compute that the baseline needs for that loss

E is the one of least squares about both frontiers, each a power law of its own above it, unless it
is pinned. The exponent that turns a difference of loss into compute is the baseline's. Where the
baseline has a minimum at the arm's budget the two minima are compared there, so that what the runs
of a budget share cancels; elsewhere its power law stands in. k in data and in size compare N* and
D* of the arm with those of the baseline at that compute, so that k = k_N k_D where C = 6 N D.
Shapes: V budgets of the baseline, W of the arm, R resamples (the first may be the runs themselves),
G values of E.
"""

from dataclasses import dataclass, replace

import numpy as np

from scaling.fit.isoflop.frontier import Minima
from scaling.fit.laws import PowerLaw
from scaling.fit.numerics import regress

_STEPS = 28
_NEAREST = 0.05  # of the range of L*: E is no nearer than that to the lowest loss


@dataclass(frozen=True)
class Conversion:
    """E and the baseline's exponent (R,), and log k in compute, data and size (R, W)."""

    E: np.ndarray
    gamma: np.ndarray
    log_k: np.ndarray
    log_k_data: np.ndarray
    log_k_size: np.ndarray


def convert(
    baseline: Minima, arm: Minima, partner: np.ndarray, pinned: float | None = None
) -> Conversion:
    """log k at the arm's budgets; `partner` (W,) is the baseline's place of that budget, or -1.

    A loss that a draw of noise puts at 0 or below is no answer of that resample: nan.
    """
    baseline, arm = (
        replace(one, loss=np.where(one.loss > 0, one.loss, np.nan)) for one in (baseline, arm)
    )
    E = irreducible_loss(baseline, arm) if pinned is None else np.full(len(arm.loss), pinned)
    with np.errstate(invalid="ignore", divide="ignore"):
        y, own = (np.log(one.loss - E[:, None]) for one in (baseline, arm))
        loss, n, d = (_line(baseline, part) for part in (y, baseline.log_n, baseline.log_d))
        log_c = (own - loss.log_scale[:, None]) / loss.slope[:, None]
        log_n, log_d = (p.log_scale[:, None] + p.slope[:, None] * log_c for p in (n, d))
        met = partner >= 0
        there = partner[met]
        step = (own[:, met] - y[:, there]) / loss.slope[:, None]
    log_c[:, met] = baseline.log_c[:, there] + step
    log_n[:, met] = baseline.log_n[:, there] + n.slope[:, None] * step
    log_d[:, met] = baseline.log_d[:, there] + d.slope[:, None] * step
    return Conversion(E, -loss.slope, log_c - arm.log_c, log_d - arm.log_d, log_n - arm.log_n)


def irreducible_loss(baseline: Minima, arm: Minima) -> np.ndarray:
    """E (R,) of least squares about both frontiers, at least 0 and below every loss."""
    both = np.concatenate([baseline.loss, arm.loss], axis=1)
    known = np.isfinite(both)
    lowest = np.where(known, both, np.inf).min(axis=1)
    lowest = np.where(np.isfinite(lowest), lowest, np.nan)
    reach = np.where(known, both, 0.0).max(axis=1) - lowest
    least = np.clip(_NEAREST * reach, 1e-9 * lowest, 0.5 * lowest)
    gaps_GR = least * (lowest / least) ** np.linspace(0, 1, _STEPS)[:, None]  # to E = 0
    squares = _squares(baseline, lowest - gaps_GR) + _squares(arm, lowest - gaps_GR)
    best = np.clip(squares.argmin(axis=0), 1, _STEPS - 2)
    rows = np.arange(len(lowest))
    left, mid, right = (squares[best + shift, rows] for shift in (-1, 0, 1))
    bend = left + right - 2 * mid
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(bend > 0, (left - right) / (2 * bend), 0.0)
    place = (best + np.clip(share, -1, 1)) / (_STEPS - 1)
    return np.asarray(lowest - least * (lowest / least) ** place)


def _squares(one: Minima, E_GR: np.ndarray) -> np.ndarray:
    """Squares (G, R) of the losses about the power law above each E, to first order in them."""
    there = np.isfinite(one.loss)
    x = np.where(there, one.log_c, 0.0)
    gap = np.where(there, one.loss - E_GR[..., None], 1.0)
    y, w = np.log(gap), there.astype(float)
    total = w.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        x = w * (x - (w * x).sum(axis=1, keepdims=True) / total[:, None])
        y = w * (y - (w * y).sum(axis=2, keepdims=True) / total[:, None])
        slope = (x * y).sum(axis=2) / (x * x).sum(axis=1)
    return np.asarray(((gap * (y - slope[..., None] * x)) ** 2).sum(axis=2))


def _line(one: Minima, y: np.ndarray) -> PowerLaw:
    return regress(one.log_c, y, np.ones(y.shape[1]))
