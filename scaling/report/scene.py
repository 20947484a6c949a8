"""What the pictures show, as plain arrays: drawn in print by figures.py, on screen by page.js.

Both read this one description, so a figure in the folder and a figure in the page cannot differ. A
law that was refused has no lines here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from scaling.fit.observations import Observations
from scaling.report import wording
from scaling.report.allocation import frontiers
from scaling.report.numbers import interval, point
from scaling.report.surface import contours, residuals

CURVE_BINS = 120
_SAME_BUDGET = 0.1  # in log FLOP: what a study calls one budget lies this close together


def scene(
    document: dict[str, Any],
    observations: Observations,
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
) -> dict[str, Any]:
    """The content of every picture as JSON-ready lists; a missing part is null or empty."""
    budgets = _budgets(document, observations)
    return {
        "axes": asdict(wording.axes(document, observations)),
        "points": _points(document, observations, budgets),
        "seeds": _seeds(document, observations, curves, budgets),
        "budgets": budgets,
        "valleys": _valleys(document, observations, budgets),
        "laws": frontiers(document, observations, budgets),
        "surface": contours(document, observations),
        "curves": _curves(observations, curves),
    }


def rounded(values: Any) -> list[float | None]:
    """Six significant digits, enough for any picture; not-a-number becomes null."""
    return [float(f"{v:.6g}") if np.isfinite(v) else None for v in np.asarray(values, dtype=float)]


def _budgets(document: dict[str, Any], observations: Observations) -> list[float]:
    valleys = ((document.get("laws") or {}).get("isoflop") or {}).get("valleys") or []
    found = [v["flops"] for v in valleys if v.get("flops")]
    if not found:
        asked = observations.flops_budget
        found = [float(f) for f in np.unique(asked[np.isfinite(asked)])]
    return sorted(found)


def _budget_index(flops: np.ndarray, budgets: list[float]) -> list[int]:
    """The budget each run belongs to, -1 for none."""
    if not budgets:
        return [-1] * len(flops)
    distance = np.abs(np.log(flops)[:, None] - np.log(budgets)[None, :])
    nearest = distance.argmin(axis=1)
    near = distance[np.arange(len(flops)), nearest] < _SAME_BUDGET
    return [int(i) if ok else -1 for i, ok in zip(nearest, near, strict=True)]


def _points(
    document: dict[str, Any], observations: Observations, budgets: list[float]
) -> dict[str, Any]:
    asked = observations.flops_budget
    group = np.where(np.isfinite(asked), asked, observations.flops)
    return {
        "run_id": list(observations.run_id),
        "params": rounded(observations.params),
        "tokens": rounded(observations.tokens),
        "flops": rounded(observations.flops),
        "loss": rounded(observations.loss),
        "loss_se": rounded(observations.loss_se),
        "budget": _budget_index(group, budgets),
        "residual": residuals(document, observations),
    }


def _seeds(
    document: dict[str, Any],
    observations: Observations,
    curves: Mapping[str, Sequence[Mapping[str, Any]]],
    budgets: list[float],
) -> dict[str, Any]:
    """Runs that were averaged into one observation, each by itself, from its last logged row.

    N is FLOP / 6 D, which is N_eff exactly and the convention of a sweep's own table.
    """
    single = set(observations.run_id)
    excluded = {e.run_id for e in observations.excluded}
    found = []
    for run_id, rows in curves.items():
        last = rows[-1] if rows else {}
        loss = point(last.get("val_loss"))
        if run_id in excluded or loss is None or (run_id in single and not observations.merged):
            continue
        if last.get("tokens") and last.get("flops"):
            tokens, flops = float(last["tokens"]), float(last["flops"])
            found.append((run_id, flops / (6 * tokens), tokens, flops, loss))
    merged = _merged_only(found, observations)
    return {
        "run_id": [row[0] for row in merged],
        **{
            key: rounded([row[i] for row in merged])
            for i, key in enumerate(("params", "tokens", "flops", "loss"), start=1)
        },
        "budget": _budget_index(np.array([row[3] for row in merged]), budgets),
    }


def _merged_only(found: list[Any], observations: Observations) -> list[Any]:
    """Of the runs found, those that share a cell (N, D) with another run."""
    cells: dict[tuple[int, int], list[Any]] = {}
    for row in found:
        cells.setdefault((round(1000 * np.log(row[1])), round(1000 * np.log(row[2]))), []).append(
            row
        )
    return [row for rows in cells.values() if len(rows) > 1 for row in rows]


def _valleys(
    document: dict[str, Any], observations: Observations, budgets: list[float]
) -> list[dict[str, Any]]:
    """Each valley with its vertex and, where the law stands, the parabola through that vertex.

    The parabola is drawn in log N through the vertex of fit.json; its curvature is least squares
    on the `n_points` runs nearest to it.
    """
    law = (document.get("laws") or {}).get("isoflop") or {}
    asked = observations.flops_budget
    group = np.where(np.isfinite(asked), asked, observations.flops)
    index = np.array(_budget_index(group, budgets), dtype=int)
    result = []
    for valley in law.get("valleys") or []:
        n_opt, loss = point(valley.get("n_opt")), point(valley.get("loss"))
        chosen = index == (budgets.index(valley["flops"]) if valley.get("flops") in budgets else -2)
        entry: dict[str, Any] = {
            "flops": valley.get("flops"),
            "n_opt": n_opt,
            "n_interval": interval(valley.get("n_opt")),
            "d_opt": point(valley.get("d_opt")),
            "d_interval": interval(valley.get("d_opt")),
            "loss": loss,
            "flags": [_flag(flag) for flag in valley.get("flags") or []],
            "curve": None,
        }
        if n_opt and loss and chosen.sum() >= 3:
            x = np.log(observations.params[chosen] / n_opt)
            y = observations.loss[chosen] - loss
            nearest = np.argsort(np.abs(x))[: max(3, int(valley.get("n_points") or 3))]
            curvature = float((x[nearest] ** 2 @ y[nearest]) / max((x[nearest] ** 4).sum(), 1e-12))
            reach = np.linspace(min(x[nearest].min(), 0), max(x[nearest].max(), 0), 60)
            entry["curve"] = {
                "params": rounded(n_opt * np.exp(reach)),
                "loss": rounded(loss + curvature * reach**2),
            }
        result.append(entry)
    return result


def _flag(flag: Any) -> str:
    return str(flag.get("code", flag)) if isinstance(flag, Mapping) else str(flag)


def _curves(
    observations: Observations, curves: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[dict[str, Any]]:
    """Training loss against compute: the mean of the logged rows in equal steps of log FLOP."""
    params = dict(zip(observations.run_id, observations.params, strict=True))
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
        thin = _binned(logged)
        n = params.get(run_id, logged[-1, 0] / (6 * logged[-1, 1]))
        result.append(
            {
                "run_id": run_id,
                "params": float(f"{n:.6g}"),
                "flops": rounded(thin[:, 0]),
                "tokens": rounded(thin[:, 1]),
                "loss": rounded(thin[:, 2]),
                "final": point(rows[-1].get("val_loss")),
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
