"""What the fitted laws say of a budget, a size, an amount of data: estimates with their reach.

Every row names its law and says how far it lies beyond the compute that the law was fitted to:
`beyond` is that factor (null inside), and a flag `extrapolation` says it in words. An interval
holds what resampling moves; that the form goes on outside the runs is an assumption.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from scaling.fit.batches.steps_law import StepsLaw
from scaling.fit.config import PredictConfig
from scaling.fit.flags import Flag
from scaling.fit.frontier import Frontier
from scaling.fit.isoflop import IsoflopFit
from scaling.fit.laws import KaplanLaw, Surface
from scaling.fit.numerics import Sampled, estimate
from scaling.fit.observations import Observations
from scaling.fit.parametric import ParametricFit
from scaling.fit.results.document import Answer, Prediction
from scaling.fit.results.estimate import UNKNOWN, Estimate

LossLaw = Surface | KaplanLaw | StepsLaw
# More resamples than this without an answer are said beside the interval of the others.
_FEW_LOST = 0.05
_INSIDE = 1.001  # budgets that differ by rounding alone
NOISE = 1.01  # times a measured loss: no run is as far below what is expected of it
BENDS = "log N* bends, so one exponent is no guide there"
# Budgets predicted where no profile names one.
_WITHOUT_PROFILES = 7


@dataclass(frozen=True)
class FittedLaw:
    """A law of optima with its resamples, and the FLOP between which it was measured.

    `surface` and `surfaces`, of the resamples, are None for a law that predicts no loss;
    `bends`: its one exponent is rejected by the minima that it goes through.
    """

    name: str
    frontier: Frontier
    low: float
    high: float
    surface: LossLaw | None = None
    surfaces: LossLaw | None = None
    bends: bool = field(default=False, kw_only=True)

    def loss(self, params: Sampled, tokens: Sampled) -> Estimate:
        """Loss of the law itself, not of one run."""
        if self.surface is None or self.surfaces is None:
            return UNKNOWN
        with np.errstate(all="ignore"):
            losses = self.surfaces.predict_loss(params.samples, tokens.samples)
        return estimate(float(self.surface.predict_loss(params.value, tokens.value)), losses)

    def extrapolation(self, flops: float | None) -> tuple[float | None, list[Flag]]:
        """How many times outside the compute measured, and the flags that say so; None inside."""
        if flops is None:
            return None, []
        factor, side = max((flops / self.high, "above"), (self.low / flops, "below"))
        if factor < _INSIDE:
            return None, []
        measured = f"{self.low:.3g} to {self.high:.3g} FLOP"
        text = f"{factor:.3g} times {side} the compute measured, {measured}"
        bent = [Flag("bent_frontier", BENDS)] if self.bends else []
        return factor, [Flag("extrapolation", text), *bent]


def fitted_laws(
    observations: Observations, isoflop: IsoflopFit | None, parametric: ParametricFit | None
) -> list[FittedLaw]:
    """The headline laws that were not refused."""
    found = []
    if isoflop is not None and isoflop.frontier is not None:
        used = [profile.flops for profile in isoflop.profiles if profile.reason is None]
        bends = "bent_frontier" in {flag.code for flag in isoflop.law.flags}
        found.append(FittedLaw("isoflop", isoflop.frontier, min(used), max(used), bends=bends))
    if parametric is not None and parametric.frontier is not None:
        surfaces = parametric.surface, parametric.samples
        found.append(over_runs("parametric", parametric.frontier, observations, *surfaces))
    return found


def over_runs(
    name: str, frontier: Frontier, observations: Observations, *surfaces: LossLaw | None
) -> FittedLaw:
    """A law that was measured over the compute of all runs."""
    low, high = float(observations.flops.min()), float(observations.flops.max())
    return FittedLaw(name, frontier, low, high, *surfaces)


def predictions(
    flops: Sequence[float],
    observations: Observations,
    laws: Sequence[FittedLaw],
    asked: Sequence[float] = (),
) -> list[Prediction]:
    """Each budget under each law, in order of law and FLOP; those `asked` for say so."""
    rows = [_at_budget(law, float(c), observations) for law in laws for c in flops]
    return [replace(row, asked=True) if row.flops in asked else row for row in rows]


def answers(
    predict: PredictConfig, observations: Observations, laws: Sequence[FittedLaw]
) -> list[Answer]:
    """Answers to sizes, amounts of data and pairs; what was given has no interval."""
    rows = []
    for law in laws:
        rows += [inverse(law, "params", n, observations) for n in predict.params]
        rows += [inverse(law, "tokens", d, observations) for d in predict.tokens]
        if law.surface is not None:
            rows += [_pair(law, n, d, observations) for n, d in predict.pairs]
    return rows


def budgets_to_predict(
    asked: Sequence[float], observations: Observations, isoflop: IsoflopFit | None
) -> list[float]:
    """The budgets asked for and those of the profiles; without these some over the runs' range.

    Between its budgets a report joins the intervals, which are narrower there than at the ends.
    """
    budgets = [profile.flops for profile in isoflop.profiles] if isoflop else []
    if not budgets:
        low, high = float(observations.flops.min()), float(observations.flops.max())
        between = np.geomspace(low, high, _WITHOUT_PROFILES)[1:-1].tolist() if low < high else []
        budgets = [low, *between, high]
    return sorted({float(c) for c in (*asked, *budgets)})


def total_params(params: Any, observations: Observations) -> Any:
    """All parameters of the ladder's model of that size, read off the runs; None if unknown.

    Interpolated in log-log between the sizes of the runs, continued by the last segment.
    """
    total = observations.columns.get("params_total")
    if total is None or not np.isfinite(total).all():
        return None
    x, index = np.unique(np.log(observations.params), return_index=True)
    y = np.log(total[index])
    if len(x) < 2:
        return None
    at = np.log(params)
    segment = np.clip(np.searchsorted(x, at) - 1, 0, len(x) - 2)
    slope = (y[segment + 1] - y[segment]) / (x[segment + 1] - x[segment])
    return np.exp(y[segment] + slope * (at - x[segment]))


def inverse(
    law: FittedLaw, asked: Literal["params", "tokens"], given: float, observations: Observations
) -> Answer:
    """The budget whose best size (`params`) or best data (`tokens`) is `given`, and its model."""
    exact_size, exact_data = asked == "params", asked == "tokens"
    frontier = law.frontier
    flops = frontier.budget_of_size(given) if exact_size else frontier.budget_of_data(given)
    n, d = frontier.at(flops)
    exact = Sampled(
        *(np.where(np.isfinite(c), given, np.nan) for c in (flops.value, flops.samples))
    )
    n, d = (exact if exact_size else n), (exact if exact_data else d)
    total = total_params(n.value, observations) if np.isfinite(n.value) else None
    budget = flops.estimate
    beyond, flags = law.extrapolation(budget.value)
    lost = float(np.mean(~np.isfinite(flops.samples))) if np.size(flops.samples) else 0.0
    if lost > _FEW_LOST:
        flags.append(Flag("no_budget", f"in {lost:.0%} of the resamples it is best at no budget"))
    return Answer(
        asked=asked,
        law=law.name,
        flops=budget,
        params=Estimate(given) if exact_size else n.estimate,
        n_total=_total(total, n.samples, observations, fixed=exact_size),
        tokens=Estimate(given) if exact_data else d.estimate,
        tokens_per_param=d.over(n).estimate,
        loss=law.loss(n, d),
        beyond=beyond,
        flags=tuple(flags),
    )


def _at_budget(law: FittedLaw, flops: float, observations: Observations) -> Prediction:
    n, d = law.frontier.at(flops)
    beyond, flags = law.extrapolation(flops)
    loss = law.loss(n, d)
    return Prediction(
        flops=flops,
        law=law.name,
        n_opt=n.estimate,
        n_total=_total(total_params(n.value, observations), n.samples, observations),
        d_opt=d.estimate,
        tokens_per_param=d.over(n).estimate,
        loss=loss,
        beyond=beyond,
        flags=(*flags, *_above_measured(loss, flops, observations)),
    )


def reached(observations: Observations, flops: float) -> float | None:
    """The loss that two runs of no more compute have reached: the least alone may be a slip."""
    losses = observations.loss[observations.flops <= flops * _INSIDE]
    return float(np.partition(losses, 1)[1]) if len(losses) > 1 else None


def is_above(loss: float, measured: float | None) -> bool:
    """Whether a predicted loss is above a measured one by more than noise."""
    return measured is not None and loss > NOISE * measured


def _above_measured(loss: Estimate, flops: float, observations: Observations) -> list[Flag]:
    measured = reached(observations, flops)
    if loss.value is None or not is_above(loss.value, measured):
        return []
    text = f"above {measured:.4g}, which two runs of no more compute have reached"
    return [Flag("above_measured", text)]


def _pair(law: FittedLaw, n: float, d: float, observations: Observations) -> Answer:
    """A model of any size on any data; the farthest of its N, D and C says how far outside."""
    beyond, flags = law.extrapolation(6 * n * d)
    for name, value, runs in (("N", n, observations.params), ("D", d, observations.tokens)):
        factor = max(value / float(runs.max()), float(runs.min()) / value)
        if factor > max(_INSIDE, beyond or 0):
            text = f"{name} is {factor:.3g} times outside that of the runs"
            beyond, flags = factor, [Flag("extrapolation", f"{text}, {_span(runs)}")]
    total = total_params(n, observations)
    return Answer(
        asked="pair",
        law=law.name,
        flops=Estimate(6 * n * d),
        params=Estimate(n),
        n_total=_total(total, np.empty(0), observations, fixed=True),
        tokens=Estimate(d),
        tokens_per_param=Estimate(d / n),
        loss=law.loss(Sampled(n, n), Sampled(d, d)),
        beyond=beyond,
        flags=tuple(flags),
    )


def _total(
    total: Any, params_R: np.ndarray, observations: Observations, fixed: bool = False
) -> Estimate:
    if total is None:
        return UNKNOWN
    if fixed:
        return Estimate(float(total))
    with np.errstate(all="ignore"):
        return estimate(float(total), total_params(params_R, observations))


def _span(runs: np.ndarray) -> str:
    return f"{float(runs.min()):.3g} to {float(runs.max()):.3g}"
