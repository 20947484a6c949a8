"""From runs to the document of fit.json: read, admit, fit each law, validate, predict."""

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import scipy

from scaling.fit.columns import read_rows, refuse
from scaling.fit.config import HEADLINE_LAWS, ConventionConfig, FitConfig
from scaling.fit.isoflop import IsoflopFit, fit_isoflop
from scaling.fit.laws import LawFit
from scaling.fit.observations import Observations, curves_of, observe
from scaling.fit.parametric import ParametricFit, fit_parametric
from scaling.fit.prediction import budgets_to_predict, predictions
from scaling.fit.tables import Row
from scaling.fit.validation import hold_out
from training.metrics import read_metrics

SCHEMA = 1
# Resamples behind the exponents of the other conventions: enough for percentiles, and quick.
_CONVENTION_RESAMPLES = 500


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    document      fit.json, plain JSON values
    observations  the points behind it
    curves        rows of each run's training curve by run_id; {} where none is known
    """

    document: dict[str, Any]
    observations: Observations
    curves: dict[str, list[dict[str, Any]]]

    @property
    def stands(self) -> bool:
        """Whether the laws that must stand do; if not, the exit status is 4."""
        return self.document["status"] != "refused"


def fit(config: FitConfig) -> Fit:
    """Fit the laws to the runs that `config` names; a law may be refused. Raises BadInput."""
    rows, own = read_rows(config)
    observations = observe(rows, config)
    isoflop = parametric = None
    if "isoflop" in asked_laws(config):
        isoflop = fit_isoflop(
            observations, config.n_bootstrap, config.seed, config.budget_tolerance
        )
    if "parametric" in asked_laws(config):
        parametric = fit_parametric(observations, config.n_bootstrap, config.seed, config.delta)
    laws = [part.law for part in (isoflop, parametric) if part is not None]
    flops = budgets_to_predict(config.predict.flops, observations, isoflop)
    document = {
        "schema": SCHEMA,
        "status": _status(laws, config),
        "inputs": _inputs(observations, config),
        "options": {
            "objective": "huber",
            "delta": config.delta,
            "reduce": config.reduce,
            "holdout": config.holdout,
            "n_bootstrap": config.n_bootstrap,
            "failed_resamples": sum(law.details.get("failed_resamples", 0) for law in laws),
            "seed": config.seed,
            "loss_unit": config.loss_unit,
            "budget_tolerance": config.budget_tolerance,
        },
        "provenance": _provenance(config),
        "convention": _convention(rows, own, config),
        "warnings": _warnings(rows, observations, isoflop, parametric, config),
        "laws": {law.name: law.document() for law in laws},
        "conventions": _conventions(rows, config),
        "predictions": predictions(flops, observations, isoflop, parametric),
        "holdout": hold_out(observations, config),
    }
    return Fit(document, observations, _curves(rows, config))


def parts(config: FitConfig) -> list[tuple[Path, FitConfig]]:
    """The fits that `config` asks for with their folders: one, or one for each value of `by`."""
    out = Path(config.out) if config.out else _default_out(config)
    if config.by is None:
        return [(out, config)]
    rows, _ = read_rows(config)
    values = {str(row.values[config.by]) for row in rows if row.values.get(config.by) is not None}
    for row in rows:
        if row.values.get(config.by) is None:
            raise refuse(row, config.by, "nothing", "a value, since by= names this column")
    return [
        (
            out / folder_name(value),
            replace(config, where={**config.where, config.by: value}, by=None),
        )
        for value in sorted(values)
    ]


def folder_name(value: str) -> str:
    """A file name for any text: one level, no dots alone, at most 200 bytes."""
    name = quote(value, safe=" +=,@") or "%"
    if name.startswith((".", "-")):
        name = f"%{ord(name[0]):02X}" + name[1:]
    if len(name) > 200:
        name = name[:160] + "-" + hashlib.sha256(value.encode()).hexdigest()[:16]
    return name


def _default_out(config: FitConfig) -> Path:
    first = Path(config.paths[0])
    if len(config.paths) == 1 and first.is_dir():
        return first / "fit"
    return Path("fits") / folder_name("+".join(Path(path).stem for path in config.paths))


def asked_laws(config: FitConfig) -> tuple[str, ...]:
    """The laws to fit: those named, else all of this version."""
    return config.laws or HEADLINE_LAWS


def _status(laws: Sequence[LawFit], config: FitConfig) -> str:
    standing = {law.name for law in laws if law.status != "refused"}
    if config.require and (
        not standing & set(config.require) or (config.laws and set(config.laws) - standing)
    ):
        return "refused"
    if len(standing) < len(laws) or any(law.flags for law in laws):
        return "flagged"
    return "ok"


def _inputs(observations: Observations, config: FitConfig) -> dict[str, Any]:
    return {
        "planned": observations.planned,
        "used": len(observations) + observations.merged,
        "observations": len(observations),
        "merged": observations.merged,
        "excluded": [{"run_id": e.run_id, "reason": e.reason} for e in observations.excluded],
        "where": dict(config.where) or None,
    }


def _convention(rows: Sequence[Row], own: bool, config: FitConfig) -> dict[str, str]:
    has_flops = any(row.values.get("flops") is not None for row in rows)
    given = "exact" if own else "given" if has_flops else "6nd"
    return {
        "params": config.convention.params or ("effective" if own else "given"),
        "flops": config.convention.flops or given,
    }


def _conventions(rows: Sequence[Row], config: FitConfig) -> list[dict[str, Any]]:
    """The exponents again under every way of counting that the table has columns for.

    The surface's closed forms need C = 6 N D, so it is fitted under that count alone; valleys need
    no relation between N, D and C.
    """
    found = []
    resamples = min(config.n_bootstrap, _CONVENTION_RESAMPLES)
    for params in ("effective", "total", "matmul", "non_embedding"):
        if not _has(rows, f"params_{params}"):
            continue
        for flops in ("exact", "6nd"):
            if flops == "exact" and not _has(rows, "flops_exact"):
                continue
            other = replace(config, convention=ConventionConfig(params, flops))
            observations = observe(rows, other)
            laws = []
            if "isoflop" in asked_laws(config):
                tolerance = config.budget_tolerance
                laws.append(fit_isoflop(observations, resamples, config.seed, tolerance).law)
            if "parametric" in asked_laws(config) and (flops == "6nd" or params == "effective"):
                fitted = fit_parametric(observations, resamples, config.seed, config.delta)
                laws.append(fitted.law)
            found += [
                {
                    "params": params,
                    "flops": flops,
                    "law": law.name,
                    "a": law.estimates["a"].document(),
                    "b": law.estimates["b"].document(),
                }
                for law in laws
                if law.status != "refused"
            ]
    return found


def _has(rows: Sequence[Row], name: str) -> bool:
    used = [row for row in rows if row.values.get("status") in (None, "done")]
    return bool(used) and all(row.values.get(name) is not None for row in used)


def _warnings(
    rows: Sequence[Row],
    observations: Observations,
    isoflop: IsoflopFit | None,
    parametric: ParametricFit | None,
    config: FitConfig,
) -> list[dict[str, str]]:
    found = []
    laws = [part.law for part in (isoflop, parametric) if part is not None]
    if observations.excluded:
        text = f"{len(observations.excluded)} of {observations.planned} planned runs are not used"
        found.append({"code": "excluded_runs", "text": text})
    stale = sorted(str(row.values["run_id"]) for row in rows if row.values.get("stale"))
    if stale:
        text = f"{len(stale)} runs that the plan no longer asks for: {', '.join(stale[:5])}"
        found.append({"code": "stale_runs", "text": text})
    epochs = observations.columns.get("epochs")
    if epochs is not None and np.nanmax(epochs) > 1:
        text = f"{int((epochs > 1).sum())} runs saw their data more than once"
        found.append({"code": "repeated_data", "text": text})
    if config.loss_unit == "bpb":
        text = "losses are bits per byte: E, A and B are in that unit"
        found.append({"code": "loss_unit", "text": text})
    if any(flag.code == "repeated_points" for part in laws for flag in part.flags):
        found.append({"code": "repeated_points", "text": _alternative(rows, config)})
    if isoflop and parametric:
        one, other = isoflop.law.estimates.get("a"), parametric.law.estimates.get("a")
        if one and other and one.ci90 and other.ci90:
            apart = one.ci90[0] > other.ci90[1] or other.ci90[0] > one.ci90[1]
            if apart:
                text = (
                    f"isoflop gives a = {one.value:.3f}, parametric {other.value:.3f}; "
                    "their 90% intervals do not meet"
                )
                found.append({"code": "laws_disagree", "text": text})
    return found


def _alternative(rows: Sequence[Row], config: FitConfig) -> str:
    """The exponents had the best of each repeated point been taken, in words."""
    other = observe(rows, replace(config, reduce="best"))
    laws = []
    if "isoflop" in asked_laws(config):
        laws.append(fit_isoflop(other, 0, config.seed, config.budget_tolerance).law)
    if "parametric" in asked_laws(config):
        laws.append(fit_parametric(other, 0, config.seed, config.delta).law)
    exponents = [
        f"{law.name} would give a = {law.estimates['a'].value:.4f}"
        if law.status != "refused"
        else f"{law.name} would be refused"
        for law in laws
    ]
    return f"with reduce=best, {len(other)} points remain: {', '.join(exponents)}"


def _curves(rows: Sequence[Row], config: FitConfig) -> dict[str, list[dict[str, Any]]]:
    curves = curves_of(rows)
    for path in map(Path, config.paths):
        if path.is_dir():
            for trial in sorted((path / "trials").iterdir()):
                if metrics := read_metrics(trial):
                    curves[trial.name] = metrics
    return curves


def _provenance(config: FitConfig) -> dict[str, Any]:
    return {
        "runs": [{"path": str(path), "sha256": _digest(Path(path))} for path in config.paths],
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _digest(path: Path) -> str:
    """sha256 of a table, or of a sweep's plan and records in order of name."""
    files = [path] if path.is_file() else [path / "plan.json", *path.glob("trials/*/record.json")]
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
