"""N*, D* and the loss at the optimum as lines over compute, one a law, with their intervals.

A line comes from the law's own estimates; its 90% band joins the intervals of the predictions that
fit.json makes from the law, in log-log, and ends where they end.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from scaling.report.numbers import interval, point, rounded
from scaling.report.surface import surface_of
from scaling.report.wording import law_name, stands

POINTS = 121
BEYOND = 10.0  # the explorer goes this factor beyond the budgets, greyed
_QUANTITIES = {"n": "n_opt", "d": "d_opt", "loss": "loss"}


def frontiers(document: dict[str, Any], runs: list[float]) -> dict[str, dict[str, Any]]:
    """Per law that allocates compute: status, reason, measured range, and the line or null.

    The range is that of the valleys' vertices, or of `runs`, their FLOP, for a law without valleys.

    The line: flops, and n, d, loss each with _low and _high, as lists of one length with nulls.
    A line through valleys has no loss.
    """
    result = {}
    for key in ("isoflop", "parametric", "envelope"):
        law = (document.get("laws") or {}).get(key)
        if not isinstance(law, dict):
            continue
        vertices = [float(v["flops"]) for v in law.get("valleys") or [] if point(v.get("n_opt"))]
        measured = vertices or runs
        result[key] = {
            "name": law_name(key),
            "status": law.get("status"),
            "reason": law.get("reason"),
            "range": [min(measured), max(measured)] if measured else None,
            "line": _line(document, key, law, measured) if stands(law) and measured else None,
        }
    return result


def other_frontiers(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The lines of the fit that this one is compared with, under keys `LAW-other`; {} if none."""
    comparison = document.get("comparison")
    if not comparison:
        return {}
    other = comparison["other_fit"]
    return {
        f"{key}-other": {**law, "name": f"{law['name']}, {comparison['other']}"}
        for key, law in frontiers(other, other["range"] or []).items()
        if law["line"]
    }


def _line(
    document: dict[str, Any], key: str, law: dict[str, Any], measured: list[float]
) -> dict[str, list[float | None]] | None:
    stated = [row for row in document.get("predictions") or [] if row.get("law") == key]
    stated.sort(key=lambda row: row["flops"])
    valleys = law.get("valleys") or []
    predicted = [float(row["flops"]) for row in stated]
    reach = np.geomspace(min(measured) / BEYOND, max([BEYOND * max(measured), *predicted]), POINTS)
    flops = np.unique([*reach, min(measured), max(measured), *predicted])
    if key == "parametric":
        surface = surface_of(document)
        if surface is None:
            return None
        n, d = surface.optimal_allocation(flops)
        values = {"n": n, "d": d, "loss": surface.predict_loss(n, d)}
    else:
        a, b = point(law.get("a")), point(law.get("b"))
        if a is None or b is None or not (stated or valleys):
            return None
        values = {
            "n": _power_law(flops, stated or valleys, "n_opt", a),
            "d": _power_law(flops, stated or valleys, "d_opt", b),
            # Between budgets the loss bends: a chord through the valleys' losses lies above it.
            "loss": np.full(len(flops), np.nan),
        }
    line = {"flops": rounded(flops)}
    for name, quantity in _QUANTITIES.items():
        line[name] = rounded(values[name])
        for side, suffix in enumerate(("low", "high")):
            line[f"{name}_{suffix}"] = rounded(
                _between(flops, stated, lambda row, s=side, q=quantity: _end(row.get(q), s))
            )
    return line


def _power_law(
    flops: np.ndarray, anchors: list[dict[str, Any]], quantity: str, exponent: float
) -> np.ndarray:
    known = [(row["flops"], value) for row in anchors if (value := point(row.get(quantity)))]
    if not known:
        return np.full(len(flops), np.nan)
    log_scale = np.mean([np.log(value) - exponent * np.log(c) for c, value in known])
    return np.exp(log_scale + exponent * np.log(flops))


def _between(
    flops: np.ndarray, rows: list[dict[str, Any]], read: Callable[..., float | None]
) -> np.ndarray:
    """Straight lines in log-log between the stated values; nan outside them."""
    known = [(float(row["flops"]), value) for row in rows if (value := read(row))]
    if not known:
        return np.full(len(flops), np.nan)
    x, y = np.log(np.array(known)).T
    inside = np.interp(np.log(flops), x, y, left=np.nan, right=np.nan)
    return np.exp(inside)


def _end(estimate: Any, side: int) -> float | None:
    ends = interval(estimate)
    return ends[side] if ends and ends[side] > 0 else None
