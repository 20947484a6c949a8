"""What the comparison of forms says, in three sentences."""

from collections.abc import Iterator

from scaling.fit.results import FitDocument
from scaling.fit.results.checks import FormRow

_REJECTED = 0.05
_NULLS = {"coupled": "k = 1", "tied": "alpha = beta"}
_ROLLING = {"flops": "C", "params": "N", "tokens": "D"}


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
