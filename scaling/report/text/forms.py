"""What is said of the surface's form, and of the comparison of forms."""

from collections.abc import Iterator

from scaling.fit.results import FitDocument
from scaling.fit.results.checks import FormRow

_REJECTED = 0.05
_NULLS = {"coupled": "k = 1", "tied": "alpha = beta"}
_ROLLING = {"flops": "C", "params": "N", "tokens": "D"}


_OBJECTIVES = {
    "asymmetric": "runs above the surface count a tenth in its objective",
    "lad": "its objective is the sum of absolute residuals of log loss",
    "least_squares": "its objective is the sum of squares of the residuals of log loss",
    "least_squares_loss": "its objective is the sum of squares of the residuals of the loss itself",
}


def surface(document: FitDocument) -> str:
    """The form of the surface, and what was asked of it that is not the rule."""
    law, options = document.parametric, document.options
    equation = None if law is None else law.equation
    parts = [f"One surface for all runs: {equation or 'L(N, D) = E + A / N^α + B / D^β'}"]
    if options.surface_E is not None:
        parts.append(
            f"E is held at {options.surface_E:g} and not fitted: no interval has its error"
        )
    if options.surface_weights is not None:
        parts.append(f"runs count by {options.surface_weights}")
    parts += [_OBJECTIVES[options.objective]] if options.objective in _OBJECTIVES else []
    return f"{'; '.join(parts)}."


def sentences(document: FitDocument) -> Iterator[str]:
    """The errors on the held-out budget, the likelihood ratios, and the best form elsewhere."""
    rows = [row for row in document.forms if row.status != "refused"]
    top = [(row.form, row.held_out.top) for row in rows if row.held_out.top is not None]
    if top:
        listed = ", ".join(f"{form} {100 * error:.2g}%" for form, error in top)
        yield f"Error on the held-out budget by form: {listed}."
    else:
        yield "No held-out budget has runs enough below it to compare forms."
    tests = list(map(_test, rows))
    yield f"Likelihood ratios: {'; '.join(filter(None, tests)) or 'none, no nested form stands'}."
    best = []
    for name, of in _ROLLING.items():
        known = [(getattr(row.held_out, name), row.form) for row in rows]
        if errors := sorted(one for one in known if one[0] is not None):
            best.append(f"by {of} {errors[0][1]} ({100 * errors[0][0]:.2g}%)")
    yield f"Least error rolling: {', '.join(best) or 'none, too few runs below any split'}."


def _test(row: FormRow) -> str:
    if row.against_hoffmann is None or row.form not in _NULLS:
        return ""
    p = row.against_hoffmann.p
    verdict = "is rejected" if p < _REJECTED else "is not rejected"
    return f"{_NULLS[row.form]} {verdict} (p = {p:.2g})"
