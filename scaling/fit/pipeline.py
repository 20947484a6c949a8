"""From runs to the document of fit.json: read, admit, fit each law, validate, predict."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import scipy

from common.errors import BadInput
from common.text import either
from scaling.fit.checks.conventions import conventions
from scaling.fit.checks.forms import compare_forms
from scaling.fit.checks.holdout import hold_out
from scaling.fit.checks.influence import diagnostics
from scaling.fit.checks.outliers import name_outliers, outlier_warning
from scaling.fit.checks.warnings import warnings
from scaling.fit.chinchilla_table3 import ladder_table
from scaling.fit.config import FitConfig
from scaling.fit.dispatch import HeadlineFits, fit_headline, fit_law, fit_other_laws
from scaling.fit.envelope import EnvelopeFit, Trace, traces_of
from scaling.fit.observations import TOGETHER, Observations, admitted, observe
from scaling.fit.other_laws.answers import further_answers, laws_of_optima, unanswered
from scaling.fit.other_laws.tied_exponents import against_minima
from scaling.fit.predict import answers, budgets_to_predict, fitted_laws, over_runs, predictions
from scaling.fit.registry import HEADLINE
from scaling.fit.results.document import (
    SCHEMA,
    Convention,
    ExcludedRun,
    FitDocument,
    FlopsCount,
    Inputs,
    Options,
    Provenance,
    SourceFile,
)
from scaling.fit.results.laws import Law, Status
from scaling.fit.table.columns import Table
from scaling.fit.table.curves import shown_rows
from scaling.fit.table.inputs import Sources, read_inputs, read_sources
from scaling.fit.table.schema import DONE, part_column


class NoUsableRun(BadInput):
    """Every row asked for is excluded."""


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    document      all that fit.json holds
    observations  the points behind it
    curves        rows of each run's training curve by run_id; {} where none is known
    stands        whether the laws that must stand do; if not, the exit status is 4
    fits          the headline laws with their resamples
    traces        the training curves, where they end with their schedules
    """

    document: FitDocument
    observations: Observations
    curves: dict[str, list[dict[str, Any]]]
    stands: bool
    fits: HeadlineFits = HeadlineFits()
    traces: Sequence[Trace] = ()


def fit(config: FitConfig, sources: Sources | None = None) -> Fit:
    """Fit the laws to the runs that `config` names; a law may be refused. Raises BadInput.

    `sources` are the inputs, where they are read already.
    """
    sources = sources or read_sources(config)
    inputs = read_inputs(config, sources)
    table, own = inputs.runs, inputs.own
    observations = observe(table, config)
    if not len(observations):
        reasons = ", ".join(sorted({exclusion.reason for exclusion in observations.excluded}))
        where = ", ".join(f"{name}={either(wanted)}" for name, wanted in config.where.items())
        of = f"{observations.planned}" + (f" with {where}" if where else "")
        words = f"; expected a status of {', '.join(sorted(DONE))}, or none"
        cure = words if "status" in reasons and not own else ""
        raise NoUsableRun(f"runs: none of {of} can be used: {reasons[:300]}{cure}")
    has_tuning = "tuning" in table.values(part_column(table.names))
    tuned = observe(table, config, parts=("tuning",)) if has_tuning else observations
    fits = fit_headline(observations, config, config.n_bootstrap)
    standing = fitted_laws(observations, fits.isoflop, fits.parametric)
    laws: dict[str, Law] = dict(fits.laws.items())
    runs = admitted(table, config, observations) if inputs.curves else {}
    beside, settled = [], []
    traces = traces_of(inputs.curves, runs)
    if "envelope" in (config.laws or ()) or ("envelope" in config.asked and inputs.curves):
        envelope: EnvelopeFit = fit_law(
            "envelope", observations, config, config.n_bootstrap, traces=traces
        )
        laws["envelope"] = envelope.law
        if envelope.frontier is not None:
            beside = [over_runs("envelope", envelope.frontier, observations)]
            settled = traces
    laws = against_minima(laws | fit_other_laws(observations, config, tuned, traces))
    checked = diagnostics(observations, fits, config)
    outliers = outlier_warning(checked.outliers, laws, observations)
    laws = name_outliers(laws, checked.outliers, len(observations))
    judged = _judged(laws, config)
    flops = budgets_to_predict(config.predict.flops, observations, fits.isoflop)
    laws_of_optimum, asked = [*standing, *beside], config.predict.flops
    of_optima = laws_of_optima(laws, observations, config, traces)
    predicted = (
        *predictions(flops, observations, laws_of_optimum, asked),
        *predictions(asked, observations, of_optima, asked),
    )
    answered = (
        *answers(config.predict, observations, standing),
        *further_answers(laws, observations, config, traces, of_optima),
    )
    method = fits.isoflop.law.method if fits.isoflop else None
    document = FitDocument(
        schema=SCHEMA,
        status=_status(judged, config),
        inputs=_inputs(observations, config, inputs.rows),
        options=Options(
            objective=config.objective,
            delta=config.delta,
            reduce=config.reduce,
            holdout=config.holdout,
            n_bootstrap=config.n_bootstrap,
            failed_resamples=sum(law.failed_resamples or 0 for law in laws.values()),
            seed=config.seed,
            loss_unit="bpb" if config.loss_unit == "bpb" else "nats",
            budget_tolerance=config.budget_tolerance,
            isoflop_method=config.isoflop.method,
            isoflop_window=config.isoflop.window,
            surface_form=config.surface.form,
            surface_E=config.surface.E,
            surface_weights=config.surface.weights,
        ),
        provenance=_provenance(config, sources),
        convention=_convention(table, own, config),
        warnings=(
            *outliers,
            *unanswered(config, predicted, answered),
            *sources.flags,
            *inputs.flags,
            *warnings(table, observations, fits, config),
        ),
        laws=laws,
        conventions=tuple(conventions(table, config, inputs.curves, method)),
        predictions=predicted,
        answers=answered,
        ladder=ladder_table(observations, standing),
        diagnostics=checked,
        holdout=hold_out(observations, config),
        forms=compare_forms(observations, config),
        setting=_setting(table, observations),
    )
    rates = {name: run.flops / run.tokens for name, run in runs.items()}
    curves = shown_rows(inputs.curves, rates)
    return Fit(document, observations, curves, _stands(judged, config), fits, settled)


