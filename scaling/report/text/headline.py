"""The report's title, its first sentence, and the size of the study behind it."""

from collections.abc import Callable
from pathlib import PurePath

import numpy as np

from common.numbers import compact, count, fixed
from common.text import either, plural
from scaling.fit.results import FitDocument
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import IsoflopLaw, ParametricLaw
from scaling.report.study import Study
from scaling.report.text import labels
from scaling.report.text.estimates import decimals_for, joined


def title_of_study(document: FitDocument) -> str:
    """Which runs this is a fit of: the inputs, and the rows chosen by `where` or `by`."""
    names = [PurePath(run.path).name or run.path for run in document.provenance.runs]
    of = f" of {joined(names)}" if names else ""
    chosen = (document.inputs.where or {}).items()
    return f"Scaling-law fit{of}" + "".join(f", {name} {either(wanted)}" for name, wanted in chosen)


def headline_laws(document: FitDocument) -> dict[str, IsoflopLaw | ParametricLaw]:
    """The laws of approaches 2 and 3 that were asked for, by name."""
    found = (("isoflop", document.isoflop), ("parametric", document.parametric))
    return {key: law for key, law in found if law is not None}


def headline(document: FitDocument) -> str:
    """One sentence: the exponents by approach with intervals and the state of each law."""
    asked = headline_laws(document)
    if not asked:
        return "No law of compute-optimal size was asked for."
    parts: list[str] = []
    for key, law in asked.items():
        if labels.has_numbers(law):
            first = not parts
            codes = dict.fromkeys(labels.flag_name(flag.code) for flag in law.flags)
            flagged = f" (flagged: {joined(list(codes))})" if codes else ""
            subject = ("Compute-optimal size grows as ", "data as ") if first else ("as ", "")
            n, d = _power_of_c(law.a, first), _power_of_c(law.b, False)
            parts.append(f"{subject[0]}{n} and {subject[1]}{d} by {labels.by_law(key)}{flagged}")
    if not parts:
        parts.append("Every law of compute-optimal size was refused")
    parts += [
        f"{labels.law_name(key)} refused: {labels.reason(law)}"
        for key, law in asked.items()
        if not labels.has_numbers(law)
    ]
    return f"{'; '.join(parts)}."


def size_of_study(study: Study) -> str:
    """The study in one line: runs, budgets, sizes."""
    inputs = study.document.inputs
    parts = [f"{plural(inputs.used, 'run')} of {inputs.planned} used"]
    if budgets(study.document) or len(study.runs):
        parts.append(span(study))
    if len(study.runs):
        parts.append(f"{_reach(study.runs.params, count)} parameters")
    return ", ".join(parts)


def budgets(document: FitDocument) -> list[float]:
    """The budgets whose IsoFLOP curve has a minimum, ascending."""
    law = document.isoflop
    return sorted(v.flops for v in (law.valleys if law else ()) if v.n_opt.value)


def span(study: Study) -> str:
    """The compute that minima of IsoFLOP curves cover, or the runs where there is none."""
    found = budgets(study.document)
    if found:
        decades = np.log10(found[-1] / found[0])
        return (
            f"{compact(found[0])} to {compact(found[-1])} FLOP "
            f"({plural(len(found), 'budget')}, {decades:.1f} decades)"
        )
    return f"{_reach(study.runs.flops, compact)} FLOP" if len(study.runs) else "the runs' compute"


def _reach(values: np.ndarray, write: Callable[[float], str]) -> str:
    """Least to most, or the one value where they read alike."""
    low, high = write(float(values.min())), write(float(values.max()))
    return low if low == high else f"{low} to {high}"


def _power_of_c(estimate: Estimate, spell_out: bool) -> str:
    """`C^0.42 (0.39 to 0.45)`; the first interval of a sentence says that it is 90%."""
    if estimate.value is None:
        return "an unknown power of C"
    decimals = decimals_for(estimate)
    if estimate.ci90 is None:
        return f"C^{fixed(estimate.value, decimals)} (no interval)"
    low, high = (fixed(end, decimals) for end in estimate.ci90)
    words = "90% interval " if spell_out else ""
    return f"C^{fixed(estimate.value, decimals)} ({words}{low} to {high})"
