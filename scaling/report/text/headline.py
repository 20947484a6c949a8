"""The report's title, its first sentence, and the size of the study behind it."""

from collections.abc import Callable
from pathlib import PurePath

import numpy as np

from common.numbers import compact, count, fixed
from common.text import either, plural
from scaling.fit.results import FitDocument
from scaling.fit.results.estimate import Estimate
from scaling.fit.results.laws import IsoflopLaw, ParametricLaw
from scaling.fit.results.multipliers import Trend
from scaling.report.study import Study
from scaling.report.tables.multipliers import TOLD, trends
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
    """The answer in one sentence: what arms are worth, else the exponents with their intervals."""
    if worth := sorted((trend for _, trend in trends(document)), key=_told)[:1]:
        words = worth[0].words
        return f"{words.split(';')[0] if worth[0].with_compute == 'constant' else words}."
    asked = headline_laws(document)
    for law in filter(labels.has_numbers, asked.values()):
        n, d = _power_of_c(law.a, True), _power_of_c(law.b, False)
        return f"Compute-optimal size grows as {n} and data as {d}."
    if not asked:
        return "No law of compute-optimal size was asked for."
    reasons = (f"{labels.law_name(key)}: {labels.reason(law)}" for key, law in asked.items())
    return f"Every law of compute-optimal size was refused; {'; '.join(reasons)}."


def _told(trend: Trend) -> tuple[bool, float]:
    """An arm that is shown to differ comes first, and of these the one of largest effect."""
    return trend.verdict not in TOLD, -abs(np.log(trend.k.value or 1))


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
