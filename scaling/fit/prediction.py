"""What the fitted laws say of a budget, a size, an amount of data: estimates with their reach.

Every row names its law and says how far it lies beyond the compute that the law was fitted to:
`beyond` is that factor (null inside), and a flag `extrapolation` says it in words. An interval
holds what resampling moves; that the form goes on outside the runs is an assumption.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.config import PredictConfig
from scaling.fit.isoflop import IsoflopFit
from scaling.fit.laws import UNKNOWN, Estimate, Flag, Surface
from scaling.fit.lines import PowerLaw
from scaling.fit.observations import Observations
from scaling.fit.parametric import ParametricFit
from scaling.fit.uncertainty import estimate

# Logarithms of budgets beyond floats: resamples whose size is best at no budget near any other.
_LOG_LIMIT = 600.0
# More resamples than this without an answer are said beside the interval of the others.
_FEW_LOST = 0.05
# Budgets predicted where no valley names one.
_WITHOUT_VALLEYS = 7


@dataclass(frozen=True)
class Lines:
    """Two power laws as a law of allocation: N* and D* against C, each its own line."""

    n: PowerLaw
    d: PowerLaw

    def optimal_allocation(self, flops: Any) -> tuple[Any, Any]:
        """(N*, D*) at `flops`."""
        return self.n.at(flops), self.d.at(flops)

    def log_budget_of_size(self, params: Any) -> Any:
        """log C of the budget for which `params` is the best size."""
        return self.n.log_budget(params)

    def log_budget_of_data(self, tokens: Any) -> Any:
        """log C of the budget for which `tokens` is the best amount of data."""
        return self.d.log_budget(tokens)


@dataclass(frozen=True)
class Oracle:
    """A law that stands, its resamples, and the FLOP between which it was measured."""

    name: str
    point: Lines | Surface
    samples: Lines | Surface
    low: float
    high: float

    def loss(self, params: Any, tokens: Any, params_R: Any, tokens_R: Any) -> Estimate:
        """Loss of the law itself, not of one run; unknown for lines, which have none."""
        if not isinstance(self.point, Surface):
            return UNKNOWN
        assert isinstance(self.samples, Surface)
        with np.errstate(all="ignore"):
            losses = self.samples.predict_loss(params_R, tokens_R)
        return estimate(float(self.point.predict_loss(params, tokens)), losses)


def outside(flops: float | None, low: float, high: float) -> tuple[float | None, list[Flag]]:
    """How many times outside the compute measured, and the flag that says so."""
    if flops is None:
        return None, []
    factor, side = max((flops / high, "above"), (low / flops, "below"))
    if factor < 1.001:
        return None, []
    text = f"{factor:.3g} times {side} the compute measured, {low:.3g} to {high:.3g} FLOP"
    return factor, [Flag("extrapolation", text)]


def oracles(
    observations: Observations, isoflop: IsoflopFit | None, parametric: ParametricFit | None
) -> Iterator[Oracle]:
    """The headline laws that stand."""
    if isoflop is not None and isoflop.frontier is not None:
        line = isoflop.frontier
        used = [valley.flops for valley in isoflop.valleys if valley.reason is None]
        point, samples = Lines(line.n, line.d), Lines(line.n_samples, line.d_samples)
        yield Oracle("isoflop", point, samples, min(used), max(used))
    if parametric is not None and parametric.surface is not None and parametric.samples is not None:
        low, high = float(observations.flops.min()), float(observations.flops.max())
        yield Oracle("parametric", parametric.surface, parametric.samples, low, high)


def predictions(
    flops: Sequence[float],
    observations: Observations,
    isoflop: IsoflopFit | None,
    parametric: ParametricFit | None,
) -> list[dict[str, Any]]:
    """Rows of fit.json: each budget under each law that stands, in order of law and FLOP."""
    return [
        _at_budget(oracle, float(c), observations)
        for oracle in oracles(observations, isoflop, parametric)
        for c in flops
    ]


def answers(
    predict: PredictConfig,
    observations: Observations,
    isoflop: IsoflopFit | None,
    parametric: ParametricFit | None,
) -> list[dict[str, Any]]:
    """Rows of fit.json for sizes, amounts of data and pairs; what was given has no interval."""
    rows = []
    for oracle in oracles(observations, isoflop, parametric):
        rows += [inverse(oracle, "params", n, observations) for n in predict.params]
        rows += [inverse(oracle, "tokens", d, observations) for d in predict.tokens]
        if isinstance(oracle.point, Surface):
            rows += [_pair(oracle, n, d, observations) for n, d in predict.pairs]
    return rows


def budgets_to_predict(
    asked: Sequence[float], observations: Observations, isoflop: IsoflopFit | None
) -> list[float]:
    """The budgets asked for and those of the valleys; without these some over the runs' range.

    Between its budgets a report joins the intervals, which are narrower there than at the ends.
    """
    budgets = [valley.flops for valley in isoflop.valleys] if isoflop else []
    if not budgets:
        low, high = float(observations.flops.min()), float(observations.flops.max())
        between = np.geomspace(low, high, _WITHOUT_VALLEYS)[1:-1].tolist() if low < high else []
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


def inverse(oracle: Oracle, asked: str, given: float, observations: Observations) -> dict[str, Any]:
    """The budget whose best size (`params`) or best data (`tokens`) is `given`, and its model."""
    found = []
    with np.errstate(all="ignore"):
        for law in (oracle.point, oracle.samples):
            to_budget = law.log_budget_of_size if asked == "params" else law.log_budget_of_data
            log_c = to_budget(given)
            c = np.exp(np.clip(log_c, -_LOG_LIMIT, _LOG_LIMIT))
            n, d = law.optimal_allocation(c)
            exact = np.where(np.isfinite(c), given, np.nan)
            found.append((c, exact, d) if asked == "params" else (c, n, exact))
    (c, n, d), (c_R, n_R, d_R) = found
    total = total_params(n, observations) if np.isfinite(n) else None
    flops = estimate(float(c), c_R)
    beyond, flags = outside(flops.value, oracle.low, oracle.high)
    lost = float(np.mean(~np.isfinite(c_R))) if np.size(c_R) else 0.0
    if lost > _FEW_LOST:
        flags.append(Flag("no_budget", f"in {lost:.0%} of the resamples it is best at no budget"))
    exact_size, exact_data = asked == "params", asked == "tokens"
    with np.errstate(all="ignore"):
        per_param = estimate(float(d / n), d_R / n_R)
    return {
        "asked": asked,
        "law": oracle.name,
        "flops": flops.document(),
        "params": (Estimate(given) if exact_size else estimate(float(n), n_R)).document(),
        "n_total": _total(total, n_R, observations, fixed=exact_size).document(),
        "tokens": (Estimate(given) if exact_data else estimate(float(d), d_R)).document(),
        "tokens_per_param": per_param.document(),
        "loss": oracle.loss(n, d, n_R, d_R).document(),
        "beyond": beyond,
        "flags": [flag.document() for flag in flags],
    }


def prediction(
    flops: float,
    law: str,
    n: tuple[Any, np.ndarray],
    d: tuple[Any, np.ndarray],
    loss: Estimate,
    observations: Observations,
    measured: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """One row of fit.json: N* and D* of a law at a budget, each a value and its resamples.

    `measured` is the FLOP between which the law was fitted; None: those of the runs.
    """
    low, high = measured or (float(observations.flops.min()), float(observations.flops.max()))
    beyond, flags = outside(flops, low, high)
    with np.errstate(all="ignore"):
        per_param = estimate(d[0] / n[0], d[1] / n[1])
    return {
        "flops": float(flops),
        "law": law,
        "n_opt": estimate(n[0], n[1]).document(),
        "n_total": _total(total_params(n[0], observations), n[1], observations).document(),
        "d_opt": estimate(d[0], d[1]).document(),
        "tokens_per_param": per_param.document(),
        "loss": loss.document(),
        "beyond": beyond,
        "flags": [flag.document() for flag in flags],
    }


def _at_budget(oracle: Oracle, flops: float, observations: Observations) -> dict[str, Any]:
    n, d = oracle.point.optimal_allocation(flops)
    # A resample with a nearly vanished term has its optimum beyond the range of floats.
    with np.errstate(all="ignore"):
        n_R, d_R = oracle.samples.optimal_allocation(flops)
    loss, measured = oracle.loss(n, d, n_R, d_R), (oracle.low, oracle.high)
    return prediction(flops, oracle.name, (n, n_R), (d, d_R), loss, observations, measured)


def _pair(oracle: Oracle, n: float, d: float, observations: Observations) -> dict[str, Any]:
    """A model of any size on any data; the farthest of its N, D and C says how far outside."""
    beyond, flags = outside(6 * n * d, oracle.low, oracle.high)
    for name, value, runs in (("N", n, observations.params), ("D", d, observations.tokens)):
        factor = max(value / float(runs.max()), float(runs.min()) / value)
        if factor > max(1.001, beyond or 0):
            text = f"{name} is {factor:.3g} times outside that of the runs"
            beyond, flags = factor, [Flag("extrapolation", f"{text}, {_span(runs)}")]
    total = total_params(n, observations)
    return {
        "asked": "pair",
        "law": oracle.name,
        "flops": Estimate(6 * n * d).document(),
        "params": Estimate(n).document(),
        "n_total": _total(total, np.empty(0), observations, fixed=True).document(),
        "tokens": Estimate(d).document(),
        "tokens_per_param": Estimate(d / n).document(),
        "loss": oracle.loss(n, d, n, d).document(),
        "beyond": beyond,
        "flags": [flag.document() for flag in flags],
    }


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
