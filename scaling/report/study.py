"""What a report is of: the document of a fit, the runs behind it, and their training curves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from scaling.fit.observations import Observations
from scaling.fit.results import FitDocument
from scaling.fit.results.document import Prediction
from scaling.report.text.run_titles import run_titles

_NOTHING = np.array([])
MOST_DRAWN = 2_000
"""Runs of a figure: more are a cloud that no eye takes apart, and slow on any page."""
NO_RUNS = Observations((), _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING, _NOTHING)


@dataclass(frozen=True)
class TrainingCurve:
    """The logged rows of one run, (n, 3): FLOP, tokens, loss; and its last held-out loss."""

    rows: np.ndarray
    final_loss: float | None = None


@dataclass(frozen=True)
class Study:
    """A fit; `runs` is empty where a saved fit.json is rendered, which does not hold them.

    `reach` are predictions from resamples at many budgets (document.py), which it does not hold
    either: without them intervals are known where fit.json states predictions.
    """

    document: FitDocument
    runs: Observations = NO_RUNS
    curves: Mapping[str, TrainingCurve] = field(default_factory=dict)
    reach: tuple[Prediction, ...] = ()

    @cached_property
    def drawn(self) -> np.ndarray:
        """The mask of the runs that figures show: all, or of many a part at random and the ends."""
        n = len(self.runs)
        if n <= MOST_DRAWN:
            return np.ones(n, dtype=bool)
        mask = np.zeros(n, dtype=bool)
        mask[np.random.default_rng(0).choice(n, MOST_DRAWN, replace=False)] = True
        for values in (self.runs.params, self.runs.tokens, self.runs.flops, self.runs.loss):
            mask[[values.argmin(), values.argmax()]] = True
        return mask

    def title(self, run_id: str) -> str:
        """What a run is called: run_id, or for a run of a sweep its budget, shape and seed."""
        return self._titles.get(run_id, run_id)

    @cached_property
    def _titles(self) -> Mapping[str, str]:
        return run_titles(self.runs)

    @property
    def predictions(self) -> tuple[Prediction, ...]:
        """Those of fit.json and of `reach`, by law and compute."""
        every = {(row.law, row.flops): row for row in (*self.reach, *self.document.predictions)}
        return tuple(every[key] for key in sorted(every))

    @property
    def no_runs(self) -> str | None:
        """Why nothing can be said of single runs; None where they are known."""
        if len(self.runs):
            return None
        if self.document.inputs.observations:
            return "it needs the runs, which fit.json does not hold (fit.py runs=... draws it)"
        return "no run was admitted to a fit"
