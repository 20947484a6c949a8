"""The tables that answer questions of a fit: sizes and data asked for, Table 3, two fits compared.

Like tables.py: strings, written once for the page and for the Markdown; intervals are 90%.
"""

from collections.abc import Sequence
from typing import Any

from scaling.report import wording
from scaling.report.numbers import count, fixed, point, power, with_interval
from scaling.report.tables import Table

_LOSS = "{:.3f}".format
_APART: dict[Any, str] = {True: "yes", False: "no"}
_GIVEN = {"params": "size", "tokens": "data", "pair": "size and data"}


def beyond(row: dict[str, Any]) -> str:
    """How far a row lies outside the compute measured, in words."""
    factor = point(row.get("beyond"))
    others = [text for code, text in wording.flags(row) if code != "extrapolation"]
    reach = "inside" if factor is None else f"{power(factor)} times outside"
    return "; ".join([reach, *others])


def answers(document: dict[str, Any], token: str) -> Table:
    """Sizes, amounts of data and pairs that were asked for."""
    stated = document.get("answers") or []
    totals = any(point(row.get("n_total")) is not None for row in stated)
    rows = [
        (
            _GIVEN.get(str(row.get("asked")), ""),
            wording.law_name(str(row.get("law"))),
            with_interval(row.get("params"), count),
            *([with_interval(row.get("n_total"), count)] if totals else []),
            with_interval(row.get("tokens"), count),
            with_interval(row.get("flops"), power),
            with_interval(row.get("loss"), _LOSS, "none"),
            beyond(row),
        )
        for row in stated
    ]
    total = ["N as all parameters"] if totals else []
    return Table(
        ("given", "law", "N", *total, "D", "C (FLOP)", "loss", "compute measured"),
        tuple(rows),
        f"No size, amount of {token}s or pair was asked for (predict.params, .tokens, .pairs).",
    )


def ladder(document: dict[str, Any], token: str) -> Table:
    """Table 3 of Hoffmann et al. for the laws of this fit, beside theirs."""
    found = document.get("ladder") or {}
    rows = [
        (
            count(point(row.get("params"))),
            {"hoffmann": "Hoffmann et al., approach 3"}.get(
                str(row.get("law")), wording.law_name(str(row.get("law")))
            ),
            with_interval(row.get("flops"), power),
            with_interval(row.get("tokens"), count),
            with_interval(row.get("tokens_per_param"), power),
            "published" if row.get("law") == "hoffmann" else beyond(row),
        )
        for row in sorted(found.get("rows") or [], key=lambda row: point(row.get("params")) or 0)
    ]
    return Table(
        ("N", "law", "C (FLOP)", f"{token}s", f"{token}s per parameter", "compute measured"),
        tuple(rows),
        "No law stands to fill it.",
    )


def ladder_note(document: dict[str, Any]) -> str:
    """Which sizes the table has, as the end of a sentence."""
    return str((document.get("ladder") or {}).get("note") or "not made")


def influence(document: dict[str, Any], most: int = 10) -> Table:
    """The runs whose absence moves an exponent most."""
    rows = [
        (
            str(row.get("run_id")),
            count(point(row.get("params"))),
            count(point(row.get("tokens"))),
            wording.law_name(str(row.get("law"))),
            _signed(row.get("a_change"), 4),
            fixed(point(row.get("a_without")), 4),
            fixed(point(row.get("leverage")), 2) if row.get("leverage") is not None else "none",
            _percent_of_log(row.get("residual")),
        )
        for row in (_diagnostics(document).get("influence") or [])[:most]
    ]
    return Table(
        ("run", "N", "D", "law", "a changes by", "a without it", "leverage", "loss over fitted"),
        tuple(rows),
        "No law stands, so no run has influence.",
    )


