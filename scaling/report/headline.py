"""The report's title, its first sentence, and the size of the study behind it."""

from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import numpy as np

from scaling.fit.cells import either, plural
from scaling.fit.observations import Observations
from scaling.report import wording
from scaling.report.numbers import (
    count,
    decimals_for,
    fixed,
    interval,
    listed,
    point,
    power,
)


def title_of_study(document: dict[str, Any]) -> str:
    """Which runs this is a fit of: the inputs, and the rows chosen by `where` or `by`."""
    runs = [run["path"] for run in (document.get("provenance") or {}).get("runs") or []]
    chosen = ((document.get("inputs") or {}).get("where") or {}).items()
    of = f" of {listed([PurePath(path).name or path for path in runs])}" if runs else ""
    return f"Scaling-law fit{of}" + "".join(f", {name} {either(wanted)}" for name, wanted in chosen)


def headline(document: dict[str, Any]) -> str:
    """One sentence: the exponents by approach with intervals and the state of each law."""
    laws = document.get("laws") or {}
    asked = [key for key in wording.HEADLINE_LAWS if isinstance(laws.get(key), dict)]
    standing = [key for key in asked if wording.stands(laws[key])]
    if not asked:
        return "No law of compute-optimal size was asked for."
    parts = []
    for key in standing:
        law, first = laws[key], key == standing[0]
        n, d = (_power_of_c(law.get(name), first and name == "a") for name in ("a", "b"))
        codes = list(dict.fromkeys(code for code, _ in wording.flags(law)))
        doubt = f" (flagged: {listed(codes)})" if codes else ""
        subject = ("Compute-optimal size grows as ", "data as ") if first else ("as ", "")
        parts.append(f"{subject[0]}{n} and {subject[1]}{d} by {wording.by_law(key)}{doubt}")
    parts += [
        f"{wording.law_name(key)} refused: {wording.reason(laws[key])}"
        for key in asked
        if key not in standing
    ]
    if not standing:
        parts.insert(0, "No law of compute-optimal size stands")
    return f"{'; '.join(parts)}."


def size_of_study(document: dict[str, Any], observations: Observations) -> str:
    """The study in one line: runs, budgets, sizes."""
    inputs = document.get("inputs") or {}
    parts = [f"{plural(int(inputs.get('used') or 0), 'run')} of {inputs.get('planned', 0)} used"]
    if len(observations.loss):
        parts += [
            span(document, observations),
            f"{_reach(observations.params, count)} parameters",
        ]
    return ", ".join(parts)


def budgets(document: dict[str, Any]) -> list[float]:
    """The budgets whose valley has a vertex, ascending."""
    law = (document.get("laws") or {}).get("isoflop") or {}
    return sorted(v["flops"] for v in law.get("valleys") or [] if point(v.get("n_opt")))


def span(document: dict[str, Any], observations: Observations) -> str:
    """The compute that valleys with a vertex cover, or the runs where there is none."""
    found = budgets(document)
    if found:
        decades = np.log10(found[-1] / found[0])
        return (
            f"{power(found[0])} to {power(found[-1])} FLOP "
            f"({plural(len(found), 'budget')}, {decades:.1f} decades)"
        )
    if len(observations.flops):
        return f"{_reach(observations.flops, power)} FLOP"
    return "no runs"


def _reach(values: np.ndarray, write: Callable[[float], str]) -> str:
    """Least to most, or the one value where they read alike."""
    low, high = write(float(values.min())), write(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _power_of_c(estimate: Any, spell_out: bool) -> str:
    """`C^0.42 (0.39 to 0.45)`; the first interval of a sentence says that it is 90%."""
    value, ends = point(estimate), interval(estimate)
    if value is None:
        return "an unknown power of C"
    decimals = decimals_for(estimate)
    if ends is None:
        return f"C^{fixed(value, decimals)} (no interval)"
    low, high = (fixed(end, decimals) for end in ends)
    return f"C^{fixed(value, decimals)} ({'90% interval ' if spell_out else ''}{low} to {high})"
