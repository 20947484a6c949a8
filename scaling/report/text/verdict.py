"""The report's judgement in sentences: what the study shows, and what it cannot show.

Every sentence follows from the document and its runs by a rule stated here; thresholds are those of
the protocol (five budgets, two decades, 500 steps) and of published studies. What it cannot show
stands in order of weight.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from common.numbers import compact, fixed, percent
from common.text import plural
from scaling.fit.data_flags import ENOUGH_BUDGETS
from scaling.fit.registry import HEADLINE
from scaling.fit.results import FitDocument
from scaling.fit.results.checks import Holdout
from scaling.fit.results.laws import Law
from scaling.report.study import Study
from scaling.report.tables.multipliers import TOLD, trends
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

SMALL_SIZE_MISS = 0.25
"""Relative error of a predicted N* beyond which the next budget would be spent on another size."""

LEAST_DECADES = 2.0
LEAST_STEPS = 500
NGRAM_LOSS = 1.5
"""Nats per byte above which a byte model still learns short n-grams."""


@dataclass(frozen=True)
class Limit:
    """What a study cannot show, in a line, and why in a sentence or more."""

    what: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.what}: {self.why}." if self.why else f"{self.what}."


@dataclass(frozen=True)
class Verdict:
    """What the study shows, what it cannot (most weight first), its flags and warnings."""

    shows: tuple[str, ...]
    limits: tuple[Limit, ...]
    flags: tuple[str, ...]

    @property
    def cannot(self) -> tuple[str, ...]:
        """The limits in whole sentences."""
        return tuple(map(str, self.limits))


def judge(study: Study) -> Verdict:
    """The verdict on a whole study."""
    return Verdict(tuple(_shows(study)), tuple(_cannot(study)), tuple(_flags(study.document)))


def _shows(study: Study) -> Iterator[str]:
    document, held = study.document, study.document.holdout
    yield from (f"{trend.words}." for _, trend in trends(document) if trend.verdict in TOLD)
    numbers = any(map(labels.has_numbers, headline_laws(document).values()))
    if numbers and not any(_open_exponent(document)):
        yield (
            "How compute divides between parameters and data on this corpus, with these shapes "
            f"and training rules, from {span(study)}."
        )
    if _overlap(document) and misfit_of(document) is None:
        yield (
            "That the two approaches do not contradict each other: the 90% intervals of the "
            "exponent of N overlap."
        )
    if held.loss_error is not None and not _missed(held):
        yield f"One step beyond its range: {_held_out(held)}."


def _cannot(study: Study) -> Iterator[Limit]:
    document, held = study.document, study.document.holdout
    if not document.inputs.observations:
        yield Limit("Anything", "no run was admitted to a fit")
    refused = {key: law for key, law in document.laws.items() if not labels.has_numbers(law)}
    yield from (_refusal(key, law) for key, law in refused.items() if key in HEADLINE)
    yield from _open_exponent(document)
    yield from _plumbing(study)
    if (why := misfit_of(document)) is not None:
        yield Limit("The loss of a model, and its best size, by the parametric surface", why)
    if _overlap(document) is False:
        yield Limit(
            "Which exponent is right: the 90% intervals of the two approaches are apart",
            "the form of the surface or the reach of the IsoFLOP curves is wrong somewhere",
        )
    if held.loss_error is not None and _missed(held):
        within = (
            f"to within {SMALL_MISS:.0%}" if held.inside90 is not False else "not even one step"
        )
        off = f"loss at {compact(held.flops)} FLOP off by {percent(held.loss_error, 1)}"
        if held.n_opt_error is not None:
            off += f", N* by {percent(held.n_opt_error, 0)}"
        yield Limit(f"What lies beyond its range, {within} ({off})", _held_out(held))
    yield from (Limit(t.words) for _, t in trends(document) if t.verdict not in TOLD)
    yield from _few_budgets(study)
    yield from _bytes(study)
    yield from _training_limits(study)
    yield from _convention_spread(document)
    yield from (_refusal(key, law) for key, law in refused.items() if key not in HEADLINE)


def _refusal(key: str, law: Law) -> Limit:
    return Limit(_capital(f"{labels.law_name(key)}: refused, {labels.reason(law)}"))


def _open_exponent(document: FitDocument) -> Iterator[Limit]:
    """Where not even the first law with numbers tells how compute divides."""
    standing = (item for item in headline_laws(document).items() if labels.has_numbers(item[1]))
    for key, law in standing:
        if law.a.ci90 is not None and law.a.ci90[1] - law.a.ci90[0] > OPEN_EXPONENT:
            low, high = (fixed(end, 2) for end in law.a.ci90)
            yield Limit(
                f"How compute divides between parameters and data: a is {low} to {high}",
                f"by {labels.by_law(key)} the 90% interval of a leaves it open",
            )
        return


def misfit_of(document: FitDocument) -> str | None:
    """How the surface misses its own runs, where it does."""
    law = document.laws.get("parametric")
    flags = law.flags if law is not None else ()
    return next((flag.text for flag in flags if flag.code == "misfit"), None)


def _overlap(document: FitDocument) -> bool | None:
    """Whether the intervals of a by both headline laws overlap; None where one is unknown."""
    ends = [law.a.ci90 for law in headline_laws(document).values() if law.a.ci90]
    if len(ends) < 2:
        return None
    (low, high), (other_low, other_high) = ends
    return low <= other_high and other_low <= high


def _missed(held: Holdout) -> bool:
    misses_size = abs(held.n_opt_error or 0) > SMALL_SIZE_MISS
    return held.inside90 is False or abs(held.loss_error or 0) > SMALL_MISS or misses_size


def _held_out(held: Holdout) -> str:
    inside = {True: ", inside its 90% interval", False: ", outside its 90% interval", None: ""}
    size = f", and N* by {percent(held.n_opt_error, 0)}" if held.n_opt_error is not None else ""
    return (
        f"fitted without {compact(held.flops)} FLOP, the {labels.law_name(held.law or '')} is off "
        f"by {percent(held.loss_error, 2)} at the best loss there{inside[held.inside90]}{size}"
    )


def _top(study: Study) -> float:
    """The most compute of a run, or of a budget where the runs are not known."""
    if len(study.runs):
        return float(study.runs.flops.max())
    return max(budgets(study.document), default=np.inf)


def _plumbing(study: Study) -> Iterator[Limit]:
    top = _top(study)
    if study.document.inputs.observations and top < PLUMBING_FLOPS:
        times = float(compact(PUBLISHED_FLOPS / top, 1))
        yield Limit(
            f"Anything about language models at large (at most {compact(top)} FLOP a run)",
            f"the largest run is {times:,.0f} times smaller than the smallest budget of Hoffmann "
            "et al. This is a test of the machinery. Its exponents are facts about this corpus, "
            "these shapes and these training rules, not about language",
        )


def _few_budgets(study: Study) -> Iterator[Limit]:
    if not study.document.inputs.observations:
        return
    groups, runs = budgets(study.document), study.runs
    if 0 < len(groups) < ENOUGH_BUDGETS:
        yield Limit(
            f"Curvature of the law, from {plural(len(groups), 'budget')}",
            "a line through so few shows almost nothing of whether N* bends; the protocol asks for "
            f"{ENOUGH_BUDGETS} or more",
        )
    reach = groups or ([float(runs.flops.min()), _top(study)] if len(runs) else [])
    if reach and reach[-1] / reach[0] < 0.99 * 10**LEAST_DECADES:
        yield Limit(
            f"Where the line goes beyond its {np.log10(reach[-1] / reach[0]):.1f} decades of "
            "compute",
            f"they are a narrow range (the protocol asks for {LEAST_DECADES:g})",
        )


def _bytes(study: Study) -> Iterator[Limit]:
    if not labels.is_bytes(study.runs):
        return
    yield Limit(
        "Tokens per parameter in the usual sense (the tokens here are bytes)",
        "the familiar 20 tokens per parameter, found with subword vocabularies, is no yardstick",
    )
    least = float(study.runs.loss.min())
    if least > NGRAM_LOSS:
        yield Limit(
            f"The irreducible loss E, from losses of {fixed(least, 2)} nats per byte and above",
            "there models still learn short n-grams, before any power law; E and every loss "
            "extrapolated from it are not to be believed",
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


def _training_limits(study: Study) -> Iterator[Limit]:
    runs, columns = study.runs, study.runs.columns
    if "steps" in columns and (short := int(np.sum(columns["steps"] < LEAST_STEPS))):
        yield Limit(
            f"That every model was trained to its optimum ({short} of {len(runs)} runs are short)",
            f"{plural(short, 'run')} took fewer than {LEAST_STEPS} steps, most of them warm-up and "
            "decay",
        )
    if "epochs" in columns and (repeated := int(np.sum(columns["epochs"] > 1))):
        yield Limit(
            f"The value of fresh data throughout ({plural(repeated, 'run')} repeated it)",
            f"they saw the corpus up to {np.nanmax(columns['epochs']):.1f} times",
        )
    if len(runs) and not runs.merged and not np.isfinite(runs.loss_se).any():
        yield Limit(
            "How much another seed would move it: no run was repeated",
            "the intervals rest on the scatter of single runs about the fitted curves",
        )


def _convention_spread(document: FitDocument) -> Iterator[Limit]:
    known = [row.a.value for row in document.conventions if row.law == "isoflop"]
    values = [value for value in known if value is not None]
    if len(values) > 1 and max(values) - min(values) >= 0.02:
        yield Limit(
            f"One exponent for every way of counting: a goes from {fixed(min(values), 2)} to "
            f"{fixed(max(values), 2)}",
            "it depends on what is counted as a parameter and as a FLOP (table Conventions)",
        )
