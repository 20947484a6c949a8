"""Loss against the shape of networks of one size: depth against width, and heads.

    log L = log L* + c (log(d/L_n) - log r*)^2           the aspect ratio d/L_n of Kaplan et al.
                                                          2020, section 3.1 and figure 5
Runs of one size and compute; of networks that differ in their heads alone the best counts for the
parabola. It is by least squares; resamples add noise of the size that seeds show, or that the
parabola misses.
"""

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
    best, curvature = _minimum(found, centre)
    tried = float(np.exp(x.min())), float(np.exp(x.max()))
    spreads = [np.ptp(np.log(observations.loss[group == one])) for one in range(len(unique))]
    several = [len(np.unique(heads[group == one])) > 1 for one in range(len(unique))]
    apart = [float(s) for s, many in zip(spreads, several, strict=True) if many]
    cells = zip(depth, width, heads, params, observations.loss, strict=True)
    numbers = {
        "best_ratio": np.exp(best),
        "excess_at_double": np.expm1(curvature * np.log(2) ** 2),
        "range_1": _range(curvature, 0.01),
        "range_3": _range(curvature, 0.03),
    }
    return ShapeLaw(
        **judged(_flags(float(best[0]), tried)),
        **{name: estimate(float(one[0]), one[1:]) for name, one in numbers.items()},
        tried=tried,
        heads_spread=float(np.expm1(max(apart))) if apart else None,
        noise_sd=sd,
        cells=tuple(
            ShapeCell(int(a), int(b), int(h), float(n), float(c)) for a, b, h, n, c in cells
        ),
        failed_resamples=int(np.isnan(best[1:]).sum()),
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


def _minimum(found: np.ndarray, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """Where parabolas (3, R) are least, and their curvature; nan where they have no minimum."""
    curvature = np.where(found[0] > 0, found[0], np.nan)
    return centre - found[1] / (2 * curvature), curvature


def _range(curvature: np.ndarray, excess: float) -> np.ndarray:
    """Factor between the aspect ratios at which the loss is so much above the least."""
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(2 * np.sqrt(np.log1p(excess) / curvature)))


def _flags(best: float, tried: tuple[float, float]) -> tuple[Flag, ...]:
    span = f"{tried[0]:.3g} to {tried[1]:.3g}"
    if not np.isfinite(best):
        return (Flag("edge_optimum", f"no aspect ratio is best among {span}: loss is not convex"),)
    if not np.log(tried[0]) < best < np.log(tried[1]):
        text = f"the best aspect ratio, {np.exp(best):.3g}, lies outside those tried, {span}"
        return (Flag("edge_optimum", text),)
    return ()
