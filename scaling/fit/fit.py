"""From runs to the document of fit.json: read, admit, fit each law, validate, predict."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import scipy

from configs.errors import BadInput
from scaling.fit.cells import either
from scaling.fit.columns import Row
from scaling.fit.config import FitConfig
from scaling.fit.conventions import conventions
from scaling.fit.curves import shown_rows
from scaling.fit.diagnostics import diagnostics
from scaling.fit.envelope import fit_envelope, predictions_of, traces_of
from scaling.fit.further import fit_further
from scaling.fit.headline import HeadlineFits, fit_headline
from scaling.fit.inputs import Sources, read_inputs, read_sources
from scaling.fit.ladder_table import ladder_table
from scaling.fit.laws import LawFit
from scaling.fit.observations import Observations, admitted, observe
from scaling.fit.prediction import answers, budgets_to_predict, predictions
from scaling.fit.remarks import remarks
from scaling.fit.validation import hold_out

SCHEMA = 1


class NoUsableRun(BadInput):
    """Every row asked for is excluded."""


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    document      fit.json, plain JSON values
    observations  the points behind it
    curves        rows of each run's training curve by run_id; {} where none is known
    stands        whether the laws that must stand do; if not, the exit status is 4
    """

    document: dict[str, Any]
    observations: Observations
    curves: dict[str, list[dict[str, Any]]]
    stands: bool


def fit(config: FitConfig, sources: Sources | None = None) -> Fit:
    """Fit the laws to the runs that `config` names; a law may be refused. Raises BadInput.

    `sources` are the inputs, where they are read already.
    """
    sources = sources or read_sources(config)
    inputs = read_inputs(config, sources)
    rows, own = inputs.rows, inputs.own
    observations = observe(rows, config)
    if not len(observations):
        reasons = ", ".join(sorted({exclusion.reason for exclusion in observations.excluded}))
        where = ", ".join(f"{name}={either(wanted)}" for name, wanted in config.where.items())
        of = f"{observations.planned}" + (f" with {where}" if where else "")
        raise NoUsableRun(f"runs: none of {of} can be used: {reasons[:300]}")
    has_tuning = any(row.values.get("arm") == "tuning" for row in rows)
    tuned = observe(rows, config, arms=("tuning",)) if has_tuning else observations
    fits = fit_headline(observations, config, config.n_bootstrap)
    runs = admitted(rows, config, observations)
    envelope = None
    if "envelope" in (config.laws or ()) or ("envelope" in config.asked and inputs.curves):
        traces = traces_of(inputs.curves, runs)
        envelope = fit_envelope(traces, observations, config.n_bootstrap, config.seed)
    beside = [*([envelope.law] if envelope else []), *fit_further(observations, config, tuned)]
    laws, judged = [*fits.laws, *beside], _judged(fits, beside, config)
    flops = budgets_to_predict(config.predict.flops, observations, fits.isoflop)
    document = {
        "schema": SCHEMA,
        "status": _status(judged, config),
        "inputs": _inputs(observations, config),
        "options": {
            "objective": config.objective,
            "delta": config.delta,
            "reduce": config.reduce,
            "holdout": config.holdout,
            "n_bootstrap": config.n_bootstrap,
            "failed_resamples": sum(law.details.get("failed_resamples", 0) for law in laws),
            "seed": config.seed,
            "loss_unit": config.loss_unit,
            "budget_tolerance": config.budget_tolerance,
        },
        "provenance": _provenance(config, sources),
        "convention": _convention(rows, own, config),
        "warnings": remarks(rows, observations, fits, config),
        "laws": {law.name: law.document() for law in laws},
        "conventions": conventions(rows, config, inputs.curves),
        "predictions": [
            *predictions(flops, observations, fits.isoflop, fits.parametric),
            *(predictions_of(envelope.line, flops, observations) if envelope else []),
        ],
        "answers": answers(config.predict, observations, fits.isoflop, fits.parametric),
        "ladder": ladder_table(observations, fits.isoflop, fits.parametric),
        "diagnostics": diagnostics(observations, fits, config),
        "holdout": hold_out(observations, config),
    }
    rates = {name: run.flops / run.tokens for name, run in runs.items()}
    curves = shown_rows(inputs.curves, rates)
    return Fit(document, observations, curves, _stands(judged, config))


def _judged(fits: HeadlineFits, beside: Sequence[LawFit], config: FitConfig) -> list[LawFit]:
    """The laws that decide how a fit ends.

    Those beside the headline count where they were named: most tables lack what some of them need.
    """
    return [*fits.laws, *(law for law in beside if config.laws or law.name in config.require)]


def _stands(laws: Sequence[LawFit], config: FitConfig) -> bool:
    """Whether every law named does, and of those required one; with none required all is well.

    A law that was required counts where it was asked for: laws=[envelope] needs no headline law.
    """
    standing = {law.name for law in laws if law.status != "refused"}
    must = set(config.require) & set(config.asked)
    one_stands = bool(standing & must) or not must
    return not config.require or (one_stands and standing >= set(config.laws or ()))


def _status(laws: Sequence[LawFit], config: FitConfig) -> str:
    """Refused where no law stands or one that must does not, flagged where any law has a doubt."""
    if all(law.status == "refused" for law in laws) or not _stands(laws, config):
        return "refused"
    return "ok" if all(law.status == "ok" for law in laws) else "flagged"


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


def _provenance(config: FitConfig, sources: Sources) -> dict[str, Any]:
    return {
        "runs": [
            {"path": path, "sha256": digest}
            for path, digest in zip(config.paths, sources.digests, strict=True)
        ],
        "own_sweep": sources.own,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }
