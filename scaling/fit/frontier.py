"""The compute-optimal frontier of a law: N* and D* against C as power laws, with resamples."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.laws import PowerLaw, Surface
from scaling.fit.numerics import Sampled, estimate
from scaling.fit.results.laws import Exponents

# Logarithms of budgets beyond floats: resamples whose size is best at no budget near any other.
_LOG_LIMIT = 600.0


@dataclass(frozen=True)
class Frontier:
    """N* and D* against C, and their resamples (R,), nan where a resample has no answer."""

    n: PowerLaw
    d: PowerLaw
    n_samples: PowerLaw
    d_samples: PowerLaw

    @staticmethod
    def of(surface: Surface, samples: Surface) -> "Frontier":
        """The closed form of a surface (Hoffmann et al. 2022, eq. 4) and of its resamples."""
        # A resample with a nearly vanished term has its optimum beyond the range of floats.
        with np.errstate(all="ignore"):
            return Frontier(surface.n_opt, surface.d_opt, samples.n_opt, samples.d_opt)

    def at(self, flops: Sampled | float) -> tuple[Sampled, Sampled]:
        """(N*, D*) at one budget, or at a budget of its own for each resample."""
        c = flops if isinstance(flops, Sampled) else Sampled(flops, flops)
        with np.errstate(all="ignore"):
            return (
                Sampled(self.n.at(c.value), self.n_samples.at(c.samples)),
                Sampled(self.d.at(c.value), self.d_samples.at(c.samples)),
            )

    def budget_of_size(self, params: float) -> Sampled:
        """C of the budget for which `params` is the best size; nan where there is none."""
        return _budget(self.n, self.n_samples, params)

    def budget_of_data(self, tokens: float) -> Sampled:
        """C of the budget for which `tokens` is the best data; nan where there is none."""
        return _budget(self.d, self.d_samples, tokens)

    @property
    def exponents(self) -> Exponents:
        """The exponents a and b of N* and D* in C."""
        pairs = (self.n, self.n_samples), (self.d, self.d_samples)
        return Exponents(*(estimate(law.slope, samples.slope) for law, samples in pairs))

    @property
    def estimates(self) -> dict[str, Any]:
        """Estimates by name: exponents, and coefficients of N* = n_coef C^a, D* = d_coef C^b."""
        with np.errstate(over="ignore"):
            n = estimate(self.n.coefficient, self.n_samples.coefficient)
            d = estimate(self.d.coefficient, self.d_samples.coefficient)
        return {"a": self.exponents.a, "b": self.exponents.b, "n_coef": n, "d_coef": d}

    @property
    def failed(self) -> int:
        """Resamples without an answer."""
        return int(np.isnan(self.n_samples.slope).sum())


def _budget(law: PowerLaw, samples: PowerLaw, y: float) -> Sampled:
    with np.errstate(all="ignore"):
        logs = law.log_budget(y), samples.log_budget(y)
        return Sampled(*(np.exp(np.clip(log_c, -_LOG_LIMIT, _LOG_LIMIT)) for log_c in logs))
