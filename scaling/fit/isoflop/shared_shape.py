"""Minima without the parabola's bias: all profiles share one shape, which the data choose.

At a fixed budget the surface E + A N^-alpha + B D^-beta is, in x = log N,

    L_v(x) = F_v + A_v e^(-alpha x) + B_v e^(beta x)
    x*_v   = log(alpha A_v / (beta B_v)) / (alpha + beta)

so profiles differ in F, A and B alone, and these are linear: (alpha, beta) are searched for with
the linear part solved in each profile (variable projection, as Czech 2026 advises). Unlike the
surface this assumes neither one floor for all budgets, nor C = 6 N D, nor that a follows from
alpha and beta. A parabola's minimum is off where alpha and beta differ, this one's is not; the skew
that it needs is one number, to which all profiles contribute. Huber's weights tame runs far off.
Shapes: V profiles of k sizes in their windows, R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scaling.fit.isoflop.profiles import Profile
from scaling.fit.numerics import robust_sd

_HUBER = 1.345  # 95% efficient on normal noise
# alpha + beta and (alpha - beta)/(alpha + beta): every pair of exponents ever reported and more.
_SUMS = np.geomspace(0.25, 2.0, 7)
_SKEWS = np.linspace(-0.85, 0.85, 18)
_REWEIGHTINGS = 4


@dataclass(frozen=True)
class Shape:
    """alpha and beta of the profiles as `total`, their sum, and `skew`; each run's weight.

    `profiles` are those that it was fitted to, in the order of the weights.
    """

    total: float
    skew: float
    weights: tuple[np.ndarray, ...]
    profiles: tuple[Profile, ...] = ()

    @property
    def exponents(self) -> tuple[float, float]:
        """(alpha, beta)."""
        return self.total * (1 + self.skew) / 2, self.total * (1 - self.skew) / 2


def fit_shape(usable: Sequence[Profile]) -> Shape:
    """The shape of least weighted squares about all profiles at once."""
    weights = [np.ones(int(profile.window.sum())) for profile in usable]
    shape = _best(usable, weights)
    for _ in range(_REWEIGHTINGS):
        residuals = [
            _residuals(profile, shape, w) for profile, w in zip(usable, weights, strict=True)
        ]
        free = sum(len(r) for r in residuals) - 3 * len(usable) - 2
        scale = robust_sd(np.concatenate(residuals), 0)
        # Fitted residuals are smaller than the noise by the parameters that were fitted.
        scale *= np.sqrt(sum(len(r) for r in residuals) / max(free, 1))
        if scale < 1e-9:
            break
        weights = [
            np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(r), 1e-300)) for r in residuals
        ]
        if min(w.min() for w in weights) == 1.0:
            break
        shape = _best(usable, weights, shape)
    return Shape(shape.total, shape.skew, tuple(weights), tuple(usable))


@dataclass(frozen=True)
class ShapeCurve:
    """One profile's loss against log N by a shape: F, A and B about `centre`."""

    shape: Shape
    centre: float
    curve: np.ndarray

    def __call__(self, log_n: np.ndarray) -> np.ndarray:
        """The losses at these log N."""
        return np.asarray(_design(log_n - self.centre, self.shape) @ self.curve)

    @property
    def minimum(self) -> float:
        """log N of least loss; nan where there is none."""
        return float(self.centre + _least(self.curve[None], self.shape)[0][0])


def shape_curves(usable: Sequence[Profile], shape: Shape) -> list[ShapeCurve]:
    """The curves of a fitted shape, of the profiles in their windows."""
    pairs = zip(usable, shape.weights, strict=True)
    return [ShapeCurve(shape, v.centre, _solve(v, v.loss[None], shape, w)[0][0]) for v, w in pairs]


