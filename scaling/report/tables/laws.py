"""The tables of what the laws state: exponents, IsoFLOP minima, every estimate, conventions."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from common.numbers import compact, fixed
from scaling.fit.registry import HEADLINE, LAWS
from scaling.fit.results import FitDocument
from scaling.fit.results.critical_batch import CriticalBatchLaw, SizeAndStepsLaw
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.fit.results.experiments import SampleEfficiencyLaw, ShapeLaw
from scaling.fit.results.forms import form_of, other_form
from scaling.fit.results.laws import EnvelopeLaw, FormLaw, IsoflopLaw, Law, ParametricLaw
from scaling.fit.results.other_laws import (
    DataConstrainedLaw,
    KaplanLaws,
    KaplanOneVariable,
    LearningCurveLaw,
    MinimaLaw,
    OverTrainingLaw,
    TunedLaw,
)
from scaling.report.tables.table import Row, Table
from scaling.report.text import labels
from scaling.report.text.estimates import in_counts, in_loss, with_interval

_FLOPS = {"given": "given", "exact": "exact", "6nd": "6 N D"}
_RUN_OFF = 100.0  # times the estimate
_SCALES = ("A", "B", "n_coef", "d_coef")  # over decades: three digits
_OTHER_SCALES = (
    "B_star",
    "a_prime",
    "b_prime",
    "c",
    "N_c",
    "D_c",
    "C_c",
    "S_c",
    "n_coef",
    "d_coef",
)
_KAPLAN = {
    "L_N": ("L(N)", "(N_c/N)^alpha"),
    "L_D": ("L(D)", "(D_c/D)^alpha"),
    "L_C": ("L(C)", "(C_c/C)^alpha"),
    "L_ND": ("L(N, D)", "[(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D"),
}


def exponents(document: FitDocument) -> Table:
    """Each law that states exponents: its state, a, b and why it is flagged or refused."""
    rows: list[Row] = []
    for key, law in document.laws.items():
        if isinstance(law, IsoflopLaw | ParametricLaw | EnvelopeLaw) and labels.has_numbers(law):
            exponent = map(with_interval, (law.a, law.b))
            rows.append((labels.law_name(key), law.status, *exponent, labels.flag_texts(law.flags)))
        elif key in HEADLINE:
            rows.append((labels.law_name(key), law.status, "none", "none", labels.reason(law)))
    columns = ("law", "state", "a in N* ∝ C^a", "b in D* ∝ C^b", "flags or reason")
    return Table(columns, rows, "No law was asked for.")


def isoflop_minima(document: FitDocument, token: str) -> Table:
    """The minimum of every budget's IsoFLOP curve."""
    law = document.isoflop
    rows: list[Row] = []
    for one in law.valleys if law else ():
        n, d = one.n_opt.value, one.d_opt.value
        sizes = (in_counts(one.n_opt, "no minimum"), in_counts(one.d_opt, "none"))
        ratio, loss = fixed(d / n, 1) if n and d else "none", in_loss(one.loss, "none")
        points, flags = str(one.n_points), labels.flag_texts(one.flags)
        rows.append((compact(one.flops), *sizes, ratio, loss, points, flags))
    reason = (law.reason if law else None) or "the law was not asked for"
    return Table(
        ("budget C (FLOP)", "N*", "D*", f"{token}s per parameter", "loss at N*", "points", "flags"),
        rows,
        f"No IsoFLOP curve was fitted: {reason}.",
    )


def parameters(document: FitDocument) -> Table:
    """Every estimate of every law, nested ones by path."""
    rows: list[Row] = []
    for key, law in document.laws.items():
        method = getattr(law, "method", None)
        for path, estimate in law_estimates(law):
            if path[:2] == ("methods", method):
                continue  # the headline again
            if "forms" in path and path[-2] == _form(law, path):
                continue  # the form of the law, which stands above
            *inner, name = (part for part in path if part != "methods")
            stated = with_interval(estimate, compact if name in _SCALES else None)
            of_one = bool(inner) and inner[0].startswith("L_")  # not of N alone, as a surface's
            symbol = "α" if of_one and name == "alpha" else labels.PARAMETERS.get(name, name)
            if "forms" in inner:
                inner[0] = inner[0].split(" = ")[0]
            law_and_part = ", ".join([labels.law_name(key), *inner])
            rows.append((law_and_part, symbol, stated, _standard_error(estimate)))
    columns = ("law", "parameter", "estimate (90% interval)", "standard error")
    return Table(columns, rows, "Every law was refused, so there are no parameters.")


