"""The tables that test a fit: influence, outliers, residuals, and a second fit beside it."""

import math

from common.numbers import UNKNOWN, compact, count, fixed
from scaling.fit.flags import Flag
from scaling.fit.results import FitDocument
from scaling.fit.results.checks import Outlier
from scaling.report.study import Study
from scaling.report.tables.table import Row, Table, first_rows
from scaling.report.text import labels
from scaling.report.text.estimates import with_interval

_APART = {True: "yes", False: "no", None: UNKNOWN}


def influence(study: Study, most: int = 10) -> Table:
    """The runs whose absence moves an exponent most."""
    rows: list[Row] = []
    for row in study.document.diagnostics.influence[:most]:
        cell = (study.title(row.run_id), count(row.params), count(row.tokens))
        law = labels.law_name(row.law)
        leverage = "none" if row.leverage is None else fixed(row.leverage, 2)
        exponent = (_signed(row.a_change, 4), fixed(row.a_without, 4))
        rows.append((*cell, law, *exponent, leverage, _percent_of_log(row.residual)))
    return Table(
        ("run", "N", "D", "law", "a changes by", "a without it", "leverage", "loss over fitted"),
        rows,
        "Every law was refused, so no run has influence.",
    )


def outliers(study: Study) -> Table:
    """Runs beyond the stated rule; they stay in every fit but the one of the next table."""

    def row(one: Outlier) -> Row:
        run = (study.title(one.run_id), count(one.params), count(one.tokens))
        return *run, _percent_of_log(one.residual), _signed(one.score, 1)

    columns = ("run", "N", "D", "loss over fitted", "robust standard deviations")
    empty = "No run is an outlier by that rule, or these runs show no surface."
    return first_rows(columns, study.document.diagnostics.outliers.runs, row, empty)


def without_outliers(document: FitDocument) -> Table:
    """The exponents with all runs, and without the outliers."""
    rows: list[Row] = []
    for row in document.diagnostics.outliers.without:
        for words, law in (("all runs", getattr(document, row.law)), ("without outliers", row)):
            if law is not None:
                ends = (
                    with_interval(e) if labels.has_numbers(law) else "none" for e in (law.a, law.b)
                )
                rows.append((labels.law_name(row.law), words, law.status, *ends))
    columns = ("law", "runs", "state", "a in N* ∝ C^a", "b in D* ∝ C^b")
    return Table(columns, rows, "There is nothing to leave out.")


def residuals_by_budget(document: FitDocument) -> Table:
    """Mean and spread of the surface's residuals at each budget."""
    rows: list[Row] = []
    for row in document.diagnostics.residuals_by_budget:
        low, high = compact(row.flops_low), compact(row.flops_high)
        mean, sd = _percent_of_log(row.mean), _percent_of_log(row.sd).lstrip("+")
        rows.append((low if low == high else f"{low} to {high}", str(row.runs), mean, sd))
    columns = ("C (FLOP)", "runs", "mean of loss over fitted", "standard deviation")
    return Table(columns, rows, "The surface was refused or not asked for.")


def forms(document: FitDocument) -> Table:
    """The forms of the surface, the best on unseen runs first."""
    rows: list[Row] = []
    for row in document.forms:
        errors = (row.held_out.top, row.held_out.flops, row.held_out.params, row.held_out.tokens)
        shown = (UNKNOWN if one is None else f"{100 * one:.2f}%" for one in errors)
        test = row.against_hoffmann
        p = "none" if test is None else f"{test.p:.2g}"
        name = row.form if row.k is None else f"{row.form} (k = {fixed(row.k.value, 3)})"
        rank = row.reason or (UNKNOWN if row.rank is None else str(row.rank))
        rows.append((rank, name, row.equation, f"{row.objective:.4g}", p, *shown))
    columns = ("rank", "form", "equation", "objective", "p against hoffmann")
    errors_of = ("held-out budget", "rolling by C", "by N", "by D")
    why = "The surface was refused or not asked for, or there are too many runs to compare forms."
    return Table((*columns, *errors_of), rows, why)


def comparison(document: FitDocument) -> Table:
    """Estimates of this fit and the other, with their difference."""
    rows: list[Row] = []
    for row in document.comparison.estimates if document.comparison else ():
        estimates = map(with_interval, (row.this, row.other, row.difference))
        names = (labels.law_name(row.law), labels.PARAMETERS[row.name])
        rows.append((*names, *estimates, _APART[row.apart90]))
    columns = ("law", "estimate", "this fit", "the other", "difference", "differ at 90%?")
    return Table(columns, rows, "Neither fit has a law to compare.")


def coded(warnings: tuple[Flag, ...], empty: str) -> Table:
    """Warnings of a fit, or of a comparison."""
    return Table(("code", "warning"), [(w.code, w.text) for w in warnings], empty)


def _signed(value: float | None, decimals: int) -> str:
    return UNKNOWN if value is None else f"{value:+.{decimals}f}"


def _percent_of_log(value: float | None) -> str:
    """A difference of logarithms as the ratio less one that it is."""
    return UNKNOWN if value is None else f"{100 * math.expm1(value):+.2f}%"
