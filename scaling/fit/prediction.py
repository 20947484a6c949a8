"""What the fitted laws say of a budget: size, tokens and loss, with their intervals."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from scaling.fit.isoflop import IsoflopFit
from scaling.fit.laws import UNKNOWN, Estimate
from scaling.fit.observations import Observations
from scaling.fit.parametric import ParametricFit
from scaling.fit.uncertainty import estimate


def predictions(
    flops: Sequence[float],
    observations: Observations,
    isoflop: IsoflopFit | None,
    parametric: ParametricFit | None,
) -> list[dict[str, Any]]:
    """Rows of fit.json: each budget under each law that stands, in order of law and FLOP."""
    rows = []
    if isoflop is not None and isoflop.frontier is not None:
        line = isoflop.frontier
        for c in flops:
            n, d = (line.n.at(c), line.n_samples.at(c)), (line.d.at(c), line.d_samples.at(c))
            rows.append(_row(c, "isoflop", n, d, UNKNOWN, observations))
    if parametric is not None and parametric.surface is not None and parametric.samples is not None:
        surface, samples = parametric.surface, parametric.samples
        for c in flops:
            n, d = surface.optimal_allocation(c)
            # A resample with a nearly vanished term has its optimum beyond the range of floats.
            with np.errstate(all="ignore"):
                n_samples, d_samples = samples.optimal_allocation(c)
                losses = samples.predict_loss(n_samples, d_samples)
            loss = estimate(surface.predict_loss(n, d), losses)
            rows.append(_row(c, "parametric", (n, n_samples), (d, d_samples), loss, observations))
    return rows


def budgets_to_predict(
    asked: Sequence[float], observations: Observations, isoflop: IsoflopFit | None
) -> list[float]:
    """The budgets asked for and those of the valleys; without either, the range of the runs."""
    valleys = [valley.flops for valley in isoflop.valleys] if isoflop else []
    if not valleys:
        valleys = [float(observations.flops.min()), float(observations.flops.max())]
    return sorted({float(c) for c in (*asked, *valleys)})


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


def _row(
    flops: float,
    law: str,
    n: tuple[Any, np.ndarray],
    d: tuple[Any, np.ndarray],
    loss: Estimate,
    observations: Observations,
) -> dict[str, Any]:
    total = total_params(n[0], observations)
    with np.errstate(all="ignore"):
        ratios = d[1] / n[1]
    n_total = UNKNOWN if total is None else estimate(total, total_params(n[1], observations))
    return {
        "flops": float(flops),
        "law": law,
        "n_opt": estimate(n[0], n[1]).document(),
        "n_total": n_total.document(),
        "d_opt": estimate(d[0], d[1]).document(),
        "tokens_per_param": estimate(d[0] / n[0], ratios).document(),
        "loss": loss.document(),
    }