def _form(law: object, path: tuple[str, ...]) -> str | None:
    """The form that a law of one variable, at the head of a path, has."""
    return getattr(getattr(law, path[0].split(" = ")[0], None), "form", None)


def _standard_error(estimate: Estimate) -> str:
    """None to speak of where a few resamples ran off: an interval says what is known."""
    se, value = estimate.se, estimate.value
    return "none" if se and value and se > _RUN_OFF * abs(value) else compact(se, 2)


def law_estimates(
    node: object, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Estimate]]:
    """The estimates of a law by path; a refused one has those alone that are known."""
    if isinstance(node, Mapping):
        parts = list(node.items())
    elif is_dataclass(node):
        parts = [(f.name, getattr(node, f.name)) for f in fields(node)]
    else:
        return
    refused = getattr(node, "status", None) == "refused"
    for name, value in parts:
        if not isinstance(value, Estimate):
            if isinstance(value, KaplanOneVariable) and value.form:
                name = f"{name} = {form_of(value)}"
            yield from law_estimates(value, (*path, name))
        elif not (refused and value == UNKNOWN):
            yield (*path, name), value


def conventions(document: FitDocument) -> tuple[tuple[str, Table], ...]:
    """The exponent a of each law as a matrix, N by C as they are counted, and why some are none."""
    counted = list(dict.fromkeys(row.flops for row in document.conventions))
    found = []
    for law in dict.fromkeys(row.law for row in document.conventions):
        cells = {(r.params, r.flops): r for r in document.conventions if r.law == law}
        rows: list[Row] = []
        for params in dict.fromkeys(params for params, _ in cells):
            own = (cells.get((params, flops)) for flops in counted)
            stated = ("" if r is None else "none" if r.reason else with_interval(r.a) for r in own)
            rows.append((labels.params_name(document, params), *stated))
        columns = ("a, by what N counts", *(f"C {_FLOPS[flops]}" for flops in counted))
        found.append((labels.law_name(law), Table(columns, rows)))
    reasons: dict[str, list[str]] = {}
    for row in (r for r in document.conventions if r.reason):
        where = f"{labels.law_name(row.law)}, N {row.params}, C {row.flops}"
        reasons.setdefault(str(row.reason), []).append(where)
    if reasons:
        told = [("; ".join(where), reason) for reason, where in reasons.items()]
        found.append(("Why none", Table(("counted so", "refused"), told)))
    return tuple(found) or (("", Table((), (), "The run table has one convention only.")),)


def other_laws(document: FitDocument) -> Table:
    """Kaplan's laws, over-training, learning curves, rate and batch; no rows without them."""
    rows: list[Row] = []
    for name, form, law in _other_laws(document):
        if labels.has_numbers(law):
            rows.append((name, law.status, form, _numbers(law), labels.flag_texts(law.flags)))
        else:
            rows.append((name, law.status, "none", "none", labels.reason(law)))
    return Table(("law", "state", "form", "estimates", "flags or reason"), rows)


def _other_laws(document: FitDocument) -> Iterator[tuple[str, str, Law]]:
    """(name, form, law) of each, in order."""
    for key, law in document.laws.items():
        match law:
            case KaplanLaws():
                for part, (name, form) in _KAPLAN.items():
                    one = getattr(law, part)
                    if isinstance(one, KaplanOneVariable) and labels.has_numbers(one):
                        form = f"{form_of(one)}; {other_form(one)}"
                    yield f"Kaplan's {name}", f"L = {form}", one
            case LearningCurveLaw(sizes=sizes) if labels.has_numbers(law):
                for size in sizes:
                    name = f"L(D) at N = {in_counts(Estimate(size.params))}"
                    form = f"{form_of(size)}; {other_form(size)}" if size.forms else form_of(size)
                    yield name, f"L = {form}", size
            case LearningCurveLaw():
                yield labels.law_name(key), "", law
            case (
                OverTrainingLaw()
                | TunedLaw()
                | DataConstrainedLaw()
                | FormLaw()
                | MinimaLaw()
                | CriticalBatchLaw()
                | SizeAndStepsLaw()
                | SampleEfficiencyLaw()
                | ShapeLaw()
            ):
                yield labels.law_name(key), LAWS[key].equation, law


def _numbers(law: Any) -> str:
    stated = [(f.name, getattr(law, f.name)) for f in fields(law)]
    return ", ".join(
        f"{name} {with_interval(value, compact if name in _OTHER_SCALES else None)}"
        for name, value in stated
        if isinstance(value, Estimate)
    )
