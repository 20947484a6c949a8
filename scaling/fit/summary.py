"""What a fit prints: runs, exponents with 90% intervals, the flags that matter, the page.

At most twelve lines, whatever laws were fitted; `verbose` prints a screen. Everything that a fit
found stands in fit.md and fit.json.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from common.text import either, plural, shown
from scaling.fit.registry import HEADLINE, LAWS
from scaling.fit.results import FitDocument
from scaling.fit.results.checks import Holdout
from scaling.fit.results.document import Answer, Prediction
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.forms import form_of, in_words
from scaling.fit.results.laws import EnvelopeLaw, IsoflopLaw, Law, ParametricLaw
from scaling.fit.results.other_laws import DataConstrainedLaw, KaplanLaws, LearningCurveLaw

_WIDTH = 15
_HEADS = ("N* ~ C^a (90% interval)", "D* ~ C^b (90% interval)")
_PARTS = {"L_N": "L(N)", "L_D": "L(D)", "L_C": "L(C)", "L_ND": "L(N, D)"}
_MOST = {"excluded": 3, "flags": 6, "warnings": 4, "refused counts": 3}
_SHOWN_EPOCHS = 4.0
_LINES = 12
# The order in which lines are kept where there is no room for all: the headline, what was asked for
# and the flags, other laws and warnings, constants, runs left out; details with `verbose` alone.
_HEADLINE, _ASKED, _BESIDE, _REST, _LEFT_OUT, _DETAIL = range(6)
# Flags of laws beside the headline that deny a number of theirs.
_SAID = ("tied_exponents", "collinear_design")
# Warnings that speak against the numbers of the headline.
_AGAINST = ("laws_disagree", "no_loss", "mixed_flops")
_GIVEN = {"params": "N", "tokens": "D", "pair": "pair", "flops": "C", "loss": "loss"}


def printed(document: FitDocument, page: Path, verbose: bool) -> str:
    """What a command prints of a fit whose page is at `page`."""
    lines = [(rank, shown(text)) for rank, text in _lines(document)]
    by_rank = sorted(range(len(lines)), key=lambda i: lines[i][0])
    few = [i for i in by_rank if lines[i][0] < _DETAIL][: _LINES - 1]
    kept = sorted(by_rank if verbose else few)
    left = len(lines) - len(kept)
    more = f"; {plural(left, 'line')} more: verbose=true" if left else ""
    end = f"report: {shown(page)} (all numbers: fit.md, fit.json{more})"
    return "\n".join([*(lines[i][1] for i in kept), end])


def summary(document: FitDocument) -> str:
    """All lines of text for a terminal."""
    return "\n".join(shown(text) for _, text in _lines(document))


def _lines(document: FitDocument) -> list[tuple[int, str]]:
    """Every line with its rank."""
    laws = document.laws
    found = [(_HEADLINE, text) for text in _runs(document)]
    excluded = [f"  excluded {one.run_id}: {one.reason}" for one in document.inputs.excluded]
    found += _ranked(_first(excluded, "excluded"), _LEFT_OUT)
    heads = "".join(f"{head:<27}" for head in _HEADS)
    found.append((_HEADLINE, f"{'law':<{_WIDTH}}{'status':<10}{heads}".rstrip()))
    alone = not set(laws) & set(HEADLINE)
    for name, law in laws.items():
        first, *others = _law(name, law)
        is_headline = alone or name in HEADLINE
        found.append((_HEADLINE if is_headline else _BESIDE, first))
        is_refused = name in HEADLINE and law.status == "refused"
        rest = _REST if alone or name == "parametric" else _DETAIL
        found += _ranked(others, _HEADLINE if is_refused else rest)
    flags = _first(_flags(laws), "flags")
    found += [*_ranked(flags[:2], _ASKED), *_ranked(flags[2:], _REST)]
    found += _ranked(_multipliers(document), _HEADLINE)
    beside = document.comparison.warnings if document.comparison else ()
    against = [one for one in document.warnings if one.code in _AGAINST]
    milder = [one for one in document.warnings if one.code not in _AGAINST]
    for rank, warnings in ((_HEADLINE, against), (_BESIDE, milder), (_ASKED, beside)):
        told = [f"warning: {warning.text}" for warning in warnings]
        found += _ranked(_first(told, "warnings"), rank)
    found += _ranked(_first(_refused_counts(document), "refused counts"), _DETAIL)
    held = _held_out(document.holdout, isinstance(document.options.holdout, float))
    return [*found, *_asked(document, alone), *_ranked(held, _HEADLINE)]


def _ranked(texts: Iterable[str], rank: int) -> list[tuple[int, str]]:
    return [(rank, text) for text in texts]


def _runs(document: FitDocument) -> list[str]:
    """Which fit this is, of several on one screen, and what became of the runs."""
    inputs = document.inputs
    where = (inputs.where or {}).items()
    chosen = ", ".join(f"{name}={either(wanted)}" for name, wanted in where)
    lines = [f"{chosen}:"] if chosen else []
    points = plural(inputs.observations, "point")
    if inputs.rows is not None:
        of = f"{plural(inputs.rows, 'row')} of {plural(inputs.planned, 'run')}"
        lines.append(f"{of}: the last of each is the run (rows=runs: every row is one)")
    lines.append(
        f"{plural(inputs.planned, 'run')} = {inputs.used} used + {len(inputs.excluded)} excluded"
        + (f"; {points} after averaging seeds" if inputs.merged else "")
    )
    return lines


def _law(name: str, law: Law) -> list[str]:
    """Its state and what it says, in one line; a headline law's reason or surface in a second."""
    start = f"{name:<{_WIDTH - 1}} {law.status:<10}"
    if law.status == "refused":
        if name in HEADLINE:
            return [start.rstrip(), f"  refused: {law.reason}"]
        return [f"{start}{law.reason}"]
    if not isinstance(law, IsoflopLaw | ParametricLaw | EnvelopeLaw):
        parts = _forms(law) if isinstance(law, KaplanLaws) else ()
        return [start + _told(name, law), *parts]
    lines = [(start + _cell(law.a) + _cell(law.b)).rstrip()]
    if isinstance(law, IsoflopLaw):
        lines.append(f"  by {law.method}: {law.method_reason}")
        beside = {key: one.a.value for key, one in law.methods.items() if one and key != law.method}
        if told := ", ".join(f"{key} {a:.4g}" for key, a in beside.items() if a is not None):
            lines.append(f"  a by the other methods: {told}")
    if isinstance(law, ParametricLaw):
        terms = {"A": law.A, "B": law.B, "alpha": law.alpha, "beta": law.beta}
        others = [f"{key} {_number(term)}" for key, term in terms.items()]
        others += [f"k {_cell(law.k).rstrip()}"] if law.k else []
        equation = law.equation or LAWS[name].equation
        lines.append(f"  {equation}: E {_cell(law.E).rstrip()}, {', '.join(others)}")
    return lines


