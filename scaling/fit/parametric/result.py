"""A fitted surface as the rest of a fit uses it, whatever its form and objective."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scaling.fit.frontier import Frontier
from scaling.fit.laws import Surface
from scaling.fit.results.laws import ParametricLaw


@dataclass(frozen=True)
class ParametricFit:
    """The fitted law, its surface (None if refused), and the surfaces of the resamples.

    `samples` holds arrays of (R,), nan where a resample failed; `residual_sd` is the rms of
    log L - log Lhat over the rows. `jacobian` has the derivatives (n, P) of log loss in the
    constants fitted; `without` gives a (m,) refitted without each of the rows at m indices.
    """

    law: ParametricLaw
    surface: Surface | None = None
    samples: Surface | None = None
    residual_sd: float = float("nan")
    jacobian: np.ndarray | None = None
    without: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def frontier(self) -> Frontier | None:
        """N* and D* of the surface against C; None if refused."""
        if self.surface is None or self.samples is None:
            return None
        return Frontier.of(self.surface, self.samples)
