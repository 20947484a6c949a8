"""What the pictures show, as plain arrays: drawn in print by figures.py, on screen by plots.js.

Both read this one description, so a figure in the folder and a figure in the page cannot differ. A
law that was refused has no lines here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from scaling.fit.observations import Observations
from scaling.fit.spline import akima_curve
from scaling.fit.valleys import Valley, budgets, find_valleys, parabola
from scaling.report import wording
from scaling.report.allocation import frontiers, other_frontiers
from scaling.report.charts import charts
from scaling.report.numbers import interval, point, rounded
from scaling.report.surface import contours, residuals

CURVE_BINS = 40  # few enough that a batch's noise averages out late in a run
_TOLERANCE = 0.1  # of configs/fit.yaml, for a document that does not state its own

Curves = Mapping[str, Sequence[Mapping[str, Any]]]


def scene(document: dict[str, Any], observations: Observations, curves: Curves) -> dict[str, Any]:
    """The content of every picture as JSON-ready lists; a missing part is null or empty."""
    options = document.get("options") or {}
    tolerance = float(options.get("budget_tolerance") or _TOLERANCE)
    valleys = find_valleys(observations, tolerance) if len(observations.run_id) else ()
    groups = [valley.flops for valley in valleys]
    membership = np.full(len(observations.run_id), -1)
    if groups:
        for flops, members in budgets(observations, tolerance):
            membership[members] = groups.index(flops) if flops in groups else -1
    axes = wording.axes(document, observations)
    return {
        "axes": asdict(axes),
        "points": _points(document, observations, membership),
        "seeds": _seeds(observations, curves, membership),
        "budgets": groups,
        "valleys": _valleys(document, valleys),
        "laws": frontiers(document, [float(c) for c in observations.flops]),
        "others": other_frontiers(document),
        "surface": contours(document, observations),
        "charts": charts(document, observations, axes),
        "curves": _curves(observations, curves),
    }


def _points(
    document: dict[str, Any], observations: Observations, membership: np.ndarray
) -> dict[str, Any]:
    return {
        "run_id": list(observations.run_id),
        "params": rounded(observations.params),
        "tokens": rounded(observations.tokens),
        "flops": rounded(observations.flops),
        "loss": rounded(observations.loss),
        "loss_se": rounded(observations.loss_se),
        "budget": [int(i) for i in membership],
        "residual": residuals(document, observations),
    }


def _members(observations: Observations) -> dict[str, int]:
    """The row that each run of an average of seeds went into."""
    return {
        run_id: row
        for row, name in enumerate(observations.run_id)
        for run_id in observations.members.get(name, ())
    }


def _seeds(observations: Observations, curves: Curves, membership: np.ndarray) -> dict[str, Any]:
    """Runs that were averaged into one observation, each with its own last held-out loss."""
    found = [
        (run_id, row, loss)
        for run_id, row in _members(observations).items()
        if (loss := _final_loss(curves.get(run_id))) is not None
    ]
    rows = [row for _, row, _ in found]
    return {
        "run_id": [run_id for run_id, _, _ in found],
        "params": rounded(observations.params[rows]),
        "tokens": rounded(observations.tokens[rows]),
        "flops": rounded(observations.flops[rows]),
        "loss": rounded([loss for _, _, loss in found]),
        "budget": [int(membership[row]) for row in rows],
    }


def _final_loss(rows: Sequence[Mapping[str, Any]] | None) -> float | None:
    return point(rows[-1].get("val_loss")) if rows else None


def _valleys(document: dict[str, Any], valleys: Sequence[Valley]) -> list[dict[str, Any]]:
    """Each valley of fit.json with its vertex and, where it has one, the curve of its method."""
    law = (document.get("laws") or {}).get("isoflop") or {}
    shapes = {valley.flops: valley for valley in valleys}
    curve = _spline if law.get("method") == "spline" else _parabola
    result = []
    for stated in law.get("valleys") or []:
        shape = shapes.get(stated["flops"])
        n_opt = point(stated.get("n_opt"))
        # The spline's draws of noise may find a vertex where the least loss is at an edge.
        convex = shape is not None and (shape.reason is None or shape.open_edge)
        usable = n_opt is not None and convex
        result.append(
            {
                "flops": stated["flops"],
                "n_opt": n_opt,
                "n_interval": interval(stated.get("n_opt")),
                "d_opt": point(stated.get("d_opt")),
                "d_interval": interval(stated.get("d_opt")),
                "loss": point(stated.get("loss")),
                "flags": [str(flag.get("text")) for flag in stated.get("flags") or []],
                "curve": curve(shape) if shape is not None and usable else None,
            }
        )
    return result


def _parabola(valley: Valley) -> dict[str, list[float | None]]:
    """The least-squares parabola in log N over the sizes it was fitted to."""
    x = valley.log_n[valley.window]
    constant, slope, bend = parabola(x - x.mean(), valley.loss[None, valley.window])[0]
    reach = np.linspace(x[0], x[-1], 60)
    from_middle = reach - x.mean()
    return {
        "params": rounded(np.exp(reach)),
        "loss": rounded(constant + slope * from_middle + bend * from_middle**2),
    }


def _spline(valley: Valley) -> dict[str, list[float | None]]:
    """Akima's spline of log loss through all the sizes, of which the vertex is a median."""
    reach = np.unique(
        np.concatenate([np.linspace(valley.log_n[0], valley.log_n[-1], 60), valley.log_n])
    )
    loss = np.exp(akima_curve(valley.log_n, np.log(valley.loss), reach))
    return {"params": rounded(np.exp(reach)), "loss": rounded(loss)}


def _curves(observations: Observations, curves: Curves) -> list[dict[str, Any]]:
    """Training loss against compute: the mean of the logged rows in equal steps of log FLOP."""
    rows_of = _members(observations) | {name: i for i, name in enumerate(observations.run_id)}
    excluded = {lost.run_id: lost.reason for lost in observations.excluded}
    result = []
    for run_id, rows in curves.items():
        logged = np.array(
            [
                (row["flops"], row["tokens"], row["loss"])
                for row in rows
                if point(row.get("flops")) and point(row.get("tokens")) and point(row.get("loss"))
            ],
            dtype=float,
        )
        if len(logged) < 2:
            continue
        row = rows_of.get(run_id)
        params = logged[-1, 0] / (6 * logged[-1, 1]) if row is None else observations.params[row]
        thin = _binned(logged)
        result.append(
            {
                "run_id": run_id,
                "excluded": excluded.get(run_id),
                "params": float(f"{params:.6g}"),
                "flops": rounded(thin[:, 0]),
                "tokens": rounded(thin[:, 1]),
                "loss": rounded(thin[:, 2]),
            }
        )
    return sorted(result, key=lambda curve: (curve["params"], curve["run_id"]))


def _binned(logged: np.ndarray) -> np.ndarray:
    if len(logged) <= CURVE_BINS:
        return logged
    log_flops = np.log(logged[:, 0])
    edges = np.linspace(log_flops.min(), log_flops.max(), CURVE_BINS + 1)
    bins = np.clip(np.digitize(log_flops, edges) - 1, 0, CURVE_BINS - 1)
    return np.array([logged[bins == i].mean(axis=0) for i in np.unique(bins)])