def _told(name: str, law: Law) -> str:
    """The telling estimates of another law, and the codes of its flags."""
    match law:
        case KaplanLaws():
            lacking = [of for key, of in _PARTS.items() if getattr(law, key).status == "refused"]
            said = [f"L(N, D) a {_number(law.L_ND.a)}"] if "L(N, D)" not in lacking else []
            said += [f"refused: {', '.join(lacking)}"] if lacking else []
        case LearningCurveLaw():
            by_form: dict[str, list[float]] = {}
            for size in law.sizes:
                if size.status != "refused":
                    by_form.setdefault(form_of(size), []).append(size.alpha.value or 0.0)
            said = [
                f"{form}: alpha {min(alphas):.4g} to {max(alphas):.4g} "
                f"over {plural(len(alphas), 'size')}"
                for form, alphas in by_form.items()
            ]
        case DataConstrainedLaw():
            # An interval without an upper end is never a bare number.
            said = [
                f"{word} {_open_above(getattr(law, key), key in law.open_above)}"
                for key, word in LAWS[name].estimates.items()
            ]
            said[0] = f"{LAWS[name].equation}: {said[0]}"
            said += [
                f"{one.epochs:g} passes worth {_cell(one.share).rstrip()}"
                for one in law.worth
                if one.epochs == _SHOWN_EPOCHS
            ]
        case _:
            stated = LAWS[name].estimates.items()
            said = [f"{word} {_cell(getattr(law, key)).rstrip()}" for key, word in stated]
            said[0] = f"{LAWS[name].equation}: {said[0]}"
    codes = dict.fromkeys(flag.code for flag in law.flags if flag.code != "part_refused")
    return ", ".join(said) + (f" [{', '.join(codes)}]" if codes else "")


def _forms(law: KaplanLaws) -> list[str]:
    """Kaplan's laws of one variable that have numbers, each with its form."""
    parts = ((of, getattr(law, key)) for key, of in _PARTS.items() if key != "L_ND")
    return [f"  {of} = {in_words(part)}" for of, part in parts if part.status != "refused"]


def _flags(laws: Mapping[str, Law]) -> list[str]:
    """The flags of the laws that state exponents, each once with the laws that carry it."""
    carriers: dict[tuple[str, str], list[str]] = {}
    for name, law in laws.items():
        for flag in law.flags:
            if "a" in LAWS[name].estimates or flag.code in _SAID:
                carriers.setdefault((flag.code, flag.text), []).append(name)
    return [f"{code} ({', '.join(of)}): {text}" for (code, text), of in carriers.items()]


def _refused_counts(document: FitDocument) -> list[str]:
    """Ways of counting N and C under which a law that stands is refused, by reason."""
    ways: dict[tuple[str, str], list[str]] = {}
    for row in document.conventions:
        if row.reason and document.laws[row.law].status != "refused":
            way = f"N as {row.params} and C as {row.flops}"
            ways.setdefault((row.law, row.reason), []).append(way)
    laws: dict[tuple[str, str], list[str]] = {}
    for (law, reason), of in ways.items():
        laws.setdefault((", or ".join(of), reason), []).append(law)
    return [
        f"with {of} counted, {' and '.join(names)} {'is' if len(names) == 1 else 'are'} refused: "
        + reason
        for (of, reason), names in laws.items()
    ]