def _judged(laws: Mapping[str, Law], config: FitConfig) -> dict[str, Law]:
    """The laws that decide how a fit ends.

    Those beside the headline count where they were named: most tables lack what some of them need.
    """
    named = (*HEADLINE, *config.require)
    return {name: law for name, law in laws.items() if config.laws or name in named}


def _stands(laws: Mapping[str, Law], config: FitConfig) -> bool:
    """Whether every law named does, and of those required one; with none required all is well.

    A law that was required counts where it was asked for: laws=[envelope] needs no headline law.
    """
    standing = {name for name, law in laws.items() if law.status != "refused"}
    must = set(config.require) & set(config.asked)
    one_stands = bool(standing & must) or not must
    return not config.require or (one_stands and standing >= set(config.laws or ()))


def _status(laws: Mapping[str, Law], config: FitConfig) -> Status:
    """Refused where no law stands or one that must does not, flagged where any law is."""
    found = {law.status for law in laws.values()}
    if found <= {"refused"} or not _stands(laws, config):
        return "refused"
    return "ok" if found == {"ok"} else "flagged"


def _inputs(observations: Observations, config: FitConfig, rows: int | None) -> Inputs:
    return Inputs(
        planned=observations.planned,
        used=len(observations) + observations.merged,
        observations=len(observations),
        merged=observations.merged,
        excluded=tuple(ExcludedRun(e.run_id, e.reason) for e in observations.excluded),
        where=dict(config.where) or None,
        rows=rows,
    )


def _setting(runs: Table, observations: Observations) -> dict[str, tuple[str, ...]]:
    """The values of the columns in which the runs used agree, of those that have any."""
    if lost := {exclusion.run_id for exclusion in observations.excluded}:
        used = [runs.run_name(row) not in lost for row in range(len(runs))]
        runs = runs.take(np.array(used, dtype=bool))
    found = {name: runs.distinct(name)[1] for name in TOGETHER}
    return {
        name: tuple(sorted(str(value) for value in values if value is not None))
        for name, values in found.items()
        if any(value is not None for value in values)
    }


def _convention(runs: Table, own: bool, config: FitConfig) -> Convention:
    stated = any(runs.known(name).any() for name in ("flops", "flops_budget"))
    given: FlopsCount = "exact" if own else "given" if stated else "6nd"
    return Convention(
        params=config.convention.params or ("effective" if own else "given"),
        flops=config.convention.flops or given,
    )


def _provenance(config: FitConfig, sources: Sources) -> Provenance:
    return Provenance(
        runs=tuple(map(SourceFile, config.paths, sources.digests)),
        own_sweep=sources.own,
        python=platform.python_version(),
        numpy=np.__version__,
        scipy=scipy.__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
