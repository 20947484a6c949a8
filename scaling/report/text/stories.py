"""The lines beside a figure that stands open: at most three, each a fact of this study."""

from collections.abc import Iterator

import numpy as np

from common.numbers import compact, count, fixed, percent
from common.text import plural
from scaling.fit.results import FitDocument
from scaling.report.study import Study
from scaling.report.text import labels
from scaling.report.text.estimates import with_interval
from scaling.report.text.headline import headline_laws

_CONSTANTS = {"E": "E", "alpha": "α", "beta": "β"}


def allocation(study: Study) -> Iterator[str]:
    """The exponent by each approach, and what ten times the compute asks for."""
    standing = {k: v for k, v in headline_laws(study.document).items() if labels.has_numbers(v)}
    for key, law in standing.items():
        codes = dict.fromkeys(labels.flag_name(flag.code) for flag in law.flags)
        flagged = f" ({', '.join(codes)})" if codes else ""
        name = labels.law_name(key)
        yield f"By {name}: a = {with_interval(law.a)}, {law.status}{flagged}."
    for law in standing.values():
        if law.a.value is not None and law.b.value is not None:
            n, d = (fixed(10**exponent, 1) for exponent in (law.a.value, law.b.value))
            token = labels.axis_labels(study).token
            yield f"Ten times the compute: {n} times the parameters on {d} times the {token}s."
        return


def surface(document: FitDocument) -> Iterator[str]:
    """The surface with its constants."""
    law = document.parametric
    if law is None or not labels.has_numbers(law):
        return
    yield f"{law.equation or 'L(N, D) = E + A / N^α + B / D^β'}."
    stated = [(word, getattr(law, name)) for name, word in _CONSTANTS.items()]
    yield f"{', '.join(f'{word} = {with_interval(one)}' for word, one in stated)}."
    scales = (compact(law.A.value), compact(law.B.value))
    yield f"A = {scales[0]}, B = {scales[1]}: scales, that go with their exponents."


def residuals(document: FitDocument) -> Iterator[str]:
    """How much the surface leaves, whether it predicted the top budget, and what stands out."""
    law, held = document.parametric, document.holdout
    if law is not None and law.residuals:
        yield f"Residual standard deviation {100 * float(np.std(law.residuals)):.2f}% of the loss."
    if held.loss_error is not None:
        inside = {True: ", inside", False: ", outside", None: ""}[held.inside90]
        word = f"{inside} its 90% interval" if inside else ""
        yield (
            f"Fitted without {compact(held.flops)} FLOP, it misses the best loss there by "
            f"{percent(held.loss_error, 2)}{word}."
        )
    found = document.diagnostics.outliers.runs
    if found:
        far = max(found, key=lambda run: abs(run.score))
        yield (
            f"{plural(len(found), 'outlier')}; the farthest, N {count(far.params)} on D "
            f"{count(far.tokens)}, is {abs(far.score):.1f} robust standard deviations off."
        )
    else:
        yield "No run is an outlier."


def curves(study: Study) -> Iterator[str]:
    """How many runs are drawn, and how long they are."""
    yield "A model of larger size starts later and ends lower; only the end of a line is fitted."
    steps = study.runs.columns.get("steps")
    if steps is not None and np.isfinite(steps).any():
        least, most = np.nanmin(steps), np.nanmax(steps)
        yield f"{plural(len(study.curves), 'run')}, of {least:,.0f} to {most:,.0f} steps."
    else:
        yield f"{plural(len(study.curves), 'run')}."
