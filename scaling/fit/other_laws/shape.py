"""Loss against the shape of networks of one size: depth against width, and heads.

    log L = log L* + c (log(d/L_n) - log r*)^2           the aspect ratio d/L_n of Kaplan et al.
                                                          2020, section 3.1 and figure 5
Runs of one size and compute; of networks that differ in their heads alone the best counts for the
parabola. It is by least squares; resamples add noise of the size that seeds show, or that the
parabola misses. Best and ranges are those among the aspect ratios tried.
"""

from typing import Literal

import numpy as np

from common.text import plural
from scaling.fit.flags import Flag
from scaling.fit.numerics import estimate, generator, normal_draws
from scaling.fit.observations import Observations
from scaling.fit.results.experiments import ShapeCell, ShapeLaw
from scaling.fit.results.laws import judged

_FEWEST = 4  # aspect ratios: a parabola, and one to spare
_ONE_SIZE, _ONE_BUDGET = 1.25, 1.1  # factors within which runs are of one size and compute
_CONSTANTS = 3
_GRID, _DRAWN = 960, 60  # aspect ratios at which the parabola is read; and is drawn


def fit_shape(observations: Observations, resamples: int, seed: int) -> ShapeLaw:
    """The parabola through the shapes of one size; refuses rather than raises."""
    columns = observations.columns
    if missing := [name for name in ("n_layer", "n_embd") if name not in columns]:
        return _refused(f"the table has no column {missing[0]}")
    depth, width = columns["n_layer"], columns["n_embd"]
    if not (np.isfinite(depth) & np.isfinite(width)).all():
        return _refused("n_layer or n_embd is empty in some runs")
    # Kaplan's size where it is known: what the head costs depends on the width.
    own = columns.get("params_non_embedding", observations.params)
    params = own if np.isfinite(own).all() else observations.params
    for name, values, most in (("N", params, _ONE_SIZE), ("C", observations.flops, _ONE_BUDGET)):
        if (span := values.max() / values.min()) > most:
            return _refused(f"{name} spans a factor {span:.3g}, expected one, within {most:g}")
    heads = columns.get("n_head", np.zeros(len(depth)))
    heads = np.where(np.isfinite(heads), heads, 0.0)
    shapes = np.column_stack([depth, width])
    unique, group = np.unique(shapes, axis=0, return_inverse=True)
    group = group.ravel()
    x = np.log(unique[:, 1] / unique[:, 0])
    if len(np.unique(x)) < _FEWEST:
        few = plural(len(np.unique(x)), "aspect ratio")
        return _refused(f"{few}, expected at least {_FEWEST}")
    y = np.array([np.log(observations.loss[group == one].min()) for one in range(len(unique))])
    centre = float(x.mean())
    design = np.vander(x - centre, _CONSTANTS)
    fitted = design @ np.linalg.lstsq(design, y, rcond=None)[0]
    sd, dof = _noise(observations, y - fitted)
    rng = generator(seed, "shape")
    draws = np.vstack([y, fitted + normal_draws(sd, len(y), dof, resamples, rng)])
    found = np.linalg.lstsq(design, draws.T, rcond=None)[0]
    reach = np.linspace(x.min(), x.max(), _GRID)
    losses = np.vander(reach - centre, _CONSTANTS) @ found
    best = _best(losses, reach)
    tried = float(np.exp(x.min())), float(np.exp(x.max()))
    spreads = [np.ptp(np.log(observations.loss[group == one])) for one in range(len(unique))]
    several = [len(np.unique(heads[group == one])) > 1 for one in range(len(unique))]
    apart = [float(s) for s, many in zip(spreads, several, strict=True) if many]
    cells = zip(depth, width, heads, params, observations.loss, strict=True)
    numbers = {
        "spread": np.expm1(np.ptp(losses, axis=0)),
        "range_1": _range(losses, reach, 0.01),
        "range_3": _range(losses, reach, 0.03),
    }
    side: Literal["low", "high"] = "low" if losses[0, 0] < losses[-1, 0] else "high"
    inside = bool(np.isfinite(best[0]))
    return ShapeLaw(
        **judged(() if inside else (_edge(side, tried),)),
        best_ratio=estimate(float(np.exp(best[0])), np.exp(best[1:]), None if inside else side),
        **{name: estimate(float(one[0]), one[1:]) for name, one in numbers.items()},
        tried=tried,
        heads_spread=float(np.expm1(max(apart))) if apart else None,
        noise_sd=sd,
        cells=tuple(
            ShapeCell(int(deep), int(wide), int(many), float(n), float(loss))
            for deep, wide, many, n, loss in cells
        ),
        parabola=tuple(float(one) for one in np.exp(losses[:: _GRID // _DRAWN, 0])),
        failed_resamples=0,
    )


def _refused(reason: str) -> ShapeLaw:
    return ShapeLaw(**judged(reason=reason))


def _noise(observations: Observations, miss: np.ndarray) -> tuple[float, float]:
    """Standard deviation of log loss, and its degrees of freedom."""
    known = observations.loss_se / observations.loss
    known = known[np.isfinite(known)]
    if known.size:
        return float(np.sqrt((known**2).mean())), float(known.size)
    dof = len(miss) - _CONSTANTS
    return float(np.sqrt((miss**2).sum() / dof)), float(dof)


def _best(losses: np.ndarray, reach: np.ndarray) -> np.ndarray:
    """Where each of (G, R) curves over `reach` is least; nan at an end, beyond which none is."""
    at = losses.argmin(axis=0)
    return np.where((at > 0) & (at < len(reach) - 1), reach[at], np.nan)


def _range(losses: np.ndarray, reach: np.ndarray, excess: float) -> np.ndarray:
    """Factor of the aspect ratios tried at which the loss is at most so much above the least."""
    near = losses <= losses.min(axis=0) + np.log1p(excess)
    return np.asarray(np.exp(near.mean(axis=0) * np.ptp(reach)))


def _edge(side: str, tried: tuple[float, float]) -> Flag:
    end = tried[0] if side == "low" else tried[1]
    text = (
        f"loss is least at an end of the aspect ratios tried, {tried[0]:.3g} to {tried[1]:.3g}: "
        f"the best one is {'at most' if side == 'low' else 'at least'} {end:.3g}"
    )
    return Flag("edge_optimum", text)
