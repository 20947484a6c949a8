"""What several figures say of the runs: their texts, their budgets, the seeds in an average."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from common.numbers import compact, count
from scaling.fit.isoflop import Profile, all_sizes, budgets_at_one_flops, profile_of
from scaling.fit.observations import Observations
from scaling.report.figures.chart import Axis, Kind, Points, Values, axis, said
from scaling.report.figures.style import Ink
from scaling.report.study import Study
from scaling.report.text.labels import axis_labels


@dataclass(frozen=True)
class Budgets:
    """The budgets that have an IsoFLOP curve, ascending, and the one of each run; -1 is none.

    `loss` is each run's at the FLOP of its budget (isoflop/jitter.py), else its own.
    """

    profiles: tuple[Profile, ...]
    of_run: np.ndarray
    loss: np.ndarray

    @property
    def flops(self) -> list[float]:
        """The FLOP of each."""
        return [profile.flops for profile in self.profiles]

    def rows(self) -> Iterator[tuple[int, np.ndarray]]:
        """Each budget that has runs, -1 for none, with their rows."""
        for budget in np.unique(self.of_run):
            yield int(budget), np.flatnonzero(self.of_run == budget)

    def name(self, budget: int) -> str:
        """A budget in a legend."""
        return "no budget" if budget < 0 else f"C = {compact(self.flops[budget])} FLOP"


def place(runs: Observations, row: int) -> tuple[str, str, str]:
    """Size, data and compute of a run, in words."""
    n, d, c = (float(values[row]) for values in (runs.params, runs.tokens, runs.flops))
    return f"N {count(n)}", f"D {count(d)}", f"C {compact(c)} FLOP"


def run_points(
    study: Study,
    x: Kind,
    y: Kind,
    rows: Any = slice(None),
    look: str = "run",
    ink: Ink | tuple[float, ...] = "soft",
    name: str | None = None,
) -> Points:
    """Markers of the runs drawn, or of those among `rows`, with what the page says of each."""
    index = np.arange(len(study.runs))[rows]
    runs = study.runs.take(index[study.drawn[index]])
    lines = ((*place(runs, row), f"loss {runs.loss[row]:.4f}") for row in range(len(runs)))
    names = map(study.title, runs.run_id)
    texts = [said(title, *parts) for title, parts in zip(names, lines, strict=True)]
    return Points(getattr(runs, x), getattr(runs, y), texts, look, ink, name)


def run_axis(study: Study, kind: Kind, *more: Values, log: bool = True) -> Axis:
    """The axis of a quantity over all runs, and over more values of it."""
    label, values = getattr(axis_labels(study), kind), getattr(study.runs, kind)
    return axis(label, kind, values, *more, log=log)


def members(study: Study) -> dict[str, int]:
    """The row that each run of an average of seeds went into."""
    return {
        run_id: row
        for row, name in enumerate(study.runs.run_id)
        if name in study.runs.members
        for run_id in study.runs.members[name]
    }


def budgets_of(study: Study) -> Budgets:
    """The runs by budget, as the fit grouped them."""
    of_run, loss = np.full(len(study.runs), -1), study.runs.loss
    if not len(study.runs):
        return Budgets((), of_run, loss)
    options, law = study.document.options, study.document.isoflop
    profiles: list[Profile] = []
    for runs, flops, members in budgets_at_one_flops(study.runs, options.budget_tolerance):
        profile = profile_of(runs, flops, members, options.isoflop_window)
        if profile is not None:
            of_run[members], loss = len(profiles), runs.loss
            every = law is not None and law.method == "parabola_all"
            profiles.append(all_sizes(profile) if every else profile)
    return Budgets(tuple(profiles), of_run, loss)
