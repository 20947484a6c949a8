"""The report's tables as strings, written once for the page and for the Markdown.

Intervals are 90%. What is missing is `unknown`; what is absent has a sentence.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scaling.fit.observations import Observations
from scaling.report import wording
from scaling.report.numbers import (
    UNKNOWN,
    count,
    decimals_for,
    fixed,
    is_estimate,
    point,
    power,
    with_interval,
)


@dataclass(frozen=True)
class Table:
    """Rows under headings; `empty` is what is said instead of a table without rows."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "None."


def exponents(document: dict[str, Any]) -> Table:
    """Each law that states exponents: its state, a, b and why it is doubted or refused."""
    rows = []
    for key, law in _laws(document):
        if not (key in wording.HEADLINE_LAWS or "a" in law):
            continue
        rows.append(
            (
                wording.law_name(key),
                wording.STATES.get(str(law.get("status")), UNKNOWN),
                _exponent(law, "a"),
                _exponent(law, "b"),
                _why(law),
            )
        )
    return Table(
        ("law", "state", "a in N* ∝ C^a", "b in D* ∝ C^b", "flags or reason"),
        tuple(rows),
        "No law was asked for.",
    )


def valleys(document: dict[str, Any], token: str) -> Table:
    """The vertex of every budget."""
    law = (document.get("laws") or {}).get("isoflop") or {}
    rows = []
    for valley in law.get("valleys") or []:
        n, d = point(valley.get("n_opt")), point(valley.get("d_opt"))
        rows.append(
            (
                power(valley.get("flops")),
                with_interval(valley.get("n_opt"), count, "no vertex"),
                with_interval(valley.get("d_opt"), count, "none"),
                fixed(d / n, 1) if n and d else "none",
                with_interval(valley.get("loss"), loss_writer(valley.get("loss")), "none"),
                str(valley.get("n_points", UNKNOWN)),
                "; ".join(text for _, text in wording.flags(valley)) or "none",
            )
        )
    return Table(
        ("budget C (FLOP)", "N*", "D*", f"{token}s per parameter", "loss at N*", "points", "flags"),
        tuple(rows),
        "No valley was fitted: " + str(law.get("reason") or "the law was not asked for") + ".",
    )


def parameters(document: dict[str, Any]) -> Table:
    """Every estimate of every law, nested ones by path."""
    rows = []
    for key, law in _laws(document):
        for path, estimate in _estimates(law):
            if path[:2] == ("methods", law.get("method")):
                continue  # the headline again
            rows.append(
                (
                    _path_name(key, path),
                    wording.PARAMETERS.get(path[-1], path[-1]),
                    with_interval(estimate, _writer(path[-1])),
                    _se(estimate),
                )
            )
    return Table(
        ("law", "parameter", "estimate (90% interval)", "standard error"),
        tuple(rows),
        "No law stands, so there are no parameters.",
    )


def predictions(document: dict[str, Any], token: str) -> Table:
    """What each law says of given budgets."""
    stated = document.get("predictions") or []
    totals = any(point(row.get("n_total")) is not None for row in stated)
    rows = [
        (
            power(row.get("flops")),
            wording.law_name(str(row.get("law"))),
            with_interval(row.get("n_opt"), count),
            *([with_interval(row.get("n_total"), count)] if totals else []),
            with_interval(row.get("d_opt"), count),
            with_interval(row.get("tokens_per_param"), power),
            with_interval(row.get("loss"), loss_writer(row.get("loss")), "none"),
            f"{power(row['beyond'])} times outside" if row.get("beyond") else "inside",
        )
        for row in stated
    ]
    return Table(
        (
            *("C (FLOP)", "law", "N*", *(["N* as all parameters"] if totals else []), "D*"),
            *(f"{token}s per parameter", "loss", "compute measured"),
        ),
        tuple(rows),
        "No prediction was asked for, or no law stands to make one.",
    )


