"""The report's judgement in sentences: what the study shows, and what it cannot show.

Every sentence follows from the document and its runs by a rule stated here; thresholds are those of
the protocol (five budgets, two decades, 500 steps) and of published studies.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.numbers import compact, fixed, percent
from common.text import plural
from scaling.fit.data_flags import ENOUGH_BUDGETS
from scaling.fit.results import FitDocument
from scaling.fit.results.checks import Holdout
from scaling.report.study import Study
from scaling.report.tables.multipliers import trends
from scaling.report.text import labels
from scaling.report.text.estimates import joined
from scaling.report.text.headline import budgets, headline_laws, span

PLUMBING_FLOPS = 1e15
"""Below this the optimum is a model of about 3M parameters or fewer: a test of the machinery."""

PUBLISHED_FLOPS = 6e18
"""The smallest budget of Hoffmann et al. 2022."""

OPEN_EXPONENT = 0.2
"""An interval of a as wide as this holds both Kaplan's and Chinchilla's answer, or nearly."""

SMALL_MISS = 0.02
"""Relative error of a predicted loss beyond which an interval holds it by its width alone."""

LEAST_DECADES = 2.0
LEAST_STEPS = 500
NGRAM_LOSS = 1.5
"""Nats per byte above which a byte model still learns short n-grams."""

_TOLD = ("better", "worse")


@dataclass(frozen=True)
class Verdict:
    """What the study shows, what it cannot, and the fit's flags and warnings; whole sentences."""

    shows: tuple[str, ...]
    cannot: tuple[str, ...]
    flags: tuple[str, ...]


def judge(study: Study) -> Verdict:
    """The verdict on a whole study."""
    return Verdict(tuple(_shows(study)), tuple(_cannot(study)), tuple(_flags(study.document)))


def _shows(study: Study) -> Iterator[str]:
    document, held = study.document, study.document.holdout
    numbers = any(map(labels.has_numbers, headline_laws(document).values()))
    if numbers and not any(_open_exponent(document)):
        yield (
            "How compute divides between parameters and data on this corpus, with these shapes "
            f"and training rules, from {span(study)}."
        )
    if _overlap(document):
        yield (
            "That the two approaches do not contradict each other: the 90% intervals of the "
            "exponent of N overlap."
        )
    if held.loss_error is not None and not _missed(held):
        yield f"One step beyond its range: {_held_out(held)}."
    yield from (f"{trend.words}." for _, trend in trends(document) if trend.verdict in _TOLD)


def _cannot(study: Study) -> Iterator[str]:
    document, held = study.document, study.document.holdout
    yield from (f"{_capital(refusal)}." for refusal in labels.refusals(document))
    yield from _open_exponent(document)
    yield from _too_small(study)
    if _overlap(document) is False:
        yield (
            "Which exponent is right: the 90% intervals of the two approaches are apart, so the "
            "form of the surface or the reach of the IsoFLOP curves is wrong somewhere."
        )
    if held.loss_error is not None and _missed(held):
        within = (
            f"to within {SMALL_MISS:.0%}" if held.inside90 is not False else "not even one step"
        )
        yield f"What lies beyond its range, {within}: {_held_out(held)}."
    yield from (f"{trend.words}." for _, trend in trends(document) if trend.verdict not in _TOLD)
    yield from _training_limits(study)
    yield from _convention_spread(document)


def _open_exponent(document: FitDocument) -> Iterator[str]:
    """Where not even the first law with numbers tells how compute divides."""
    standing = (item for item in headline_laws(document).items() if labels.has_numbers(item[1]))
    for key, law in standing:
        if law.a.ci90 is not None and law.a.ci90[1] - law.a.ci90[0] > OPEN_EXPONENT:
            low, high = (fixed(end, 2) for end in law.a.ci90)
            yield (
                f"How compute divides between parameters and data: by {labels.by_law(key)} the "
                f"90% interval of a, {low} to {high}, leaves it open."
            )
        return


def _overlap(document: FitDocument) -> bool | None:
    """Whether the intervals of a by both headline laws overlap; None where one is unknown."""
    ends = [law.a.ci90 for law in headline_laws(document).values() if law.a.ci90]
    if len(ends) < 2:
        return None
    (low, high), (other_low, other_high) = ends
    return low <= other_high and other_low <= high


