"""The tables of what the laws predict: budgets, sizes and data asked for, Table 3, holdout."""

from collections.abc import Sequence

from common.numbers import UNKNOWN, compact, count, fixed, percent
from scaling.fit.flags import Flag
from scaling.fit.results import FitDocument
from scaling.fit.results.checks import HeldOut, Holdout
from scaling.report.tables.table import Row, Table
from scaling.report.text import labels
from scaling.report.text.estimates import in_counts, in_loss, with_interval

_GIVEN = {"params": "size", "tokens": "data", "pair": "size and data", "flops": "budget"}
_INSIDE = {True: "inside", False: "outside", None: UNKNOWN}
_HELD = (
    *("held-out C", "law", "loss predicted", "loss observed", "error", "error of N*"),
    "in 90%?",
)


def predictions(document: FitDocument, token: str) -> Table:
    """What each law predicts at given budgets."""
    totals = any(row.n_total.value is not None for row in document.predictions)
    rows: list[Row] = []
    for row in document.predictions:
        total = [in_counts(row.n_total)] if totals else []
        sizes = (in_counts(row.n_opt), *total, in_counts(row.d_opt))
        ratio, loss = with_interval(row.tokens_per_param, compact), in_loss(row.loss, "none")
        law = labels.law_name(row.law)
        reach = _beyond(row.beyond, row.flags)
        rows.append((compact(row.flops), law, *sizes, ratio, loss, reach))
    names = ("N*", *(["N* as all parameters"] if totals else []), "D*")
    columns = ("C (FLOP)", "law", *names, f"{token}s per parameter", "loss", "compute measured")
    return Table(
        columns,
        rows,
        "No law of N* and D* stands; what other laws answer, or that none does, is said below.",
    )


def answers(document: FitDocument, token: str) -> Table:
    """Sizes, amounts of data and pairs asked for; budgets, by the laws of one variable."""
    totals = any(row.n_total.value is not None for row in document.answers)
    rows: list[Row] = []
    for row in document.answers:
        if row.asked == "loss":
            continue
        total = [in_counts(row.n_total)] if totals else []
        sizes = (in_counts(row.params), *total, in_counts(row.tokens))
        flops, loss = with_interval(row.flops, compact), in_loss(row.loss, "none")
        reach = _beyond(row.beyond, row.flags)
        law = labels.law_name(row.law) + (f", {row.form}" if row.form else "")
        rows.append((_GIVEN[row.asked], law, *sizes, flops, loss, reach))
    names = ("N", *(["N as all parameters"] if totals else []), "D")
    return Table(
        ("given", "law", *names, "C (FLOP)", "loss", "compute measured"),
        rows,
        f"No size, amount of {token}s or pair was asked for (predict.params, .tokens, .pairs), or "
        "no law that stands answers it.",
    )


def losses(document: FitDocument, token: str) -> Table:
    """What reaches each loss asked for."""
    rows: list[Row] = []
    for row in document.answers:
        if row.asked != "loss":
            continue
        least = (with_interval(one, compact) for one in (row.batch, row.steps))
        spent = in_counts(row.tokens), with_interval(row.flops, compact)
        reach = _beyond(row.beyond, row.flags)
        asked = in_loss(row.loss), labels.law_name(row.law), in_counts(row.params, "any")
        rows.append((*asked, *least, *spent, reach))
    columns = ("loss", "law", "N", f"B_crit ({token}s)", "S_min (steps)", f"E_min ({token}s)")
    return Table((*columns, "C_min (FLOP)", "measured"), rows)


def ladder(document: FitDocument, token: str) -> Table:
    """Table 3 of Hoffmann et al. for the laws of this fit, beside theirs."""
    rows: list[Row] = []
    for row in sorted(document.ladder.rows, key=lambda row: row.params.value or 0):
        published = row.law == "hoffmann"
        data, ratio = in_counts(row.tokens), with_interval(row.tokens_per_param, compact)
        law, flops = labels.law_name(row.law), with_interval(row.flops, compact)
        reach = "published" if published else _beyond(row.beyond, row.flags)
        rows.append((count(row.params.value), law, flops, data, ratio, reach))
    columns = ("N", "law", "C (FLOP)", f"{token}s", f"{token}s per parameter", "compute measured")
    return Table(columns, rows, "Every law was refused.")


def holdout(document: FitDocument) -> Table:
    """The budget that the law did not see."""
    held = document.holdout
    rows = [_held(held)] if held.flops else []
    return Table(_HELD, rows, f"No budget was held out ({held.reason or held.status}).")


def rolling(document: FitDocument) -> Table:
    """Every budget, predicted by the runs below it."""
    held = document.holdout
    rows = [(*_held(row), str(row.runs_below)) for row in held.rolling]
    return Table((*_HELD, "runs below"), rows, f"None: {held.rolling_reason or 'not computed'}.")


def _held(held: HeldOut | Holdout) -> Row:
    law = labels.law_name(held.law) if held.law else str(held.reason)
    losses = (in_loss(held.loss_predicted), fixed(held.loss_observed, 4))
    errors = (percent(held.loss_error, 2), percent(held.n_opt_error))
    return compact(held.flops), law, *losses, *errors, _INSIDE[held.inside90]


def _beyond(factor: float | None, flags: Sequence[Flag]) -> str:
    """How far a row lies outside the compute measured, in words, and its other flags."""
    others = [flag.text for flag in flags if flag.code != "extrapolation"]
    return "; ".join(["inside" if factor is None else f"{compact(factor)} times outside", *others])
