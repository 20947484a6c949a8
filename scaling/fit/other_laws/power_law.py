"""Power laws of one variable, with and without an irreducible loss, by least squares on log loss.

    power   L = (X_c / X)^alpha                Kaplan et al. 2020
    floor   L = E + (X_c / X)^alpha            Cortes et al. 1993; Hestness et al. 2017

BIC chooses between the two, n log(squares / n) + k log n: an irreducible loss always fits no worse,
and has to earn its parameter.

X is chosen and only the loss is random: the intervals come from normal draws of the residuals'
size, with the uncertainty of that size in them. Resampling the points themselves covers 78% to 96%
where 90% is meant (120 simulations each of 6, 8 and 16 points, noise 0.005).
"""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np

from common.text import plural
from scaling.fit.data_flags import NARROW, unsteady, wide_floor, wide_share
from scaling.fit.flags import Flag
from scaling.fit.numerics import estimate, t_scale
from scaling.fit.numerics.one_step import MANY_ROWS
from scaling.fit.other_laws.small_law import SmallLaw, inside
from scaling.fit.results.estimate import UNKNOWN, Estimate, Identifiability
from scaling.fit.results.other_laws import FormName, PowerForm, PowerForms

FEWEST = 4  # one more than the parameters of the law with a floor
_E, _U, _ALPHA = range(3)
_LOWER = np.array([0.0, -np.inf, 1e-3])
_UPPER = np.array([np.inf, np.inf, 5.0])
_NAMES = ("E", "X_c", "alpha")
_FLOORS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)  # starts, as shares of the least loss
_EXACT = 1e-26  # mean square residual of data without noise

Scale = Literal["N_c", "D_c", "C_c"]


@dataclass(frozen=True)
class Form:
    """One form fitted: E (0 in `power`), log X_c and alpha, as numbers and as arrays (R,).

    A resample without an answer is nan. `squares` is that of the residuals of log loss.
    """

    name: FormName
    theta: np.ndarray
    samples: np.ndarray
    squares: float
    criterion: float
    identified: Identifiability

    @property
    def failed(self) -> int:
        """Resamples without an answer."""
        return int(np.isnan(self.samples[:, _ALPHA]).sum())

    def predict_loss(self, x: Any) -> Any:
        """Loss at X."""
        return self.theta[_E] + np.exp(self.theta[_ALPHA] * (self.theta[_U] - np.log(x)))

    def predict_samples(self, x: float) -> np.ndarray:
        """Loss at X of each resample, (R,)."""
        floor, log_scale, alpha = self.samples.T
        with np.errstate(all="ignore"):
            losses: np.ndarray = floor + np.exp(alpha * (log_scale - np.log(x)))
        return losses

    @property
    def alpha(self) -> Estimate:
        """The exponent."""
        return estimate(float(self.theta[_ALPHA]), self.samples[:, _ALPHA])

    @property
    def floor(self) -> Estimate:
        """The irreducible loss E; unknown in a form that has none."""
        if self.name == "power":
            return UNKNOWN
        low = self.theta[_E] <= 0
        value = None if low else float(self.theta[_E])
        return estimate(value, self.samples[:, _E], "low" if low else None)

    def result(self, scale: Scale) -> PowerForm:
        """The form with its scale under its own name, and E where it has one."""
        # A scale is known by its logarithm; beyond the range of floats it is unknown.
        with np.errstate(over="ignore"):
            x = estimate(float(np.exp(self.theta[_U])), np.exp(self.samples[:, _U]))
        constants: dict[str, Any] = {"alpha": self.alpha, scale: x}
        if self.name == "floor":
            constants["E"] = self.floor
        return PowerForm(**constants, squares=self.squares, criterion=self.criterion)


@dataclass(frozen=True)
class Powers:
    """Both forms through the same points; a form without an answer is None, with the reason."""

    power: Form | None
    floor: Form | None
    n_points: int
    reason: str | None = None
    flags: tuple[Flag, ...] = ()

    @property
    def best(self) -> Form:
        """The form that the criterion prefers."""
        assert self.power is not None
        if self.floor is None or self.power.criterion <= self.floor.criterion:
            return self.power
        return self.floor

    def fields(self, scale: Scale) -> dict[str, Any]:
        """The fields of a law of one variable: the better form, both forms, how they compare."""
        if self.power is None:
            return {"n_points": self.n_points}
        power, floor = self.power.result(scale), self.floor.result(scale) if self.floor else None
        gain = None if floor is None else power.criterion - floor.criterion
        better = floor if floor is not None and self.best is self.floor else power
        return {
            **{name: getattr(better, name) for name in ("alpha", scale, "E")},
            "form": self.best.name,
            "forms": PowerForms(power, floor),
            "floor_gain": gain,
            "comparison": _comparison(self.best.name, gain),
            "n_points": self.n_points,
            "failed_resamples": self.best.failed,
            "identifiability": self.best.identified,
        }


