"""The laws of a fit that allocate compute, as functions of it, with what is known of intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from scaling.fit.laws import PowerLaw, Surface
from scaling.fit.results.document import Prediction
from scaling.fit.results.laws import EnvelopeLaw, IsoflopLaw, Law, ParametricLaw
from scaling.report.figures.surface import surface_of
from scaling.report.study import Study
from scaling.report.text.labels import has_numbers, law_name

Quantity = Literal["n", "d", "loss"]
QUANTITIES: tuple[Quantity, ...] = ("n", "d", "loss")
_FIELDS: dict[Quantity, str] = {"n": "n_opt", "d": "d_opt", "loss": "loss"}


@dataclass(frozen=True)
class Optimum:
    """N* and D* against compute by one law.

    low, high  the compute measured: the budgets with a minimum, else the runs
    surface    None of a law through minima, which predicts no loss
    stated     its predictions with intervals, ascending in compute
    bends      whether the minima reject its one exponent, which is then no guide beyond them
    """

    name: str
    low: float
    high: float
    n: PowerLaw
    d: PowerLaw
    surface: Surface | None
    stated: tuple[Prediction, ...]
    bends: bool = False

    def at(self, flops: np.ndarray) -> dict[Quantity, np.ndarray]:
        """N*, D* and the loss there, nan where the law has none."""
        n, d = self.n.at(flops), self.d.at(flops)
        unknown = np.full(len(flops), np.nan)
        loss = unknown if self.surface is None else self.surface.predict_loss(n, d)
        return {"n": n, "d": d, "loss": loss}

    def spread(self, quantity: Quantity) -> np.ndarray:
        """(3, n) over the stated budgets: C, and the ends of the 90% interval over the estimate."""
        rows = [(row.flops, getattr(row, _FIELDS[quantity])) for row in self.stated]
        known = [(c, e.value, e.ci90) for c, e in rows if e.value and e.ci90 and min(e.ci90) > 0]
        found = [(c, low / value, high / value) for c, value, (low, high) in known]
        return np.array(found).reshape(-1, 3).T

    def ends(self, quantity: Quantity, flops: np.ndarray) -> np.ndarray:
        """(2, n): the ends of the 90% interval at `flops`, nan beyond the stated budgets.

        Between these their ratio to the estimate is interpolated in log-log, so that an interval
        goes with its estimate where that bends.
        """
        c, *ratios = self.spread(quantity)
        if not len(c):
            return np.full((2, len(flops)), np.nan)
        x = np.log(c)
        logs = [np.interp(np.log(flops), x, np.log(r), left=np.nan, right=np.nan) for r in ratios]
        return self.at(flops)[quantity] * np.exp(logs)


def optima(study: Study) -> dict[str, Optimum]:
    """Each law that allocates compute and stands, those of the headline first."""
    return _optima(study.document.laws, study.predictions, study.runs.flops)


def other_optima(study: Study) -> dict[str, Optimum]:
    """Those of the fit that this one is compared with; {} without one."""
    if study.document.comparison is None:
        return {}
    other = study.document.comparison.other_fit
    return _optima(other.laws, other.predictions, np.array(other.range or ()))


def _optima(
    laws: Mapping[str, Law], predictions: Sequence[Prediction], runs: np.ndarray
) -> dict[str, Optimum]:
    result = {}
    for key in ("isoflop", "parametric", "envelope"):
        stated = sorted((row for row in predictions if row.law == key), key=lambda row: row.flops)
        if key in laws and has_numbers(law := laws[key]):
            minima = law.valleys if isinstance(law, IsoflopLaw) else ()
            measured = [v.flops for v in minima if v.n_opt.value is not None] or list(runs)
            measured = measured or [row.flops for row in stated if row.beyond is None]
            frontier = _frontier(law, bool(stated))
            if measured and frontier is not None:
                low, high = float(min(measured)), float(max(measured))
                n, d, surface = frontier
                bends = "bent_frontier" in {flag.code for flag in law.flags}
                name, rows = law_name(key), tuple(stated)
                result[key] = Optimum(name, low, high, n, d, surface, rows, bends)
    return result


def _frontier(law: Law, predicts: bool) -> tuple[PowerLaw, PowerLaw, Surface | None] | None:
    if isinstance(law, ParametricLaw):
        surface = surface_of(law)
        return None if surface is None else (surface.n_opt, surface.d_opt, surface)
    assert isinstance(law, IsoflopLaw | EnvelopeLaw)
    known = (law.n_coef.value, law.a.value, law.d_coef.value, law.b.value)
    # An envelope of unsettled schedules predicts nothing, and has no line either.
    if None in known or not (predicts or isinstance(law, IsoflopLaw)):
        return None
    k, a, l, b = map(float, known)  # type: ignore[arg-type]
    return PowerLaw(np.log(k), a), PowerLaw(np.log(l), b), None
