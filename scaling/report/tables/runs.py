"""The tables of the runs behind a fit: how they were counted, which are excluded, all of them."""

import json
from dataclasses import fields

from common.numbers import UNKNOWN, compact, count, fixed
from scaling.fit.results import FitDocument
from scaling.fit.results.json_form import to_json
from scaling.report.study import Study
from scaling.report.tables.table import Row, Table, first_rows


def accounting(document: FitDocument) -> Table:
    """planned = used + excluded, and how runs became observations."""
    inputs = document.inputs
    rows: list[Row] = [
        ("runs planned", str(inputs.planned)),
        ("runs used", str(inputs.used)),
        ("runs excluded", str(len(inputs.excluded))),
        ("rows merged into means over seeds", str(inputs.merged)),
        ("observations fitted: used less those", str(inputs.observations)),
    ]
    if inputs.where:
        rows.append(("only rows where", _plain(inputs.where)))
    return Table(("runs", "count"), rows)


def exclusions(study: Study) -> Table:
    """Every run that no fit uses, and why."""
    excluded = study.document.inputs.excluded
    empty = "No run was excluded."
    return first_rows(
        ("run", "reason"), excluded, lambda e: (study.title(e.run_id), e.reason), empty
    )


def observations(study: Study, token: str) -> Table:
    """The observations of the fit, of many the first."""
    runs = study.runs

    def row(at: int) -> Row:
        c, n, d, loss = (float(v[at]) for v in (runs.flops, runs.params, runs.tokens, runs.loss))
        cells = compact(c), count(n), count(d), compact(d / n), fixed(loss, 4)
        name = runs.run_id[at]
        return (study.title(name), *cells, name) if is_titled else (name, *cells)

    is_titled = any(study.title(name) != name for name in runs.run_id)
    columns: Row = ("run", "C (FLOP)", "N", "D", f"{token}s per parameter", "loss")
    columns += ("run_id",) if is_titled else ()
    return first_rows(columns, range(len(runs)), row, f"Not listed: {study.no_runs}.")


def provenance(document: FitDocument) -> Table:
    """Where the numbers come from, and the options of the fit."""
    return Table(
        ("what", "value"),
        [
            (f"{prefix}{f.name}", empty if value is None else _plain(value))
            for prefix, part, empty in (
                ("", document.provenance, UNKNOWN),
                ("options.", document.options, "not given"),
            )
            for f in fields(part)
            for value in [getattr(part, f.name)]
        ],
    )


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(to_json(value), ensure_ascii=False)