def fit_powers(x: np.ndarray, loss: np.ndarray, resamples: int, rng: np.random.Generator) -> Powers:
    """Both forms through the points, with their resamples; refuses rather than raises."""
    n, distinct = len(x), len(np.unique(x))
    if distinct < FEWEST:
        few = f"{plural(distinct, 'distinct point')}, expected at least {FEWEST}"
        return Powers(None, None, n, few)
    log_x = np.log(x)
    centre = float(log_x.mean())
    # Of many points one step from the least squares needs their noise along the constants alone.
    draws = rng.standard_normal((resamples, n if n <= MANY_ROWS else len(_LOWER)))
    scales = [t_scale(n - parameters, resamples, rng)[:, None] for parameters in (2, 3)]
    points = log_x - centre, np.log(loss)
    power = _fit("power", *points, draws * scales[0], centre)
    if power is None:
        return Powers(None, None, n, "loss does not fall as a power of it over these points")
    if reason := unsteady(power.failed, resamples):
        return Powers(None, None, n, reason)
    floor = _fit("floor", *points, draws * scales[1], centre)
    if floor is not None and unsteady(floor.failed, resamples):
        floor = None
    found = Powers(power, floor, n)
    return replace(found, flags=_flags(found.best, x))


def _fit(
    name: FormName, log_x: np.ndarray, log_loss: np.ndarray, draws: np.ndarray, centre: float
) -> Form | None:
    """The form at its least squares; None where alpha leaves its range."""
    floor, n = name == "floor", len(log_x)
    least = float(np.exp(log_loss.min()))
    starts = np.array(
        [
            _line(log_x, np.log(np.exp(log_loss) - share * least), share * least)
            for share in (_FLOORS if floor else (0.0,))
        ]
    )
    upper = _UPPER.copy()
    if not floor:
        upper[_E] = 0.0

    def model(x: np.ndarray, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore"):
            term = np.exp(theta[:, _U, None] - theta[:, _ALPHA, None] * x)
        total = theta[:, _E, None] + term
        share = term / total
        return np.log(total), np.stack([1 / total, share, -share * x], axis=2)

    def whole(theta: np.ndarray) -> np.ndarray:
        return inside(theta[:, [_ALPHA]], _LOWER[[_ALPHA]], _UPPER[[_ALPHA]])

    law = SmallLaw(
        partial(model, log_x),
        _LOWER,
        upper,
        whole,
        _NAMES,
        part=lambda at: partial(model, log_x[at]),
    )
    found = law.fit(starts, log_loss)
    if isinstance(found, str):
        return None
    theta, squares = found.theta, found.squares
    sd = np.sqrt(squares / (n - (3 if floor else 2)))
    fitted, jacobian = model(log_x, theta[None])
    if n <= MANY_ROWS:
        samples = law.refit(theta, fitted + sd * draws, np.ones_like(draws))
    else:
        samples = _one_step(theta, jacobian[0], sd * draws, upper)
    criterion = n * np.log(max(squares / n, _EXACT)) + (4 if floor else 3) * np.log(n)
    thetas = _scaled(theta, centre), _scaled(samples, centre)
    return Form(name, *thetas, squares, float(criterion), found.identified)


def _one_step(
    theta: np.ndarray, jacobian_n3: np.ndarray, draws_R3: np.ndarray, upper: np.ndarray
) -> np.ndarray:
    """Constants (R, 3) for normal noise, draws of which are given along the principal axes.

    A constant at its bound stays there; nan where alpha leaves its range.
    """
    free = (theta > _LOWER) & (theta < upper)
    values, vectors = np.linalg.eigh(jacobian_n3[:, free].T @ jacobian_n3[:, free])
    found = np.repeat(theta[None], len(draws_R3), axis=0)
    found[:, free] += (draws_R3[:, free] / np.sqrt(np.maximum(values, 1e-300))) @ vectors.T
    found[:, _E] = np.clip(found[:, _E], _LOWER[_E], upper[_E])
    answered = inside(found[:, [_ALPHA]], _LOWER[[_ALPHA]], _UPPER[[_ALPHA]])
    return np.where(answered[:, None], found, np.nan)


def _scaled(theta: np.ndarray, centre: float) -> np.ndarray:
    """(E, log X_c, alpha) of (E, log of the term at the centre, alpha)."""
    found = theta.copy()
    found[..., _U] = centre + theta[..., _U] / theta[..., _ALPHA]
    return found


def _line(x: np.ndarray, y: np.ndarray, floor: float) -> tuple[float, float, float]:
    slope, intercept = np.polyfit(x, y, 1)
    return floor, float(intercept), float(np.clip(-slope, 0.01, 4.0))


def _flags(form: Form, x: np.ndarray) -> tuple[Flag, ...]:
    flags = []
    if x.max() / x.min() < NARROW:
        text = f"the points span a factor {x.max() / x.min():.2g}; expected at least {NARROW:g}"
        flags.append(Flag("narrow_range", text))
    return (*flags, *wide_floor(form.floor), *wide_share(form.alpha, "alpha"))


def _comparison(best: FormName, gain: float | None) -> str:
    if gain is None:
        return "no law with an irreducible loss could be fitted"
    term = "an" if best == "floor" else "no"
    return f"BIC prefers {term} irreducible-loss term (delta BIC = {abs(gain):.1f})"