def _missed(held: Holdout) -> bool:
    return held.inside90 is False or abs(held.loss_error or 0) > SMALL_MISS


def _held_out(held: Holdout) -> str:
    inside = {True: ", inside its 90% interval", False: ", outside its 90% interval", None: ""}
    return (
        f"fitted without {compact(held.flops)} FLOP, the {labels.law_name(held.law or '')} is off "
        f"by {percent(held.loss_error, 2)} at the best loss there{inside[held.inside90]}"
    )


def _too_small(study: Study) -> Iterator[str]:
    if not study.document.inputs.observations:
        yield "Anything: no run was admitted to a fit."
        return
    groups, runs = budgets(study.document), study.runs
    top = float(runs.flops.max()) if len(runs) else max(groups, default=np.inf)
    if top < PLUMBING_FLOPS:
        yield (
            f"Anything about language models at large: the largest run here spent {compact(top)} "
            f"FLOP, {float(compact(PUBLISHED_FLOPS / top, 1)):,.0f} times less than the smallest "
            "budget of Hoffmann et al. This is a test of the machinery. Its exponents are facts "
            "about this corpus, these shapes and these training rules, not about language."
        )
    if labels.is_bytes(runs):
        yield (
            "Tokens per parameter in the usual sense: the tokens here are bytes, so the familiar "
            "20 tokens per parameter, found with subword vocabularies, is no yardstick."
        )
        if runs.loss.min() > NGRAM_LOSS:
            yield (
                f"The irreducible loss E: at {fixed(float(runs.loss.min()), 2)} nats per byte and "
                "above, models still learn short n-grams, before any power law; E and every loss "
                "extrapolated from it are not to be believed."
            )
    if 0 < len(groups) < ENOUGH_BUDGETS:
        yield (
            f"Curvature of the law: a line through {plural(len(groups), 'budget')} shows almost "
            f"nothing of whether N* bends; the protocol asks for {ENOUGH_BUDGETS} or more."
        )
    reach = groups or ([float(runs.flops.min()), top] if len(runs) else [])
    if reach and reach[-1] / reach[0] < 0.99 * 10**LEAST_DECADES:
        yield (
            f"Where the line goes beyond its range: {np.log10(reach[-1] / reach[0]):.1f} decades "
            f"of compute are a short lever (the protocol asks for {LEAST_DECADES:g})."
        )


def _flags(document: FitDocument) -> list[str]:
    """Each flag once, with the laws that carry it, then the warnings of the whole fit."""
    carriers: dict[str, list[str]] = {}
    for key, law in document.laws.items():
        for flag in law.flags:
            carriers.setdefault(flag.text.rstrip("."), []).append(labels.law_name(key))
    found = [f"{joined(laws)}: {text}." for text, laws in carriers.items()]
    found += [f"{warning.text.rstrip('.')}." for warning in document.warnings]
    return list(map(_capital, found))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _training_limits(study: Study) -> Iterator[str]:
    runs, columns = study.runs, study.runs.columns
    if len(runs) and not runs.merged and not np.isfinite(runs.loss_se).any():
        yield (
            "How much another seed would move it: no run was repeated, so the intervals rest on "
            "the scatter of single runs about the fitted curves."
        )
    if "steps" in columns and (short := int(np.sum(columns["steps"] < LEAST_STEPS))):
        yield (
            f"That every model was trained to its optimum: {plural(short, 'run')} of {len(runs)} "
            f"took fewer than {LEAST_STEPS} steps, most of them warm-up and decay."
        )
    if "epochs" in columns and (repeated := int(np.sum(columns["epochs"] > 1))):
        yield (
            f"The value of fresh data throughout: {plural(repeated, 'run')} saw the corpus more "
            f"than once (up to {np.nanmax(columns['epochs']):.1f} times)."
        )


def _convention_spread(document: FitDocument) -> Iterator[str]:
    known = [row.a.value for row in document.conventions if row.law == "isoflop"]
    values = [value for value in known if value is not None]
    if len(values) > 1 and max(values) - min(values) >= 0.02:
        yield (
            "One exponent for every way of counting: on the same runs a goes from "
            f"{fixed(min(values), 2)} to {fixed(max(values), 2)} with what is counted as a "
            "parameter and as a FLOP (table Conventions)."
        )
