"""The tables of compute multipliers: each arm over all budgets, and at each budget."""

from collections.abc import Iterator

from common.numbers import UNKNOWN, compact, fixed
from scaling.fit.results import FitDocument
from scaling.fit.results.multipliers import Multiplier, Trend
from scaling.report.tables.table import Row, Table
from scaling.report.text import labels
from scaling.report.text.estimates import in_loss, with_interval

TOLD = ("better", "worse")
"""Verdicts that tell an arm from its baseline."""
_FRONTIERS = {
    "isoflop": "minima of IsoFLOP curves",
    "envelope": "envelopes of training curves",
    "surface": "parametric surfaces",
}


def trends(document: FitDocument) -> Iterator[tuple[Multiplier, Trend]]:
    """The first entry of each arm that has a multiplier, with what is said of all its budgets."""
    seen = set()
    for one in document.multipliers or ():
        if one.trend is not None and (one.arm, one.baseline) not in seen:
            seen.add((one.arm, one.baseline))
            yield one, one.trend


def over_all_budgets(document: FitDocument) -> Table:
    """Each arm: verdict, k in compute, data and size, and the slope of log k in log C."""
    rows: list[Row] = []
    for one, trend in trends(document):
        said = (trend.verdict or UNKNOWN, trend.with_compute or UNKNOWN)
        numbers = map(with_interval, (trend.k, trend.k_data, trend.k_size, trend.slope))
        rows.append((one.arm, one.baseline, *said, *numbers))
    columns = ("arm", "baseline", "verdict", "with compute", "k", "k in data", "k in size", "slope")
    return Table(columns, rows, "No arm has a multiplier.")


def in_words(document: FitDocument) -> Table:
    """What each arm is worth, in a sentence."""
    rows = [(one.arm, trend.words) for one, trend in trends(document)]
    return Table(("arm", "in words"), rows, "No arm has a multiplier.")


def premises(document: FitDocument) -> Table:
    """What each multiplier rests on: L*(C), noise, E and the exponent."""
    rows: list[Row] = []
    for one, trend in trends(document):
        noise = "drawn for each arm alone"
        if trend.correlation is not None:
            r = fixed(trend.correlation, 2)
            noise = f"paired by seed, budget and size; correlation {r}"
        floor = f"{fixed(trend.E.value, 3)}, pinned" if trend.E_pinned else in_loss(trend.E)
        rows.append((one.arm, _FRONTIERS[trend.frontier], noise, floor, with_interval(trend.gamma)))
    columns = ("arm", "L*(C) from", "noise", "E of both", "γ of the baseline")
    return Table(columns, rows, "No arm has a multiplier.")


def at_each_budget(document: FitDocument) -> Table:
    """k at each budget of each arm, with the two least losses; a reason where there is none."""
    rows: list[Row] = []
    for one in document.multipliers or ():
        where = (one.arm, "every budget" if one.flops is None else compact(one.flops))
        if one.status == "refused":
            rows.append((*where, "refused", *["none"] * 5, one.reason or ""))
            continue
        losses = (in_loss(one.loss), in_loss(one.baseline_loss, "by its law"))
        numbers = map(with_interval, (one.k, one.k_data, one.k_size))
        rows.append((*where, one.status, *losses, *numbers, labels.flag_texts(one.flags)))
    columns = ("arm", "C (FLOP)", "state", "L* of the arm", "L* of the baseline")
    return Table((*columns, "k", "k in data", "k in size", "flags"), rows, "No arm is compared.")
