"""What a report is of: the document of a fit, the runs behind it, and their training curves."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from scaling.fit.observations import Observations
from scaling.fit.results import FitDocument

_NOTHING = np.array([])
NO_RUNS = Observations((), _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)


@dataclass(frozen=True)
class TrainingCurve:
    """The logged rows of one run, (n, 3): FLOP, tokens, loss; and its last held-out loss."""

    rows: np.ndarray
    final_loss: float | None = None


@dataclass(frozen=True)
class Study:
    """A fit; `runs` is empty where a saved fit.json is rendered, which does not hold them."""

    document: FitDocument
    runs: Observations = NO_RUNS
    curves: Mapping[str, TrainingCurve] = field(default_factory=dict)

    @property
    def no_runs(self) -> str | None:
        """Why nothing can be said of single runs; None where they are known."""
        if len(self.runs):
            return None
        if self.document.inputs.observations:
            return "it needs the runs, which fit.json does not hold (fit.py runs=... draws it)"
        return "no run was admitted to a fit"
