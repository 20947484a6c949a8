"""The functional forms, and what follows from them in closed form.

N parameters, D training tokens, C FLOP, loss in nats per token; C = 6 N D but on Kaplan's frontier.

    surface   L(N, D) = E + A N^-alpha + B D^-beta            Hoffmann et al. 2022, eq. 2
    optimum   N* = G (C/6)^a, D* = (C/6)^b / G                the same, eq. 4
    inverse   C = 6 (N*/G)^(1/a) = 6 (G D*)^(1/b)             eq. 4 solved for C
              G = (alpha A / (beta B))^(1/(alpha + beta)), a = beta/(alpha + beta) = 1 - b
    Kaplan    L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D
                                                              Kaplan et al. 2020, eq. 1.5, table 2
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

PF_DAY = 8.64e19
# The share of the loss that too little data may cost: Kaplan's own, the spread between seeds.
EXCESS = 0.02


@dataclass(frozen=True)
class PowerLaw:
    """log y = log_scale + slope log(C / unit), as numbers or as arrays (R,) of resamples."""

    log_scale: Any
    slope: Any
    unit: float = 1.0

    @staticmethod
    def joined(parts: Sequence["PowerLaw"]) -> "PowerLaw":
        """The resamples of several batches as one."""
        return PowerLaw(
            np.concatenate([part.log_scale for part in parts]),
            np.concatenate([part.slope for part in parts]),
        )

    def __getitem__(self, chosen: Any) -> "PowerLaw":
        return PowerLaw(self.log_scale[chosen], self.slope[chosen], self.unit)

    def at(self, flops: Any) -> Any:
        """y at `flops`."""
        return np.exp(self.log_scale + self.slope * np.log(flops / self.unit))

    def log_budget(self, y: Any) -> Any:
        """log C at which the law reaches `y`; nan where it does not rise."""
        rises = np.where(self.slope > 0, self.slope, np.nan)
        return np.log(self.unit) + (np.log(y) - self.log_scale) / rises

    @property
    def coefficient(self) -> Any:
        """y at one FLOP."""
        return np.exp(self.log_scale - self.slope * np.log(self.unit))


@dataclass(frozen=True)
class Surface:
    """A Chinchilla surface; the five may be numbers, or arrays of one shape (resamples).

    k of the coupled form or the ceiling of the bounded one (parametric/forms.py) makes it that one.
    """

    E: Any
    A: Any
    B: Any
    alpha: Any
    beta: Any
    k: Any = None
    ceiling: Any = None

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
        if self.k is None and self.ceiling is None:
            return self.E + self.A * params**-self.alpha + self.B * tokens**-self.beta
        h = self.A * params**-self.alpha + self.B * tokens**-self.beta
        if self.ceiling is None:
            return self.E + h**self.k
        return self.E + (self.ceiling - self.E) * h / (1 + h)

    def reduced(self, loss: Any) -> Any:
        """A N^-alpha + B D^-beta at a loss: what of it more parameters or data can take away."""
        if self.ceiling is not None:
            share = (loss - self.E) / (self.ceiling - self.E)
            return share / (1 - share)
        return loss - self.E if self.k is None else (loss - self.E) ** (1 / self.k)

    def jacobian(self, params: Any, tokens: Any) -> np.ndarray:
        """Derivatives (n, 5) of the log loss at n runs in E, A, B, alpha and beta, numbers all."""
        x, y = params**-self.alpha, tokens**-self.beta
        a, b = -self.A * x * np.log(params), -self.B * y * np.log(tokens)
        slopes = np.stack([np.ones_like(x), x, y, a, b], axis=1)
        return np.asarray(slopes / self.predict_loss(params, tokens)[:, None])

    def shifted(self, log_n: Any, log_d: Any) -> "Surface":
        """The same losses as a law of e^log_n N and e^log_d D."""
        return replace(
            self, A=self.A * np.exp(self.alpha * log_n), B=self.B * np.exp(self.beta * log_d)
        )

    @property
    def log_G(self) -> Any:
        """log G; the logarithms of A and B are taken apart, since resamples may overflow."""
        log_ratio = np.log(self.alpha) + np.log(self.A) - np.log(self.beta) - np.log(self.B)
        return log_ratio / (self.alpha + self.beta)

    @property
    def n_opt(self) -> PowerLaw:
        """N* against C."""
        return PowerLaw(self.log_G, self.a, unit=6.0)

    @property
    def d_opt(self) -> PowerLaw:
        """D* against C."""
        return PowerLaw(-self.log_G, self.b, unit=6.0)

    def optimal_allocation(self, flops: Any) -> tuple[Any, Any]:
        """(N*, D*) of least loss where 6 N D = flops."""
        return self.n_opt.at(flops), self.d_opt.at(flops)


@dataclass(frozen=True)
class KaplanLaw:
    """Kaplan's joint law, eq. 1.5; numbers, or arrays (R,) of resamples.

    Scales are held as logarithms. `n_efficient` and `d_efficient` are his compute-efficient
    frontier (section 6), at a batch far below the critical one: a fit of its own.
    """

    log_N_c: Any
    log_D_c: Any
    alpha_N: Any
    alpha_D: Any
    n_efficient: PowerLaw | None = None
    d_efficient: PowerLaw | None = None

    @property
    def N_c(self) -> Any:
        """The size's scale."""
        return np.exp(self.log_N_c)

    @property
    def D_c(self) -> Any:
        """The data's scale."""
        return np.exp(self.log_D_c)

    @property
    def a(self) -> Any:
        """Exponent of N* in C along C = 6 N D."""
        return self.alpha_D / (self.alpha_N + self.alpha_D)

    @property
    def b(self) -> Any:
        """Exponent of D* in C along C = 6 N D."""
        return 1 - self.a

    @property
    def alpha_C(self) -> Any:
        """Exponent of the least loss in C."""
        return self.alpha_N * self.alpha_D / (self.alpha_N + self.alpha_D)

    @property
    def data_power(self) -> Any:
        """p of the data against overfitting, D >= k N^p."""
        return self.alpha_N / self.alpha_D

    def data_scale(self, excess: float = EXCESS) -> Any:
        """k of the data that keep the loss within a share `excess` of that of unlimited data."""
        room = np.expm1(np.log1p(excess) / self.alpha_D)
        return np.exp(self.log_D_c - self.data_power * self.log_N_c) / room

    def predict_loss(self, params: Any, tokens: Any) -> Any:
        """Loss in nats per token of a model of `params` stopped early on `tokens`."""
        size = np.exp(self.data_power * (self.log_N_c - np.log(params)))
        return (size + np.exp(self.log_D_c) / tokens) ** self.alpha_D

    def optimal_allocation(self, flops: Any) -> tuple[Any, Any]:
        """(N, D) on the compute-efficient frontier of the paper."""
        assert self.n_efficient is not None and self.d_efficient is not None
        return self.n_efficient.at(flops), self.d_efficient.at(flops)


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
    # Muennighoff et al. 2023, C4, alpha and beta tied: digits of the authors' notebook.
    "muennighoff_c4": Surface(
        E=np.exp(0.6254804),
        A=np.exp(6.255414),
        B=np.exp(7.3049974),
        alpha=0.3526596,
        beta=0.3526596,
    ),
    # Kaplan et al. 2020, table 2 and table 6.
    "kaplan": KaplanLaw(
        log_N_c=np.log(6.4e13),
        log_D_c=np.log(1.8e13),
        alpha_N=0.076,
        alpha_D=0.103,
        n_efficient=PowerLaw(np.log(1.3e9), 0.73, PF_DAY),
        d_efficient=PowerLaw(np.log(2e10), 0.27, PF_DAY),
    ),
}


def predict_loss(params: Any, tokens: Any, law: str | Surface | KaplanLaw = "hoffmann") -> Any:
    """Loss in nats per token of a model of `params` trained on `tokens`, by a published law.

    `law` is a name in PUBLISHED or a law itself; numbers or arrays that broadcast. `hoffmann`
    has the digits of the paper's TeX source; `kaplan` counts parameters without embeddings and
    has no irreducible loss. Each is a fit to its own corpus and tokenizer. Raises ValueError.
    """
    if isinstance(law, str):
        if law not in PUBLISHED:
            raise ValueError(f"law: found {law!r}, expected one of {', '.join(PUBLISHED)}")
        law = PUBLISHED[law]
    for name, values in (("params", params), ("tokens", tokens)):
        if not np.all(np.asarray(values, dtype=float) > 0):
            raise ValueError(f"{name}: found {values}, expected above 0")
    return law.predict_loss(params, tokens)
