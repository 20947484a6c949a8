"""The state of a fit in one word, and of its flags the one that matters most."""

from collections.abc import Iterator

from scaling.fit.flags import Flag
from scaling.fit.registry import HEADLINE
from scaling.fit.results import FitDocument
from scaling.report.text import labels

# From what makes every number wrong, over what moves the exponent, to what widens an interval.
_WEIGHT = (
    *("no_loss", "units", "mixed_flops", "loss_column", "laws_disagree"),
    *("bent_frontier", "misfit", "outliers"),
    *("unsettled_schedule", "drifting_centre", "methods_disagree", "edge_valley", "few_budgets"),
    *("collinear_design", "flops_mismatch", "repeated_data", "term_at_bound", "wide_interval"),
    *("profile_disagrees", "floor_unidentified", "repeated_points", "few_steps"),
)


def weightiest(document: FitDocument) -> str:
    """The flag of most weight, or why the first law of the headline was refused; `` if none."""
    refused = [law for key, law in document.laws.items() if key in HEADLINE]
    if refused and not any(map(labels.has_numbers, refused)):
        return labels.reason(refused[0])
    found = min(_flags(document), key=_weight, default=None)
    if found is None:
        return ""
    place, flag = found
    first = next((at for at, key in enumerate(HEADLINE) if key in document.laws), 0)
    of_another = first < place < len(HEADLINE)  # than the law of the sentence above
    said = f"{labels.law_name(HEADLINE[place])}: " if of_another else ""
    return f"{said}{flag.text.rstrip('.')}"


def _flags(document: FitDocument) -> Iterator[tuple[int, Flag]]:
    """Flags with the place of their law: the headline's first, then those of the whole fit."""
    for place, key in enumerate(HEADLINE):
        if key in document.laws:
            yield from ((place, flag) for flag in document.laws[key].flags)
    asked = ("converted",)  # says what was asked for, and nothing against the numbers
    of_fit = (warning for warning in document.warnings if warning.code not in asked)
    yield from ((len(HEADLINE), warning) for warning in of_fit)


def _weight(item: tuple[int, Flag]) -> tuple[int, int]:
    place, flag = item
    return (_WEIGHT.index(flag.code) if flag.code in _WEIGHT else len(_WEIGHT), place)
