"""Power laws of one variable, with and without a floor, by least squares on log loss.

    power   L = (X_c / X)^alpha                Kaplan et al. 2020
    floor   L = E + (X_c / X)^alpha            Cortes et al. 1993; Hestness et al. 2017

Which of the two is the law of some points is said by Schwarz's criterion, n log(squares / n) +
k log n: a floor always fits no worse, and has to earn its parameter.

X is chosen and only the loss is random: the intervals come from normal draws of the residuals'
size, with the doubt about that size in them. Resampling the points themselves covers 78% to 96%
where 90% is meant (120 simulations each of 6, 8 and 16 points, noise 0.005).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.laws import Estimate, Flag
from scaling.fit.squares import RESAMPLE, solve
from scaling.fit.uncertainty import estimate, t_scale

FEWEST = 4  # one more than the parameters of the law with a floor
_E, _U, _ALPHA = range(3)
_LOWER = np.array([0.0, -np.inf, 1e-3])
_UPPER = np.array([np.inf, np.inf, 5.0])
_FLOORS = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)  # starts, as shares of the least loss
# Points this near each other in X tell an exponent from a constant by the noise alone.
_NARROW = 4.0
_WIDE = 0.5  # width of the 90% interval, as a share of alpha, beyond which it says little
_EXACT = 1e-26  # mean square residual of data without noise

FormName = Literal["power", "floor"]


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

    def predict_loss(self, x: Any) -> Any:
        """Loss at X."""
        return self.theta[_E] + np.exp(self.theta[_ALPHA] * (self.theta[_U] - np.log(x)))

    def estimates(self, scale: str) -> dict[str, Estimate]:
        """alpha, the scale under its own name, and E where the form has one."""
        found = {
            "alpha": estimate(float(self.theta[_ALPHA]), self.samples[:, _ALPHA]),
            scale: _exponential(float(self.theta[_U]), self.samples[:, _U]),
        }
        if self.name == "floor":
            low = self.theta[_E] <= 0
            found["E"] = estimate(
                None if low else float(self.theta[_E]),
                self.samples[:, _E],
                "low" if low else None,
            )
        return found


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

    def details(self, scale: str) -> dict[str, Any]:
        """What fit.json says beside the estimates: both forms, and how they compare."""
        if self.power is None:
            return {"n_points": self.n_points}
        forms: Mapping[str, Form | None] = {"power": self.power, "floor": self.floor}
        gain = None if self.floor is None else self.power.criterion - self.floor.criterion
        return {
            "form": self.best.name,
            "forms": {name: form and _form_document(form, scale) for name, form in forms.items()},
            "floor_gain": gain,
            "comparison": _comparison(self.best.name, gain),
            "n_points": self.n_points,
            "failed_resamples": int(np.isnan(self.best.samples[:, _ALPHA]).sum()),
        }


def fit_powers(x: np.ndarray, loss: np.ndarray, resamples: int, rng: np.random.Generator) -> Powers:
    """Both forms through the points, with their resamples; refuses rather than raises."""
    distinct = len(np.unique(x))
    if distinct < FEWEST:
        return _refused(len(x), f"{plural(distinct, 'distinct point')}, expected at least {FEWEST}")
    log_x = np.log(x)
    centre = float(log_x.mean())
    draws = rng.standard_normal((resamples, len(x)))
    scales = {
        "power": t_scale(len(x) - 2, resamples, rng),
        "floor": t_scale(len(x) - 3, resamples, rng),
    }
    centred = log_x - centre
    power = _fit("power", centred, np.log(loss), draws * scales["power"][:, None], centre)
    if power is None:
        return _refused(len(x), "loss does not fall as a power of it over these points")
    failed = int(np.isnan(power.samples[:, _ALPHA]).sum())
    if failed > 0.5 * resamples:
        return _refused(len(x), f"{failed} of {resamples} resamples have no answer")
    floor = _fit("floor", centred, np.log(loss), draws * scales["floor"][:, None], centre)
    if floor is not None and np.isnan(floor.samples[:, _ALPHA]).sum() > 0.5 * resamples:
        floor = None
    found = Powers(power, floor, len(x))
    return Powers(power, floor, len(x), flags=_flags(found.best, x))


def _refused(n: int, reason: str) -> Powers:
    return Powers(None, None, n, reason)


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

    def model(theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore"):
            term = np.exp(theta[:, _U, None] - theta[:, _ALPHA, None] * log_x)
        total = theta[:, _E, None] + term
        share = term / total
        return np.log(total), np.stack([1 / total, share, -share * log_x], axis=2)

    free = np.ones((len(starts), n))
    found = solve(model, starts, log_loss, free, _LOWER, upper)
    theta = found.theta[found.best()]
    if not found.converged[found.best()] or not _inside(theta[None])[0]:
        return None
    squares = float(found.squares[found.best()])
    sd = np.sqrt(squares / (n - (3 if floor else 2)))
    resampled = solve(
        model,
        np.repeat(theta[None], len(draws), axis=0),
        model(theta[None])[0] + sd * draws,
        np.ones_like(draws),
        _LOWER,
        upper,
        RESAMPLE,
    )
    lost = ~(resampled.converged & _inside(resampled.theta))
    samples = np.where(lost[:, None], np.nan, resampled.theta)
    criterion = n * np.log(max(squares / n, _EXACT)) + (4 if floor else 3) * np.log(n)
    return Form(name, _scaled(theta, centre), _scaled(samples, centre), squares, float(criterion))


def _inside(theta: np.ndarray) -> np.ndarray:
    return (theta[:, _ALPHA] > _LOWER[_ALPHA]) & (theta[:, _ALPHA] < _UPPER[_ALPHA])


def _scaled(theta: np.ndarray, centre: float) -> np.ndarray:
    """(E, log X_c, alpha) of (E, log of the term at the centre, alpha)."""
    found = theta.copy()
    found[..., _U] = centre + theta[..., _U] / theta[..., _ALPHA]
    return found


def _line(x: np.ndarray, y: np.ndarray, floor: float) -> tuple[float, float, float]:
    slope, intercept = np.polyfit(x, y, 1)
    return floor, float(intercept), float(np.clip(-slope, 0.01, 4.0))


def _exponential(value: float, samples: np.ndarray) -> Estimate:
    """The estimate of a scale known by its logarithm; beyond the range of floats it is unknown."""
    with np.errstate(over="ignore"):
        return estimate(float(np.exp(value)), np.exp(samples))


def _flags(form: Form, x: np.ndarray) -> tuple[Flag, ...]:
    flags = []
    if x.max() / x.min() < _NARROW:
        text = f"the points span a factor {x.max() / x.min():.2g}; expected at least {_NARROW:g}"
        flags.append(Flag("narrow_range", text))
    alpha = form.estimates("X_c")["alpha"]
    if alpha.ci90 and alpha.value and alpha.ci90[1] - alpha.ci90[0] > _WIDE * alpha.value:
        text = f"the 90% interval of alpha is wide, {alpha.ci90[0]:.3f} to {alpha.ci90[1]:.3f}"
        flags.append(Flag("wide_interval", text))
    return tuple(flags)


def _form_document(form: Form, scale: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        name: value.document() for name, value in form.estimates(scale).items()
    }
    return found | {"squares": form.squares, "criterion": form.criterion}


def _comparison(best: FormName, gain: float | None) -> str:
    if gain is None:
        return "no law with a floor could be fitted"
    if best == "floor":
        return f"the floor earns its parameter: Schwarz's criterion is {gain:.1f} lower with it"
    return f"the floor does not earn its parameter: the criterion is {-gain:.1f} higher with it"


def merged(flags: Sequence[tuple[str, Flag]]) -> tuple[Flag, ...]:
    """Flags of parts as flags of the whole, each with the name of its part."""
    return tuple(Flag(flag.code, f"{name}: {flag.text}") for name, flag in flags)
