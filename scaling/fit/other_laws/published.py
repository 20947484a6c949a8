"""Published formulas beyond one epoch, one batch size and training alone; pure functions.

    batch correction   S_min = S / (1 + B_crit/B), C_min = C / (1 + B/B_crit), steps_law.py
    learning rate      eta = 0.003239 - 0.0001395 log N                             appendix D.1
    repeated data      D' = U + U R* (1 - exp(-(D/U - 1)/R*))      Muennighoff et al. 2023
    inference          least 6 N D + 2 N D_inf at a given loss     Sardana et al. 2024
    Llama 3            D* = 0.29 C^0.53          Grattafiori et al. 2024, section 3.2.1

N parameters, D and B tokens, C FLOP, S steps, U unique tokens, loss in nats per token. Those of
the batch are Kaplan's unless the constants of a fit are given (`steps_law.law_of`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from common.errors import BadInput
from scaling.fit.batches.steps_law import KAPLAN_STEPS, StepsLaw
from scaling.fit.laws import PUBLISHED, PowerLaw, Surface

# Epochs after which a repeated token, or an excess parameter, has lost 1 - 1/e of its worth.
DATA_HALF_LIFE, PARAMS_HALF_LIFE = 15.39, 5.31

# D* against C as printed, in two digits: at 3.8e25 FLOP they give 10.5T tokens, where the paper
# states 16.55T.
LLAMA3_TOKENS = PowerLaw(np.log(0.29), 0.53)


def critical_batch(loss: Any, law: StepsLaw = KAPLAN_STEPS) -> Any:
    """Tokens a batch at which time and compute are both twice their least, at that loss."""
    return np.exp(law.log_critical_batch(np.log(loss)))


def least_steps(steps: Any, batch_tokens: Any, loss: Any, law: StepsLaw = KAPLAN_STEPS) -> Any:
    """Steps to the same loss at a batch far above the critical one."""
    return steps / (1 + critical_batch(loss, law) / batch_tokens)


def least_flops(flops: Any, batch_tokens: Any, loss: Any, law: StepsLaw = KAPLAN_STEPS) -> Any:
    """Compute to the same loss at a batch far below the critical one."""
    return flops / (1 + batch_tokens / critical_batch(loss, law))


def kaplan_learning_rate(params: Any) -> Any:
    """Kaplan's peak rate for Adam of a model of `params` without embeddings, below 1e10."""
    return 0.003239 - 0.0001395 * np.log(params)


def worth(seen: Any, unique: Any, half_life: Any) -> Any:
    """What `seen` of something is worth where only `unique` of it is new; at most 1 + R* times."""
    repeats = np.maximum(seen / unique - 1, 0)
    return np.where(
        seen <= unique, seen, unique * (1 + half_life * -np.expm1(-repeats / half_life))
    )


def _marginal(seen: Any, unique: Any, half_life: Any) -> Any:
    """d worth/d seen: what one more of it is worth."""
    return np.exp(-np.maximum(seen / unique - 1, 0) / half_life)


@dataclass(frozen=True)
class DataConstrained:
    """A surface read at what repeated tokens and excess parameters are worth."""

    surface: Surface
    data_half_life: Any = DATA_HALF_LIFE
    params_half_life: Any = PARAMS_HALF_LIFE

    def predict_loss(self, params: Any, tokens: Any, unique: Any) -> Any:
        """Loss of a model of `params` on `tokens`, of which `unique` are distinct."""
        distinct = np.minimum(unique, tokens)
        useful = np.minimum(size_for(self.surface, distinct), params)
        return self.surface.predict_loss(
            worth(params, useful, self.params_half_life),
            worth(tokens, distinct, self.data_half_life),
        )

    def optimal_allocation(self, flops: float, unique: float) -> tuple[float, float]:
        """(N, D) of least loss where 6 N D = flops and only `unique` tokens are distinct.

        Without repeats it is the surface's own optimum, and else between N_opt(U), which one pass
        would serve best, and the size that just does not repeat: the slope there rises with N.
        """
        n, d = self.surface.optimal_allocation(flops)
        if d <= unique:
            return float(n), float(d)
        from scipy.optimize import brentq  # here: a third of a second to import

        surface, useful = self.surface, size_for(self.surface, unique)

        def slope(log_n: float) -> float:
            """d h/d log N along 6 N D = flops, h = A N'^-alpha + B D'^-beta."""
            seen = np.exp(log_n)
            parts = (
                (surface.A, surface.alpha, seen, useful, self.params_half_life),
                (surface.B, surface.beta, flops / 6 / seen, unique, self.data_half_life),
            )
            size, data = (
                scale * power * worth(x, u, r) ** (-power - 1) * x * _marginal(x, u, r)
                for scale, power, x, u, r in parts
            )
            return float(data - size)

        ends = np.log(useful), np.log(flops / 6 / unique)
        log_n = float(brentq(slope, *ends, xtol=1e-13))
        return float(np.exp(log_n)), float(flops / 6 / np.exp(log_n))


def budget_of_loss(surface: Surface, loss: Any) -> Any:
    """C of the budget whose least loss that is: the optimum put into the surface, solved for C."""
    G, gamma = np.exp(surface.log_G), surface.beta * surface.b
    at_one = surface.A * G**-surface.alpha + surface.B * G**surface.beta
    return 6 * (surface.reduced(loss) / at_one) ** (-1 / gamma)


def size_for(surface: Surface, tokens: Any) -> Any:
    """The N* of the budget whose D* is `tokens`."""
    return surface.n_opt.at(np.exp(surface.d_opt.log_budget(tokens)))


def inference_optimum(
    surface: Surface, loss: float, inference_tokens: float
) -> tuple[float, float]:
    """(N, D) of least compute for training to `loss` and then serving `inference_tokens`.

    Without serving it is the surface's own optimum. Raises BadInput for a loss at or below E.
    """
    from scipy.optimize import brentq  # here: a third of a second to import

    if not loss > surface.E:
        raise BadInput(f"loss: found {loss:g}, expected above the irreducible loss {surface.E:g}")

    h = float(surface.reduced(loss))

    def data_term(log_n: float) -> float:
        return h - surface.A * np.exp(-surface.alpha * log_n)

    def tokens(log_n: float) -> float:
        return float((surface.B / data_term(log_n)) ** (1 / surface.beta))

    def slope(log_n: float) -> float:
        """d(6 N D + 2 N D_inf)/dN, in units of 6 D, along the curve of that loss."""
        ratio = surface.alpha * surface.A * np.exp(-surface.alpha * log_n) / surface.beta
        return float(1 - ratio / data_term(log_n) + inference_tokens / (3 * tokens(log_n)))

    # Below this size not even unlimited data reach the loss.
    least = np.log(surface.A / h) / surface.alpha
    log_n = float(brentq(slope, least + 1e-9, least + 60, xtol=1e-13))
    return float(np.exp(log_n)), tokens(log_n)


def published_data_constrained() -> DataConstrained:
    """Muennighoff's law with his constants on C4."""
    surface = PUBLISHED["muennighoff_c4"]
    assert isinstance(surface, Surface)
    return DataConstrained(surface)