def shape_near(usable: Sequence[Profile]) -> list[ShapeCurve]:
    """The curves of the shape nearest all sizes of all profiles, with Huber's weights once."""
    wide = [replace(profile, window=np.ones(len(profile.loss), dtype=bool)) for profile in usable]
    weights = [np.ones(len(profile.loss)) for profile in usable]
    first = Shape(*_best_of_grid(wide, weights), tuple(weights))
    curves = shape_curves(wide, first)
    missed = [v.loss - own(v.log_n) for v, own in zip(wide, curves, strict=True)]
    scale = max(robust_sd(np.concatenate(missed), 0), 1e-9)
    weights = [np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(r), 1e-300)) for r in missed]
    best = _best(wide, weights, first)
    return shape_curves(wide, replace(best, weights=tuple(weights)))


def shape_minima(
    usable: Sequence[Profile], losses: Sequence[np.ndarray], shape: Shape, free: bool
) -> list[tuple[np.ndarray, np.ndarray]]:
    """(log N*, loss there), each (R,), of every profile for its losses (R, k of all sizes).

    With `free`, each resample chooses its own skew; else all take that of `shape`.
    """
    skews = _SKEWS if free else np.array([shape.skew])
    squares, found = [], []
    for skew in skews:
        trial = Shape(shape.total, skew, ())
        total, at = np.zeros(len(losses[0])), []
        for profile, loss, weight in zip(usable, losses, shape.weights, strict=True):
            curves, missed = _solve(profile, loss, trial, weight)
            at.append(_lowest(profile, curves, trial))
            total = total + missed
        squares.append(total)
        found.append(at)
    if len(skews) == 1:
        return [
            profile.between_sizes(*pair) for profile, pair in zip(usable, found[0], strict=True)
        ]
    index, share = _between(np.array(squares))
    rows = np.arange(len(index))
    result = []
    for v, profile in enumerate(usable):
        pair = []
        for part in (0, 1):
            table = np.array([at[v][part] for at in found])
            left, mid, right = (table[index + shift, rows] for shift in (-1, 0, 1))
            bend, slope = (left + right) / 2 - mid, (right - left) / 2
            pair.append(mid + slope * share + bend * share**2)
        result.append(profile.between_sizes(*pair))
    return result


def shape_losses(usable: Sequence[Profile], shape: Shape) -> list[np.ndarray]:
    """Losses (k,) of each profile by the fitted shape; those measured outside its window."""
    found = []
    for profile, weight in zip(usable, shape.weights, strict=True):
        loss = profile.loss.copy()
        loss[profile.window] -= _residuals(profile, shape, weight)
        found.append(loss)
    return found