def outliers(document: dict[str, Any]) -> Table:
    """Runs beyond the stated rule; they stay in every fit but the one of the next table."""
    rows = [
        (
            str(row.get("run_id")),
            count(point(row.get("params"))),
            count(point(row.get("tokens"))),
            _percent_of_log(row.get("residual")),
            _signed(row.get("score"), 1),
        )
        for row in (_diagnostics(document).get("outliers") or {}).get("runs") or []
    ]
    return Table(
        ("run", "N", "D", "loss over fitted", "robust standard deviations"),
        tuple(rows),
        "No run is an outlier by that rule, or the surface was refused.",
    )


def without_outliers(document: dict[str, Any]) -> Table:
    """The exponents with all runs, and without the outliers."""
    laws = document.get("laws") or {}
    rows = []
    for row in (_diagnostics(document).get("outliers") or {}).get("without") or []:
        whole = laws.get(row.get("law")) or {}
        for words, law in (("all runs", whole), ("without outliers", row)):
            stands = wording.stands(law)
            rows.append(
                (
                    wording.law_name(str(row.get("law"))),
                    words,
                    wording.STATES.get(str(law.get("status")), ""),
                    with_interval(law.get("a")) if stands else "none",
                    with_interval(law.get("b")) if stands else "none",
                )
            )
    return Table(
        ("law", "runs", "state", "a in N* ∝ C^a", "b in D* ∝ C^b"),
        tuple(rows),
        "There is nothing to leave out.",
    )


def residuals_by_budget(document: dict[str, Any]) -> Table:
    """Mean and spread of what the surface misses at each budget."""
    rows = [
        (
            _span(row.get("flops_low"), row.get("flops_high")),
            str(row.get("runs")),
            _percent_of_log(row.get("mean")),
            _percent_of_log(row.get("sd")).lstrip("+"),
        )
        for row in _diagnostics(document).get("residuals_by_budget") or []
    ]
    return Table(
        ("C (FLOP)", "runs", "mean of loss over fitted", "standard deviation"),
        tuple(rows),
        "The surface was refused or not asked for.",
    )


def outlier_rule(document: dict[str, Any]) -> str:
    """The rule by which a run is called an outlier."""
    return str((_diagnostics(document).get("outliers") or {}).get("rule") or "not applied")


def comparison(document: dict[str, Any]) -> Table:
    """Estimates of this fit and the other, with their difference."""
    rows = []
    for row in (document.get("comparison") or {}).get("estimates") or []:
        rows.append(
            (
                wording.law_name(str(row.get("law"))),
                wording.PARAMETERS.get(str(row.get("name")), str(row.get("name"))),
                with_interval(row.get("this")),
                with_interval(row.get("other")),
                with_interval(row.get("difference")),
                _APART.get(row.get("apart90"), "unknown"),
            )
        )
    return Table(
        ("law", "estimate", "this fit", "the other", "difference", "differ at 90%?"),
        tuple(rows),
        "Neither fit has a law to compare.",
    )


def comparison_warnings(document: dict[str, Any]) -> Table:
    """Why the two fits may not be comparable."""
    found: Sequence[dict[str, Any]] = (document.get("comparison") or {}).get("warnings") or []
    return Table(
        ("code", "warning"),
        tuple((str(w.get("code")), str(w.get("text"))) for w in found),
        "Nothing speaks against comparing the two.",
    )


def _diagnostics(document: dict[str, Any]) -> dict[str, Any]:
    return document.get("diagnostics") or {}


def _signed(value: Any, decimals: int) -> str:
    number = point(value)
    return "unknown" if number is None else f"{number:+.{decimals}f}"


def _percent_of_log(value: Any) -> str:
    """A difference of logarithms as a percentage; they agree for the small ones shown here."""
    number = point(value)
    return "unknown" if number is None else f"{100 * number:+.2f}%"


def _span(low: Any, high: Any) -> str:
    ends = [power(point(low)), power(point(high))]
    return ends[0] if ends[0] == ends[1] else " to ".join(ends)
