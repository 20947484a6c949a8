"""The report's judgement in sentences: what the study shows, and what it cannot show.

Every sentence follows from the document and its observations by a rule stated here; thresholds are
those of the protocol (five budgets, two decades, 500 steps) and of published studies.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from scaling.fit.cells import plural
from scaling.fit.observations import Observations
from scaling.report import wording
from scaling.report.headline import budgets, span
from scaling.report.numbers import (
    fixed,
    interval,
    listed,
    percent,
    point,
    power,
)

PLUMBING_FLOPS = 1e15
"""Below this the optimum is a model of about 3M parameters or fewer: a test of the machinery."""

PUBLISHED_FLOPS = 6e18
"""The smallest budget of Hoffmann et al. 2022."""

OPEN_EXPONENT = 0.2
"""An interval of a as wide as this holds both Kaplan's and Chinchilla's answer, or nearly."""

SMALL_MISS = 0.02
"""Relative error of a loss foretold beyond which an interval that holds it only shows its width."""

LEAST_BUDGETS = 5
LEAST_DECADES = 2.0
LEAST_STEPS = 500
NGRAM_LOSS = 1.5
"""Nats per byte above which a byte model still learns short n-grams."""


_INSIDE: dict[Any, str] = {True: "inside", False: "outside"}


@dataclass(frozen=True)
class Verdict:
    """What the study shows, what it cannot, and the fit's own doubts; each whole sentences."""

    shows: tuple[str, ...]
    cannot: tuple[str, ...]
    doubts: tuple[str, ...]


def judge(document: dict[str, Any], observations: Observations) -> Verdict:
    """The verdict on a whole study."""
    return Verdict(
        shows=tuple(_shows(document, observations)),
        cannot=tuple(
            [
                *_refusals(document),
                *_open_exponent(document),
                *_too_small(document, observations),
                *_disagreement(document),
                *_missed_holdout(document),
                *_unknown_noise(observations),
                *_training_doubts(observations),
                *_convention_spread(document),
            ]
        ),
        doubts=tuple(_doubts(document)),
    )


def _shows(document: dict[str, Any], observations: Observations) -> list[str]:
    laws = document.get("laws") or {}
    found = []
    standing = [key for key in wording.HEADLINE_LAWS if wording.stands(laws.get(key))]
    if standing and not _open_exponent(document):
        found.append(
            f"How compute divides between parameters and data on this corpus, with these shapes "
            f"and training rules, from {span(document, observations)}."
        )
    ends = {key: interval((laws.get(key) or {}).get("a")) for key in standing}
    first, second = ends.get("isoflop"), ends.get("parametric")
    if first and second and first[0] <= second[1] and second[0] <= first[1]:
        found.append(
            "That the two approaches do not contradict each other: the 90% intervals of the "
            "exponent of N overlap."
        )
    held = document.get("holdout") or {}
    if held.get("loss_error") is not None and not _missed(held):
        found.append(f"One step beyond its range: {_held_out(held)}.")
    return found


def _open_exponent(document: dict[str, Any]) -> list[str]:
    """Said where not even the first law that stands says how compute divides."""
    laws = document.get("laws") or {}
    for key in wording.HEADLINE_LAWS:
        if wording.stands(laws.get(key)):
            ends = interval(laws[key].get("a"))
            if ends is None or ends[1] - ends[0] <= OPEN_EXPONENT:
                return []
            return [
                f"How compute divides between parameters and data: by {wording.by_law(key)} the "
                f"90% interval of a, {fixed(ends[0], 2)} to {fixed(ends[1], 2)}, leaves it open."
            ]
    return []


def _disagreement(document: dict[str, Any]) -> list[str]:
    laws = document.get("laws") or {}
    first, second = (interval((laws.get(k) or {}).get("a")) for k in wording.HEADLINE_LAWS)
    if not first or not second or (first[0] <= second[1] and second[0] <= first[1]):
        return []
    return [
        "Which exponent is right: the 90% intervals of the two approaches are apart, so the form "
        "of the surface or the reach of the valleys is wrong somewhere."
    ]


def _missed_holdout(document: dict[str, Any]) -> list[str]:
    held = document.get("holdout") or {}
    if held.get("loss_error") is None or not _missed(held):
        return []
    if held.get("inside90") is not False:
        return [f"What lies beyond its range, to within {SMALL_MISS:.0%}: {_held_out(held)}."]
    return [f"What lies beyond its range, not even one step: {_held_out(held)}."]


def _missed(held: dict[str, Any]) -> bool:
    return held.get("inside90") is False or abs(held["loss_error"]) > SMALL_MISS


