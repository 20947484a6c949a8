"""What a fit of the surface minimises: an objective, weights of the runs, perhaps with E held.

huber                sum of w Huber_delta(log Lhat - log L)       Hoffmann et al. 2022, eq. 3
lad, least_squares   sum of w |r|, and half that of w r^2, of the same residuals r
least_squares_loss   half the sum of w (Lhat - L)^2, in the unit of the loss
asymmetric           huber, where runs above the law count a tenth: an under-tuned run is an
                     upper bound of the loss that its N and D allow (OLMo-core, model_ladder,
                     where overestimates count ten times)
"""

from dataclasses import replace

import numpy as np

from common.errors import BadInput
from scaling.fit.config import Objective, SurfaceConfig
from scaling.fit.numerics import Rows
from scaling.fit.numerics.rows import Residual
from scaling.fit.observations import Observations

ABOVE = 0.1
PLAIN = SurfaceConfig()


def rows_of(
    observations: Observations, objective: Objective = "huber", surface: SurfaceConfig = PLAIN
) -> Rows:
    """The runs as the objective sees them. Raises BadInput for weights or an E that cannot be."""
    residual: Residual = "loss" if objective == "least_squares_loss" else "log"
    rows = Rows.of(observations.params, observations.tokens, observations.loss, residual)
    least = int(np.argmin(observations.loss))
    if surface.E is not None and observations.loss[least] <= surface.E:
        raise BadInput(
            f"surface.E: found {surface.E:g}, expected below the least loss, "
            f"{observations.loss[least]:.4g} of {observations.run_id[least]}"
        )
    return replace(
        rows,
        above=ABOVE if objective == "asymmetric" else 1.0,
        weight=None if surface.weights is None else _weights(observations, surface.weights),
        E=surface.E,
    )


def absolute(rows: Rows, residuals: np.ndarray) -> float:
    """The objective `lad` of residuals of log loss."""
    return float(rows.pulls(np.abs(residuals), residuals).sum())


def _weights(observations: Observations, name: str) -> np.ndarray:
    """A column of the runs as weights of mean 1."""
    own = {key: getattr(observations, key) for key in ("params", "tokens", "flops", "loss")}
    columns = {**observations.columns, **own}
    if name not in columns:
        raise BadInput(
            f"surface.weights: no column of numbers {name!r}; derive.{name}= can make one of "
            f"{', '.join(sorted(columns))}"
        )
    weights = columns[name]
    for run, weight in zip(observations.run_id, weights.tolist(), strict=True):
        if not 0 < weight < np.inf:
            raise BadInput(
                f"surface.weights: {run} has {name} {weight:g}, expected a finite number above 0"
            )
    return np.asarray(weights / weights.mean())
