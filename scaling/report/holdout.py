"""The report's tables of budgets that the law did not see."""

from collections.abc import Mapping
from typing import Any

from scaling.report import wording
from scaling.report.numbers import UNKNOWN, fixed, percent, point, power, with_interval
from scaling.report.tables import Table, loss_writer

_INSIDE: dict[Any, str] = {True: "inside", False: "outside"}
_COLUMNS = (
    "held-out C",
    "law",
    "loss predicted",
    "loss observed",
    "error",
    "error of N*",
    "in 90%?",
)


def holdout(document: dict[str, Any]) -> Table:
    """The budget that the law did not see."""
    held = document.get("holdout") or {}
    reason = held.get("reason") or held.get("status")
    return Table(
        _COLUMNS,
        (_row(held),) if held.get("flops") else (),
        f"No budget was held out{f' ({reason})' if reason else ''}.",
    )


def rolling(document: dict[str, Any]) -> Table:
    """Every budget, foretold by the runs below it."""
    held = document.get("holdout") or {}
    return Table(
        (*_COLUMNS, "runs below"),
        tuple((*_row(row), str(row["runs_below"])) for row in held.get("rolling") or ()),
        f"None: {held.get('rolling_reason') or 'not computed'}.",
    )


def _row(held: Mapping[str, Any]) -> tuple[str, ...]:
    predicted = held.get("loss_predicted")
    return (
        power(held["flops"]),
        wording.law_name(str(held.get("law"))) if held.get("law") else str(held.get("reason")),
        with_interval(predicted, loss_writer(predicted)),
        fixed(point(held.get("loss_observed")), 4),
        percent(point(held.get("loss_error")), 2),
        percent(point(held.get("n_opt_error"))),
        _INSIDE.get(held.get("inside90"), UNKNOWN),
    )