def _between(squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where along the first axis the least value lies: nearest inner index, and share of a step."""
    index = np.clip(squares.argmin(axis=0), 1, len(squares) - 2)
    rows = np.arange(squares.shape[1])
    left, mid, right = (squares[index + shift, rows] for shift in (-1, 0, 1))
    bend = left + right - 2 * mid
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(bend > 0, (left - right) / (2 * bend), 0.0)
    return index, np.clip(share, -1.0, 1.0)


def _best_of_grid(usable: Sequence[Profile], weights: Sequence[np.ndarray]) -> tuple[float, float]:
    """(total, skew) of least weighted squares, of a grid."""
    total, skew = (part.ravel() for part in np.meshgrid(_SUMS, _SKEWS, indexing="ij"))
    alpha, beta = total * (1 + skew) / 2, total * (1 - skew) / 2
    squares = np.zeros(len(total))
    for profile, weight in zip(usable, weights, strict=True):
        root, x = np.sqrt(weight), profile.x
        ones = np.ones((len(total), len(x)))
        terms = [ones, np.exp(-np.outer(alpha, x)), np.exp(np.outer(beta, x))]
        basis = np.linalg.qr(np.stack(terms, axis=2) * root[:, None])[0]
        target = profile.loss[profile.window] * root
        fitted = np.einsum("gkp,gp->gk", basis, np.einsum("gkp,k->gp", basis, target))
        squares += ((target - fitted) ** 2).sum(axis=1)
    best = int(np.argmin(squares))
    return float(total[best]), float(skew[best])


def _best(
    usable: Sequence[Profile], weights: list[np.ndarray], start: Shape | None = None
) -> Shape:
    from scipy.optimize import minimize  # here: a third of a second to import

    # All profiles in one factorisation: those with fewer sizes end in rows of weight zero.
    x, target, root = (np.zeros((len(usable), max(map(len, weights)))) for _ in range(3))
    for i, (profile, weight) in enumerate(zip(usable, weights, strict=True)):
        root[i, : len(weight)] = np.sqrt(weight)
        x[i, : len(weight)] = profile.x
        target[i, : len(weight)] = profile.loss[profile.window] * np.sqrt(weight)

    def squares(theta: np.ndarray) -> float:
        design = _design(x, Shape(float(theta[0]), float(theta[1]), ()))
        basis = np.linalg.qr(design * root[..., None])[0]
        seen = np.einsum("vkp,vk->vp", basis, target)
        return float(((target - np.einsum("vkp,vp->vk", basis, seen)) ** 2).sum())

    if start is None:
        first = np.array(_best_of_grid(usable, weights))
    else:
        first = np.array([start.total, start.skew])
    unit = max(squares(first), 1e-300)
    bounds = [(_SUMS[0], _SUMS[-1]), (_SKEWS[0], _SKEWS[-1])]
    options = {"xatol": 1e-7, "fatol": 1e-12, "maxiter": 200}
    found = minimize(
        lambda theta: squares(theta) / unit,
        first,
        method="Nelder-Mead",
        bounds=bounds,
        options=options,
    )
    return Shape(float(found.x[0]), float(found.x[1]), ())


def _solve(
    profile: Profile, losses: np.ndarray, shape: Shape, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(coefficients (R, 3) of F, A and B at the centre, weighted squares left (R,))."""
    root = np.sqrt(weight)
    design = _design(profile.x, shape) * root[:, None]
    target = losses[:, profile.window] * root
    basis, upper = np.linalg.qr(design)
    seen = target @ basis
    curves = np.linalg.solve(upper, seen.T).T
    return curves, np.maximum(((target - seen @ basis.T) ** 2).sum(axis=1), 0.0)


def _design(x: np.ndarray, shape: Shape) -> np.ndarray:
    alpha, beta = shape.exponents
    return np.stack([np.ones_like(x), np.exp(-alpha * x), np.exp(beta * x)], axis=-1)


def squares_of(profile: Profile, weight: np.ndarray, shapes_S2: np.ndarray) -> np.ndarray:
    """Weighted squares (S,) that a profile leaves of each shape, its (total, skew)."""
    squares = [
        _solve(profile, profile.loss[None], Shape(float(t), float(s), ()), weight)[1][0]
        for t, s in shapes_S2
    ]
    return np.array(squares)


def _residuals(profile: Profile, shape: Shape, weight: np.ndarray) -> np.ndarray:
    curves, _ = _solve(profile, profile.loss[None], shape, weight)
    return profile.loss[profile.window] - curves[0] @ _design(profile.x, shape).T


def _lowest(profile: Profile, curves: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    x, loss = _least(curves, shape)
    return profile.centre + x, loss


def _least(curves: np.ndarray, shape: Shape) -> tuple[np.ndarray, np.ndarray]:
    """Where curves (R, 3) about their centres are least, and the loss there; nan for nowhere."""
    alpha, beta = shape.exponents
    with np.errstate(divide="ignore", invalid="ignore"):
        x = np.log(alpha * curves[:, 1] / (beta * curves[:, 2])) / (alpha + beta)
        x = np.where((curves[:, 1] > 0) & (curves[:, 2] > 0), x, np.nan)
        loss = curves[:, 0] + curves[:, 1] * np.exp(-alpha * x) + curves[:, 2] * np.exp(beta * x)
    return x, loss