def _held_out(held: dict[str, Any]) -> str:
    inside = _INSIDE.get(held.get("inside90"))
    where = f", {inside} its 90% interval" if inside else ""
    return (
        f"fitted without {power(held.get('flops'))} FLOP, the "
        f"{wording.law_name(str(held.get('law')))} is off by {percent(held['loss_error'], 2)} at "
        f"the best loss there{where}"
    )


def _too_small(document: dict[str, Any], observations: Observations) -> list[str]:
    found: list[str] = []
    if not len(observations.flops):
        return ["Anything: no run was admitted to a fit."]
    top = float(observations.flops.max())
    if top < PLUMBING_FLOPS:
        times = float(power(PUBLISHED_FLOPS / top, 1))
        found.append(
            f"Anything about language models at large: the largest run here spent {power(top)} "
            f"FLOP, {times:,.0f} times less than the smallest budget of "
            f"Hoffmann et al. This is a test of the machinery. Its exponents are facts about this "
            f"corpus, these shapes and these training rules, not about language."
        )
    if wording.is_bytes(observations):
        found.append(
            "Tokens per parameter in the usual sense: the tokens here are bytes, so the familiar "
            "20 tokens per parameter, found with subword vocabularies, is no yardstick."
        )
        if observations.loss.min() > NGRAM_LOSS:
            found.append(
                f"The floor of the loss: at {fixed(float(observations.loss.min()), 2)} nats per "
                f"byte and above, models still learn short n-grams, before any power law; E and "
                f"every loss extrapolated from it are not to be believed."
            )
    groups = budgets(document)
    if 0 < len(groups) < LEAST_BUDGETS:
        found.append(
            f"Curvature of the law: a line through {plural(len(groups), 'budget')} shows almost "
            f"nothing of whether N* bends; the protocol asks for {LEAST_BUDGETS} or more."
        )
    reach = groups or [float(observations.flops.min()), top]
    if reach[-1] / reach[0] < 0.99 * 10**LEAST_DECADES:
        found.append(
            f"Where the line goes beyond its range: {np.log10(reach[-1] / reach[0]):.1f} decades "
            f"of compute are a short lever (the protocol asks for {LEAST_DECADES:g})."
        )
    return found


def _refusals(document: dict[str, Any]) -> list[str]:
    return [
        f"{_capital(wording.law_name(key))}: refused, {wording.reason(law)}."
        for key, law in (document.get("laws") or {}).items()
        if isinstance(law, dict) and law.get("status") == "refused"
    ]


def _doubts(document: dict[str, Any]) -> list[str]:
    """Each flag once, with the laws that carry it, then the warnings of the whole fit."""
    carriers: dict[str, list[str]] = {}
    for key, law in (document.get("laws") or {}).items():
        for _, text in wording.flags(law or {}):
            carriers.setdefault(text.rstrip("."), []).append(wording.law_name(key))
    found = [f"{listed(laws)}: {text}." for text, laws in carriers.items()]
    found += [
        f"{str(warning.get('text')).rstrip('.')}." for warning in document.get("warnings") or []
    ]
    return list(map(_capital, found))


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _unknown_noise(observations: Observations) -> list[str]:
    known = np.isfinite(observations.loss_se)
    if not len(observations.loss) or observations.merged or known.any():
        return []
    return [
        "How much another seed would move it: no run was repeated, so the intervals rest on the "
        "scatter of single runs about the fitted curves."
    ]


def _training_doubts(observations: Observations) -> list[str]:
    found = []
    steps = observations.columns.get("steps")
    if steps is not None and (short := int(np.sum(steps < LEAST_STEPS))):
        found.append(
            f"That every model was trained to its optimum: {plural(short, 'run')} of "
            f"{len(steps)} took fewer than {LEAST_STEPS} steps, most of them warm-up and decay."
        )
    epochs = observations.columns.get("epochs")
    if epochs is not None and (repeated := int(np.sum(epochs > 1))):
        found.append(
            f"The value of fresh data throughout: {plural(repeated, 'run')} saw the corpus more "
            f"than once (up to {np.nanmax(epochs):.1f} times)."
        )
    return found


def _convention_spread(document: dict[str, Any]) -> list[str]:
    rows = [
        (value, row)
        for row in document.get("conventions") or []
        if row.get("law") == "isoflop" and (value := point(row.get("a"))) is not None
    ]
    if len(rows) < 2:
        return []
    (low, _), (high, _) = min(rows, key=lambda r: r[0]), max(rows, key=lambda r: r[0])
    if high - low < 0.02:
        return []
    return [
        f"One exponent for every way of counting: on the same runs a goes from {fixed(low, 2)} to "
        f"{fixed(high, 2)} with what is counted as a parameter and as a FLOP (table Conventions)."
    ]
