"""The functional forms, what follows from them in closed form, and what a fit of one returns.

N parameters, D training tokens, C FLOP, loss in nats per token; C = 6 N D throughout.

    surface   L(N, D) = E + A N^-alpha + B D^-beta            Hoffmann et al. 2022, eq. 2
    optimum   N* = G (C/6)^a, D* = (C/6)^b / G                the same, eq. 4
    inverse   C = 6 (N*/G)^(1/a) = 6 (G D*)^(1/b)             eq. 4 solved for C
              G = (alpha A / (beta B))^(1/(alpha + beta)), a = beta/(alpha + beta) = 1 - b
    Kaplan    L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D
                                                              Kaplan et al. 2020, eq. 1.5, table 2
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

PF_DAY = 8.64e19
Status = Literal["ok", "flagged", "refused"]


@dataclass(frozen=True)
class Surface:
    """A Chinchilla surface; the five may be numbers, or arrays of one shape (resamples)."""

    E: Any
    A: Any
    B: Any
    alpha: Any
    beta: Any

    @property
    def a(self) -> Any:
        """Exponent of N* in C."""
        return self.beta / (self.alpha + self.beta)

    @property
    def b(self) -> Any:
        """Exponent of D* in C."""
        return self.alpha / (self.alpha + self.beta)

    def predict_loss(self, params: Any, tokens: Any) -> Any:
        """Loss in nats per token of a model of `params` trained on `tokens`."""
        return self.E + self.A * params**-self.alpha + self.B * tokens**-self.beta

    def optimal_allocation(self, flops: Any) -> tuple[Any, Any]:
        """(N*, D*) of least loss where 6 N D = flops."""
        log_half = np.log(flops / 6)
        return (
            np.exp(self.log_scale + self.a * log_half),
            np.exp(self.b * log_half - self.log_scale),
        )

    @property
    def log_scale(self) -> Any:
        """log G; the logarithms of A and B are taken apart, since resamples may overflow."""
        log_ratio = np.log(self.alpha) + np.log(self.A) - np.log(self.beta) - np.log(self.B)
        return log_ratio / (self.alpha + self.beta)

    def log_budget_of_size(self, params: Any) -> Any:
        """log C of the budget for which `params` is the best size."""
        return np.log(6) + (np.log(params) - self.log_scale) / self.a

    def log_budget_of_data(self, tokens: Any) -> Any:
        """log C of the budget for which `tokens` is the best amount of data."""
        return np.log(6) + (np.log(tokens) + self.log_scale) / self.b


@dataclass(frozen=True)
class KaplanLaw:
    """Kaplan's joint law in non-embedding parameters, and his compute-efficient frontier.

    The frontier (his section 6) is N = n_scale X^n_power, D = d_scale X^d_power with X the
    compute in PF-days at a batch far below the critical one; it is a fit of its own.
    """

    N_c: float
    D_c: float
    alpha_N: float
    alpha_D: float
    n_scale: float
    n_power: float
    d_scale: float
    d_power: float

    def predict_loss(self, params: Any, tokens: Any) -> Any:
        """Loss in nats per token of a model of `params` stopped early on `tokens`."""
        size = (self.N_c / params) ** (self.alpha_N / self.alpha_D)
        return (size + self.D_c / tokens) ** self.alpha_D

    def optimal_allocation(self, flops: Any) -> tuple[Any, Any]:
        """(N, D) on the compute-efficient frontier."""
        days = flops / PF_DAY
        return self.n_scale * days**self.n_power, self.d_scale * days**self.d_power


# Never plan with `hoffmann_printed`: its two-digit exponents move N* by a fifth at 5.76e23 FLOP.
PUBLISHED: Mapping[str, Surface | KaplanLaw] = {
    # Hoffmann et al. 2022, approach 3, digits of the TeX source: a, b, e of eq. 10.
    "hoffmann": Surface(
        E=np.exp(0.5267228),
        A=np.exp(6.0073404),
        B=np.exp(6.0179186),
        alpha=0.33917084,
        beta=0.2849083,
    ),
    # The same as printed in their equation 10.
    "hoffmann_printed": Surface(E=1.69, A=406.4, B=410.7, alpha=0.34, beta=0.28),
    # Besiroglu et al. 2024, table 1.
    "besiroglu": Surface(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658),
    # Muennighoff et al. 2023, C4, alpha and beta tied.
    "muennighoff_c4": Surface(E=1.8691, A=520.82, B=1487.72, alpha=0.35266, beta=0.35266),
    # Kaplan et al. 2020, table 2 and table 6.
    "kaplan": KaplanLaw(
        N_c=6.4e13,
        D_c=1.8e13,
        alpha_N=0.076,
        alpha_D=0.103,
        n_scale=1.3e9,
        n_power=0.73,
        d_scale=2e10,
        d_power=0.27,
    ),
}


def predict_loss(params: Any, tokens: Any, law: str | Surface | KaplanLaw = "hoffmann") -> Any:
    """Loss in nats per token of a model of `params` trained on `tokens`, by a published law.

    `law` is a name in PUBLISHED or a law itself; numbers or arrays that broadcast. `hoffmann`
    has the digits of the paper's TeX source; `kaplan` counts parameters without embeddings and
    has no floor. Each is a fit to its own corpus and tokenizer. Raises ValueError.
    """
    if isinstance(law, str):
        if law not in PUBLISHED:
            raise ValueError(f"law: found {law!r}, expected one of {', '.join(PUBLISHED)}")
        law = PUBLISHED[law]
    for name, values in (("params", params), ("tokens", tokens)):
        if not np.all(np.asarray(values, dtype=float) > 0):
            raise ValueError(f"{name}: found {values}, expected above 0")
    return law.predict_loss(params, tokens)


@dataclass(frozen=True)
class Estimate:
    """A number with its uncertainty; every field is None where it is unknown.

    se is the standard deviation of the resamples, ci80, ci90 and ci95 their percentiles. A
    parameter that ended on its bound has no value, and `bound` says which one.
    """

    value: float | None
    se: float | None = None
    ci80: tuple[float, float] | None = None
    ci90: tuple[float, float] | None = None
    ci95: tuple[float, float] | None = None
    bound: Literal["low", "high"] | None = None

    def document(self) -> dict[str, Any]:
        """The estimate as fit.json holds it."""
        return {
            "value": self.value,
            "se": self.se,
            **{name: _pair(getattr(self, name)) for name in ("ci80", "ci90", "ci95")},
            "bound": self.bound,
        }


UNKNOWN = Estimate(None)


@dataclass(frozen=True)
class Flag:
    """A doubt that stands beside a number: a code for programs, a sentence for people."""

    code: str
    text: str

    def document(self) -> dict[str, str]:
        """The flag as fit.json holds it."""
        return {"code": self.code, "text": self.text}


@dataclass(frozen=True)
class LawFit:
    """One law fitted: `ok`, `flagged` (numbers with doubts) or `refused` (a reason, no numbers).

    estimates  by name; the exponents are `a` (of N* in C) and `b` (of D* in C)
    details    everything else of the law's entry in fit.json, plain JSON values
    """

    name: str
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    flags: tuple[Flag, ...] = ()
    reason: str | None = None

    @property
    def status(self) -> Status:
        """Refused where there is a reason, flagged where there is a doubt, else ok."""
        if self.reason is not None:
            return "refused"
        return "flagged" if self.flags else "ok"

    def document(self) -> dict[str, Any]:
        """The law's entry in fit.json."""
        return {
            "status": self.status,
            "flags": [flag.document() for flag in self.flags],
            "reason": self.reason,
            **{name: estimate.document() for name, estimate in self.estimates.items()},
            **self.details,
        }


def _pair(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else [interval[0], interval[1]]
