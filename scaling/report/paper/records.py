"""The numbers of a fit as rows: estimates, minima, residuals, resamples.

The same rows are the CSV of a paper and the frames of a notebook. A number that is unknown is None.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from scaling.fit.pipeline import Fit
from scaling.fit.results.estimate import Estimate
from scaling.report.tables.laws import law_estimates

Row = dict[str, Any]
_LEVELS = ("ci80", "ci90", "ci95")
_SURFACE = ("a", "b", "E", "A", "B", "alpha", "beta")


def estimates(fit: Fit) -> list[Row]:
    """Every estimate of every law: value, standard error, and the ends of its intervals.

    `parameter` is dotted where a law has parts, as L_N.alpha of Kaplan's.
    """
    return [
        {
            "law": name,
            "status": law.status,
            "parameter": ".".join(path),
            "value": estimate.value,
            "se": estimate.se,
            **_ends("", estimate, _LEVELS),
            "bound": estimate.bound,
        }
        for name, law in fit.document.laws.items()
        for path, estimate in law_estimates(law)
    ]


def minima(fit: Fit) -> list[Row]:
    """The minimum of each IsoFLOP curve, in FLOP, parameters, tokens and the unit of the loss."""
    law = fit.document.isoflop
    return [
        {
            "flops": one.flops,
            **_estimate("n_opt", one.n_opt),
            **_estimate("d_opt", one.d_opt),
            **_estimate("loss", one.loss),
            "n_points": one.n_points,
            "flags": " ".join(flag.code for flag in one.flags),
        }
        for one in (law.valleys if law else ())
    ]


def residuals(fit: Fit) -> list[Row]:
    """Each observation with the surface's loss and log(observed/fitted); none without a surface."""
    surface = fit.fits.parametric.surface if fit.fits.parametric else None
    if surface is None:
        return []
    runs = fit.observations
    fitted = np.asarray(surface.predict_loss(runs.params, runs.tokens))
    columns = {
        "params": runs.params,
        "tokens": runs.tokens,
        "flops": runs.flops,
        "flops_budget": runs.flops_budget,
        "loss": runs.loss,
        "loss_fitted": fitted,
        "residual": np.log(runs.loss / fitted),
    }
    return list(_rows({"run_id": np.array(runs.run_id, dtype=object)} | columns))


def bootstrap(fit: Fit) -> list[Row]:
    """The resamples of the headline laws, one a row; None where a resample has no answer.

    `n_coef` and `d_coef` are those of N* = n_coef C^a and D* = d_coef C^b.
    """
    found: list[Row] = []
    isoflop, surface = fit.fits.isoflop, fit.fits.parametric
    if isoflop is not None and isoflop.frontier is not None:
        n, d = isoflop.frontier.n_samples, isoflop.frontier.d_samples
        with np.errstate(over="ignore"):
            coefficients = {"n_coef": n.coefficient, "d_coef": d.coefficient}
        found += _samples("isoflop", {"a": n.slope, "b": d.slope} | coefficients)
    if surface is not None and surface.samples is not None:
        found += _samples("parametric", {key: getattr(surface.samples, key) for key in _SURFACE})
    names = dict.fromkeys(key for row in found for key in row)
    return [dict.fromkeys(names) | row for row in found]


RECORDS: Mapping[str, Callable[[Fit], list[Row]]] = {
    "estimates": estimates,
    "minima": minima,
    "residuals": residuals,
    "bootstrap": bootstrap,
}


def _samples(law: str, columns: Mapping[str, Any]) -> list[Row]:
    rows = _rows({key: np.atleast_1d(values) for key, values in columns.items()})
    return [{"law": law, "resample": i} | row for i, row in enumerate(rows)]


def _rows(columns: Mapping[str, np.ndarray]) -> Iterator[Row]:
    """Rows of columns of one length; what is no finite number is None."""
    for cells in zip(*(column.tolist() for column in columns.values()), strict=True):
        known = (cell if isinstance(cell, str) or np.isfinite(cell) else None for cell in cells)
        yield dict(zip(columns, known, strict=True))


def _estimate(name: str, estimate: Estimate) -> Row:
    return {name: estimate.value} | _ends(f"{name}_", estimate, ("ci90",))


def _ends(start: str, estimate: Estimate, levels: tuple[str, ...]) -> Row:
    """The ends of an estimate's intervals by name, as ci90_low."""
    pairs = {level: getattr(estimate, level) or (None, None) for level in levels}
    return {
        f"{start}{level}_{side}": end
        for level, ends in pairs.items()
        for side, end in zip(("low", "high"), ends, strict=True)
    }
