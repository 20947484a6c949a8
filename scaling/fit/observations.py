"""Runs as points that a fit may use: tables and sweep directories to arrays, exclusions named."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Exclusion:
    """A planned run that no fit uses, and why."""

    run_id: str
    reason: str


@dataclass(frozen=True)
class Observations:
    """Admitted (N, D, C, loss) points in a fixed order, one row each; arrays are float64 of (n,).

    params, tokens, flops   in the convention the headline laws use
    loss                    nats per token
    flops_budget            the IsoFLOP group a row belongs to; nan where there is none
    loss_se                 run-to-run standard deviation of loss; nan where unknown
    columns                 every other numeric column of the run table by name, nan where empty
    """

    run_id: tuple[str, ...]
    params: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    loss: np.ndarray
    flops_budget: np.ndarray
    loss_se: np.ndarray
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    planned: int = 0
    merged: int = 0
    excluded: tuple[Exclusion, ...] = ()
