"""Two fits side by side: the same estimates of both, their differences, and the other's lines.

An interval of a difference comes from the two intervals alone (MOVER, Zou & Donner 2008), so that
an earlier fit.json, which has no resamples, is compared in the same way as a table fitted now:

    x - y - sqrt((x - x_low)^2 + (y_high - y)^2)  to  x - y + sqrt((x_high - x)^2 + (y - y_low)^2)

It holds for fits of different runs. Where both read the same file the fits are not independent,
and that is said.
"""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import BadInput
from configs.files import read_json
from scaling.fit.config import FitConfig
from scaling.fit.fit import SCHEMA, Fit, fit
from scaling.fit.laws import UNKNOWN, Estimate

_COMPARED = {"isoflop": ("a", "b"), "parametric": ("a", "b", "E", "alpha", "beta")}
_LEVELS = ("ci80", "ci90", "ci95")


def compared(fitted: Fit, config: FitConfig) -> Fit:
    """`fitted` with the entry `comparison` in its document. Raises BadInput.

    A table or sweep is fitted with the same options; `exclude` names runs of the first alone.
    """
    if config.compare is None:
        return fitted
    other, span = _other(Path(config.compare), config)
    document = fitted.document
    exponents = [
        _row(document["laws"], other["laws"], law, name)
        for law, names in _COMPARED.items()
        if law in document["laws"] or law in other["laws"]
        for name in names
    ]
    entry = {
        "this": " + ".join(config.paths),
        "other": config.compare,
        "warnings": [{"code": code, "text": text} for code, text in _doubts(document, other)],
        "estimates": exponents,
        "other_fit": {
            "range": span,
            "laws": {
                name: {k: v for k, v in law.items() if k != "residuals"}
                for name, law in other["laws"].items()
                if name in _COMPARED
            },
            "predictions": other.get("predictions") or [],
        },
    }
    return replace(fitted, document={**document, "comparison": entry})


def difference(x: Estimate, y: Estimate) -> Estimate:
    """x - y of two independent estimates, with intervals by MOVER; unknown where either is."""
    if x.value is None or y.value is None:
        return UNKNOWN
    gap = x.value - y.value
    intervals: dict[str, Any] = {}
    for level in _LEVELS:
        mine, theirs = getattr(x, level), getattr(y, level)
        if mine is not None and theirs is not None:
            below = math.hypot(max(x.value - mine[0], 0), max(theirs[1] - y.value, 0))
            above = math.hypot(max(mine[1] - x.value, 0), max(y.value - theirs[0], 0))
            intervals[level] = (gap - below, gap + above)
    se = math.hypot(x.se, y.se) if x.se is not None and y.se is not None else None
    return Estimate(gap, se, **intervals)


def _row(mine: dict[str, Any], theirs: dict[str, Any], law: str, name: str) -> dict[str, Any]:
    one, other = (_estimate(laws.get(law), name) for laws in (mine, theirs))
    gap = difference(one, other)
    return {
        "law": law,
        "name": name,
        "this": one.document(),
        "other": other.document(),
        "difference": gap.document(),
        "apart90": None if gap.ci90 is None else not gap.ci90[0] <= 0 <= gap.ci90[1],
    }


def _estimate(law: Any, name: str) -> Estimate:
    """An estimate of a law's entry in fit.json; unknown where there is none or it is malformed."""
    found = law.get(name) if isinstance(law, dict) else None
    if not isinstance(found, dict) or not _number(found.get("value")):
        bound = found.get("bound") if isinstance(found, dict) else None
        return Estimate(None, bound=bound if bound in ("low", "high") else None)
    pairs: dict[str, Any] = {}
    for level in _LEVELS:
        ends = found.get(level)
        if isinstance(ends, list) and len(ends) == 2 and all(map(_number, ends)):
            pairs[level] = (float(ends[0]), float(ends[1]))
    se = found.get("se")
    return Estimate(float(found["value"]), se if _number(se) else None, **pairs)


def _number(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def _other(path: Path, config: FitConfig) -> tuple[dict[str, Any], list[float] | None]:
    """The other fit's document and the FLOP its runs span, read if it is one, else fitted."""
    folder = path / "fit.json"
    if path.is_dir() and folder.is_file() and not (path / "plan.json").exists():
        path = folder
    if path.suffix == ".json" and path.is_file():
        document = read_json(path)
        if isinstance(document, dict) and "laws" in document:
            _check(path, document)
            inside = [
                row["flops"] for row in document["predictions"] if row.get("beyond", None) is None
            ]
            return document, [min(inside), max(inside)] if inside else None
    try:
        found = fit(replace(config, runs=str(path), compare=None, exclude=()))
    except BadInput as error:
        raise BadInput(f"compare: {error}") from None
    flops = found.observations.flops
    return found.document, [float(flops.min()), float(flops.max())]


def _check(path: Path, document: dict[str, Any]) -> None:
    if document.get("schema") != SCHEMA:
        raise BadInput(f"compare: {path}: schema {document.get('schema')!r}, expected {SCHEMA}")
    laws, rows = document.get("laws"), document.get("predictions")
    whole = isinstance(laws, dict) and all(
        isinstance(law, dict) and law.get("status") in ("ok", "flagged", "refused")
        for law in laws.values()
    )
    if not whole or not isinstance(rows, list):
        raise BadInput(f"compare: {path}: expected the fit.json of an earlier fit")
    for row in rows:
        if not (isinstance(row, dict) and _number(row.get("flops")) and row["flops"] > 0):
            raise BadInput(f"compare: {path}: predictions: found {row!r:.60}, expected a budget")


def _doubts(mine: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, str]]:
    """Why the two may not be comparable."""
    found = []
    if mine["convention"] != theirs.get("convention"):
        ways = [_ways(d.get("convention") or {}) for d in (mine, theirs)]
        found.append(("conventions_differ", f"N and C are counted {ways[0]}, and {ways[1]}"))
    units = [(d.get("options") or {}).get("loss_unit") for d in (mine, theirs)]
    if units[0] != units[1]:
        found.append(("loss_units_differ", f"losses are in {units[0]}, and in {units[1]}"))
    digests = [
        {run.get("sha256") for run in (d.get("provenance") or {}).get("runs") or []}
        for d in (mine, theirs)
    ]
    if digests[0] & digests[1]:
        text = "both fits read the same file: they are not independent, so the interval of their "
        found.append(("shared_runs", text + "difference is not to be relied on"))
    return found


def _ways(convention: dict[str, Any]) -> str:
    return f"as {convention.get('params')} and {convention.get('flops')}"