def conventions(document: dict[str, Any]) -> Table:
    """The exponents under every way of counting N and C, or why there are none."""
    stated = document.get("conventions") or []
    refused = any(row.get("reason") for row in stated)
    rows = [
        (
            wording.params_name(document, row.get("params")) or str(row.get("params")),
            {"6nd": "6 N D"}.get(str(row.get("flops")), str(row.get("flops"))),
            wording.law_name(str(row.get("law"))),
            *("none" if row.get("reason") else _exponent(row, name) for name in ("a", "b")),
            *([f"refused: {row['reason']}" if row.get("reason") else ""] if refused else []),
        )
        for row in stated
    ]
    return Table(
        ("N counts", "C counts", "law", "a", "b", *(["why none"] if refused else [])),
        tuple(rows),
        "The run table has one convention only.",
    )


def accounting(document: dict[str, Any]) -> Table:
    """planned = used + excluded, and how runs became observations."""
    inputs = document.get("inputs") or {}
    excluded = inputs.get("excluded") or []
    names = {
        "planned": "runs planned",
        "used": "runs used",
        "merged": "rows that averaging over seeds took away",
        "observations": "observations fitted: used less those",
    }
    rows = [(text, str(inputs[key])) for key, text in names.items() if inputs.get(key) is not None]
    rows.insert(min(2, len(rows)), ("runs excluded", str(len(excluded))))
    if inputs.get("where"):
        rows.append(("only rows where", _plain(inputs["where"])))
    return Table(("", "count"), tuple(rows))


def exclusions(document: dict[str, Any]) -> Table:
    """Every run that no fit uses, and why."""
    excluded = (document.get("inputs") or {}).get("excluded") or []
    return Table(
        ("run", "reason"),
        tuple((str(row.get("run_id")), str(row.get("reason"))) for row in excluded),
        "No run was excluded.",
    )


def warnings(document: dict[str, Any]) -> Table:
    """The warnings of the whole fit."""
    return Table(
        ("code", "warning"),
        tuple((str(w.get("code")), str(w.get("text"))) for w in document.get("warnings") or []),
        "No warnings.",
    )


def provenance(document: dict[str, Any]) -> Table:
    """Where the numbers come from, and the options of the fit."""
    rows = [
        (f"{part}.{key}" if part == "options" else key, _plain(value))
        for part in ("provenance", "options")
        for key, value in _flat(document.get(part) or {})
    ]
    return Table(("what", "value"), tuple(rows), "Nothing was recorded.")


def observations_table(observations: Observations, token: str) -> Table:
    """Every observation of the fit."""
    return Table(
        ("run", "C (FLOP)", "N", "D", f"{token}s per parameter", "loss"),
        tuple(
            (
                run_id,
                power(float(observations.flops[i])),
                count(float(observations.params[i])),
                count(float(observations.tokens[i])),
                power(float(observations.tokens[i] / observations.params[i])),
                fixed(float(observations.loss[i]), 4),
            )
            for i, run_id in enumerate(observations.run_id)
        ),
        "No observation was admitted.",
    )


def _laws(document: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    laws = document.get("laws") or {}
    return [(key, law) for key, law in laws.items() if isinstance(law, dict)]


def _estimates(
    node: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    for key, value in node.items():
        if is_estimate(value):
            yield (*path, key), value
        elif isinstance(value, dict):
            yield from _estimates(value, (*path, key))


def _path_name(key: str, path: tuple[str, ...]) -> str:
    inner = [part for part in path[:-1] if part != "methods"]
    return ", ".join([wording.law_name(key), *inner])


def _exponent(row: dict[str, Any], name: str) -> str:
    if row.get("status") == "refused":
        return "none"
    estimate = row.get(name)
    if is_estimate(estimate):
        return with_interval(estimate)
    return fixed(point(estimate))


def _writer(name: str) -> Any:
    """Scales range over decades and take three digits; the rest, decimals by their interval."""
    return power if name in ("A", "B", "n_coef", "d_coef") else None


def loss_writer(estimate: Any) -> Any:
    """How to write a loss: with the decimals that its interval bears out."""
    decimals = decimals_for(estimate, least=3)
    return lambda loss: fixed(loss, decimals)


def _se(estimate: dict[str, Any]) -> str:
    return power(point(estimate.get("se")), 2)


def _why(law: dict[str, Any]) -> str:
    if law.get("status") == "refused":
        return wording.reason(law)
    return "; ".join(text for _, text in wording.flags(law)) or "none"


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _plain(value: Any) -> str:
    if value is None:
        return UNKNOWN
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