def _multipliers(document: FitDocument) -> list[str]:
    """What this arm is worth; the baseline's lines stand with the other arms."""
    own = set(map(str, (document.inputs.where or {}).values()))
    entries = [one for one in document.multipliers or () if one.baseline not in own]
    return list(dict.fromkeys(f"compute: {one.trend.words}" for one in entries if one.trend))


def _first(lines: list[str], what: str) -> list[str]:
    """As many as fit a screen, and how many more there are."""
    most = _MOST[what]
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"  and {len(lines) - most} more {what}, in fit.md"]


def _held_out(held: Holdout, asked: bool) -> list[str]:
    """How the held-out budget was predicted; why it was not, where a FLOP was asked for."""
    if held.loss_error is None:
        return [f"held out: refused, {held.reason}"] if asked and held.reason else []
    side = "" if held.inside90 is None else "inside" if held.inside90 else "outside"
    return [
        f"held out {held.flops:.3g} FLOP: loss {held.loss_predicted.value:.4f} "
        f"predicted by the surface, {held.loss_observed:.4f} observed "
        f"({held.loss_error:+.2%}{side and f', {side} the 90% interval'})"
        + (f"; N* off by {held.n_opt_error:+.0%}" if held.n_opt_error is not None else "")
    ]


def _asked(document: FitDocument, alone: bool) -> Iterator[tuple[int, str]]:
    """Sizes, data and pairs asked for, budgets outside those measured, and differences.

    An answer that a law of the headline gives too gives way, unless none is fitted (`alone`).
    """
    minima = document.isoflop.valleys if document.isoflop else ()
    measured = {minimum.flops for minimum in minima}
    told = {("flops", row.flops) for row in document.predictions if row.law in HEADLINE}
    told |= {_question(one) for one in document.answers if one.law in HEADLINE}
    for row in document.predictions:
        if row.asked or (row.beyond is not None and row.flops not in measured):
            said = _answer(f"{row.flops:.3g} FLOP", row, row.n_opt, row.d_opt, UNKNOWN)
            is_first = alone or row.law in HEADLINE or ("flops", row.flops) not in told
            yield _ASKED if is_first else _BESIDE, said
    for answer in document.answers:
        n, d, c = answer.params, answer.tokens, answer.flops
        said = _answer(_GIVEN[answer.asked], answer, n, d, c)
        is_first = alone or answer.law in HEADLINE or _question(answer) not in told
        yield _ASKED if is_first else _BESIDE, said
    if compared := document.comparison:
        for gap in compared.estimates:
            if gap.name == "a":
                of = f"{gap.law} a less that of {compared.other}: "
                yield _ASKED, of + _cell(gap.difference).rstrip()


def _question(answer: Answer) -> tuple[Any, ...]:
    """What was asked: of which quantity, and its value."""
    given = {"pair": (answer.params.value, answer.tokens.value), "loss": answer.loss.value}
    value = getattr(answer, answer.asked).value if answer.asked not in given else None
    return answer.asked, given.get(answer.asked, value)


def _answer(given: str, row: Prediction | Answer, n: Estimate, d: Estimate, c: Estimate) -> str:
    parts = [("N", n), ("D", d), ("C", c), ("loss", row.loss)]
    form = f", {row.form}" if isinstance(row, Answer) and row.form else ""
    of = "its runs" if form else "the runs' FLOP"
    if isinstance(row, Answer) and row.asked == "loss":
        least = (row.batch or UNKNOWN, row.steps or UNKNOWN)
        parts = [
            *zip(("B_crit", "S_min"), least, strict=True),
            ("E_min", d),
            ("N", n),
            ("C_min", c),
        ]
        given += f" {row.loss.value:.4g}"
        of = of if c.value else "the losses of its runs"
    values = ", ".join(f"{name} {_cell(e, 4).rstrip()}" for name, e in parts if e.value)
    reach = f"; {row.beyond:.3g} times outside {of}" if row.beyond else ""
    others = "".join(f"; {flag.text}" for flag in row.flags if flag.code != "extrapolation")
    return f"predict {given} by {row.law}{form}: {values}{reach}{others}"


def _cell(estimate: Estimate, digits: int = 0) -> str:
    """Value and 90% interval, to so many significant digits, or as suits the value."""
    text = _number(estimate)
    form = f".{digits}g" if digits else ".3f" if abs(estimate.value or 0) < 10 else ".3g"
    if estimate.ci90 is not None:
        text += f" ({estimate.ci90[0]:{form}} to {estimate.ci90[1]:{form}})"
    return f"{text:<27}"


def _open_above(estimate: Estimate, unbounded: bool) -> str:
    """A number whose interval has hardly an upper end, by the end that it has."""
    if unbounded and estimate.ci90 is not None:
        return f"at least {estimate.ci90[0]:.3g} (90%; best {_number(estimate)}, no upper end)"
    return _cell(estimate).rstrip()


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return f"at its {estimate.bound} bound" if estimate.bound else "unknown"
    return f"{estimate.value:.4g}" + (" (held)" if estimate.held else "")
