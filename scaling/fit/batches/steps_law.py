"""Kaplan's law of size and steps in closed form, and the least compute that follows from it.

    L = (N_c/N)^alpha_N + (S_c/S_min)^alpha_S           Kaplan et al. 2020, eq. 1.6, table 3
    S_min = S / (1 + B_crit/B), E_min = B_crit S_min, B_crit = B*/L^(1/alpha_B)     5.4, 1.4
    C_min = 6 N E_min is least where L = (1 + alpha_N/alpha_S) (N_c/N)^alpha_N     appendix B
    L = (C_c/C_min)^alpha_C, 1/alpha_C = 1/alpha_N + 1/alpha_B + 1/alpha_S
    C_c = 6 N_c S_c B* (1 + alpha_N/alpha_S)^(1/alpha_N) (1 + alpha_S/alpha_N)^(1/alpha_S)
    N ~ C_min^(alpha_C/alpha_N), B_crit ~ C_min^(alpha_C/alpha_B), S_min ~ C_min^(alpha_C/alpha_S)

N parameters (Kaplan's without embeddings), B and E tokens, S steps, C FLOP, loss in nats per token.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit

from common.errors import BadInput
from scaling.fit.laws import PowerLaw
from scaling.fit.results.critical_batch import SizeAndStepsLaw

_MOST_STEPS, _TIGHT = 60, 1e-13


@dataclass(frozen=True)
class StepsLaw:
    """The six constants; numbers, or arrays (R,) of resamples. Scales are held as logarithms."""

    log_N_c: Any
    alpha_N: Any
    log_S_c: Any
    alpha_S: Any
    log_B_star: Any
    alpha_B: Any

    def log_critical_batch(self, log_loss: Any) -> Any:
        """Log B_crit at a log loss."""
        return self.log_B_star - log_loss / self.alpha_B

    def loss_of_run(self, params: Any, steps: Any, batch: Any) -> Any:
        """Loss after so many steps of `batch` tokens, a number of them at any loss."""
        terms = self._log_size(params), self.alpha_S * (self.log_S_c - np.log(steps))
        return np.exp(log_loss(*terms, self, np.log(batch))[0])

    def predict_loss(self, params: Any, tokens: Any) -> Any:
        """Least loss of `params` on `tokens` at any batch: one far below the critical one."""
        terms = self._log_size(params), self.alpha_S * (self.log_S_c - np.log(tokens))
        return np.exp(log_loss(*terms, self, None)[0])

    def _log_size(self, params: Any) -> Any:
        return self.alpha_N * (self.log_N_c - np.log(params))

    @property
    def alpha_C(self) -> Any:
        """Exponent of the least loss in C_min."""
        return 1 / (1 / self.alpha_N + 1 / self.alpha_B + 1 / self.alpha_S)

    @property
    def log_C_c(self) -> Any:
        """log of the scale of the least loss, in FLOP."""
        ratio = self.alpha_N / self.alpha_S
        scales = np.log(6) + self.log_N_c + self.log_S_c + self.log_B_star
        return scales + np.log1p(ratio) / self.alpha_N + np.log1p(1 / ratio) / self.alpha_S

    @property
    def n_opt(self) -> PowerLaw:
        """The size of least loss against C_min."""
        slope = self.alpha_C / self.alpha_N
        room = np.log1p(self.alpha_N / self.alpha_S) / self.alpha_N
        return PowerLaw(self.log_N_c + room - slope * self.log_C_c, slope)

    @property
    def s_opt(self) -> PowerLaw:
        """S_min at that size."""
        slope = self.alpha_C / self.alpha_S
        room = np.log1p(self.alpha_S / self.alpha_N) / self.alpha_S
        return PowerLaw(self.log_S_c + room - slope * self.log_C_c, slope)

    @property
    def b_opt(self) -> PowerLaw:
        """B_crit at that loss."""
        slope = self.alpha_C / self.alpha_B
        return PowerLaw(self.log_B_star - slope * self.log_C_c, slope)

    @property
    def d_opt(self) -> PowerLaw:
        """E_min, tokens at a batch far below the critical one: C_min = 6 N E_min."""
        s, b = self.s_opt, self.b_opt
        return PowerLaw(s.log_scale + b.log_scale, s.slope + b.slope)

    def log_least_flops(self, loss: Any) -> Any:
        """log C_min of the least compute that reaches a loss."""
        return self.log_C_c - np.log(loss) / self.alpha_C


def law_of(entry: SizeAndStepsLaw) -> StepsLaw:
    """The constants of a fit, from its entry in fit.json. Raises BadInput where it was refused."""
    values = {name: getattr(entry, name).value for name in ("alpha_N", "alpha_S", "alpha_B")}
    scales = {name: getattr(entry, name).value for name in ("N_c", "S_c", "B_star")}
    if None in (*values.values(), *scales.values()):
        raise BadInput(f"size_and_steps: refused, {entry.reason}; expected a law with numbers")
    return StepsLaw(**values, **{f"log_{name}": np.log(one) for name, one in scales.items()})


def log_loss(
    log_size: Any, log_steps_term: Any, law: StepsLaw, log_batch: Any | None, near: Any = None
) -> tuple[Any, Any, Any, Any]:
    """Log loss x where it solves exp(x) = u + t(x), and what its derivatives are made of.

    `log_size` is log u, `log_steps_term` that of t without the batch's part, alpha_S log(1 +
    B_crit/B), which depends on x; at `log_batch` None it is alpha_S log B_crit, for counts of
    tokens. Returns x, the batch's log(1 + B_crit/B), t's share of the loss, and the share by which
    a change of log(u + t) at a fixed x moves x. `near` is where the search begins.
    """
    k = law.alpha_S / law.alpha_B
    x = np.asarray(log_size if near is None else near, dtype=float)
    for _ in range(_MOST_STEPS):
        at = law.log_critical_batch(x) - (0.0 if log_batch is None else log_batch)
        rise = at if log_batch is None else np.logaddexp(0.0, at)
        term = log_steps_term + law.alpha_S * rise
        total = np.logaddexp(log_size, term)
        share = np.exp(term - total)
        moved = 1 / (1 + share * k * (1.0 if log_batch is None else expit(at)))
        # Convex and falling in x: Newton's steps rise to the root from below, which one from above
        # falls to.
        step = (total - x) * moved
        x = x + step
        if not np.nanmax(np.abs(step), initial=0.0) > _TIGHT:
            break
    return x, rise, share, moved


# Kaplan et al. 2020, table 3 and eq. 5.3; a fit of its own beside those of L(N) and L(N, D).
KAPLAN_STEPS = StepsLaw(
    log_N_c=np.log(6.5e13),
    alpha_N=0.077,
    log_S_c=np.log(2.1e3),
    alpha_S=0.76,
    log_B_star=np.log(2.1e8),
    alpha_B=0.21,
)
