"""The fitted surface L = E + A/N^alpha + B/D^beta (Hoffmann 2022): contours and residuals."""

from dataclasses import asdict
from typing import Any

import numpy as np

from scaling.fit.laws import Surface
from scaling.fit.observations import Observations
from scaling.report.numbers import point
from scaling.report.wording import stands

GRID = 80
LEVELS = 11
_LABEL = np.array([0.05, 0.035])  # width and height of a contour's label, of the picture's
_MARGIN = 1.6  # the picture ends this factor beyond the runs: further out nothing was measured


def surface_of(document: dict[str, Any]) -> Surface | None:
    """The parametric law's surface, None where the law is refused or has a term missing.

    E is 0 where the fit left it at its lower bound.
    """
    law = (document.get("laws") or {}).get("parametric") or {}
    if not stands(law):
        return None
    values = {name: point(law.get(name)) for name in ("E", "A", "B", "alpha", "beta")}
    if values["E"] is None and (law.get("E") or {}).get("bound") == "low":
        values["E"] = 0.0
    if any(value is None for value in values.values()):
        return None
    found = Surface(**{name: float(value or 0.0) for name, value in values.items()})
    return found if min(found.A, found.B, found.alpha, found.beta) > 0 else None


def residuals(document: dict[str, Any], observations: Observations) -> list[float] | None:
    """log(observed / fitted) of every observation."""
    surface = surface_of(document)
    if surface is None or not len(observations.loss):
        return None
    fitted = surface.predict_loss(observations.params, observations.tokens)
    return [float(f"{r:.5g}") for r in np.log(observations.loss / fitted)]


def contours(document: dict[str, Any], observations: Observations) -> dict[str, Any] | None:
    """Lines of equal loss over compute and parameters, where runs lie near; None without a law.

    {"constants": {...}, "lines": [{"loss", "paths": [{"flops", "params", "labelled"}]}]}
    """
    surface = surface_of(document)
    if surface is None or len(observations.loss) < 2:
        return None
    import contourpy  # with matplotlib; only where a picture is made

    flops = _spread(observations.flops)
    params = _spread(observations.params)
    tokens = flops[None, :] / (6 * params[:, None])
    loss = surface.predict_loss(np.broadcast_to(params[:, None], tokens.shape), tokens)
    seen = (tokens > observations.tokens.min() / 3) & (tokens < observations.tokens.max() * 3)
    if not seen.any():  # the table's FLOP are far from 6 N D
        return {"constants": asdict(surface), "lines": []}
    loss = np.where(seen, loss, np.nan)
    generator = contourpy.contour_generator(
        np.log(flops), np.log(params), np.ma.masked_invalid(loss), line_type="Separate"
    )
    lines = []
    labels: list[np.ndarray] = []  # ends of paths that carry their loss, in log FLOP and log N
    for level in _levels(np.nanmin(loss), min(np.nanmax(loss), observations.loss.max() * 1.03)):
        found = [np.asarray(path, dtype=float) for path in generator.lines(level)]
        paths = []
        for path in (path for path in found if len(path) > 3):
            size = np.log([flops[-1] / flops[0], params[-1] / params[0]])
            crowded = any((np.abs(path[-1] - other) < _LABEL * size).all() for other in labels)
            if not crowded:
                labels.append(path[-1])
            paths.append(_path(np.exp(path), not crowded))
        if paths:
            lines.append({"loss": level, "paths": paths})
    return {"constants": asdict(surface), "lines": lines}


def _spread(values: np.ndarray) -> np.ndarray:
    return np.geomspace(values.min() / _MARGIN, values.max() * _MARGIN, GRID)


def _levels(low: float, high: float) -> list[float]:
    decimals = 3 if high - low < 0.2 else 2
    spaced = np.geomspace(low * 1.005, high, LEVELS)
    return sorted({round(float(level), decimals) for level in spaced})


def _path(path: np.ndarray, labelled: bool) -> dict[str, Any]:
    thin = np.unique(np.linspace(0, len(path) - 1, min(len(path), 60)).astype(int))
    return {
        "flops": [float(f"{x:.5g}") for x in path[thin, 0]],
        "params": [float(f"{y:.5g}") for y in path[thin, 1]],
        "labelled": labelled,
    }
