"""The table of the laws beside the headline: one row a law, or a part of one, with its numbers."""

from collections.abc import Iterator
from typing import Any

from scaling.report import wording
from scaling.report.numbers import count, is_estimate, power, with_interval
from scaling.report.tables import Table

_SCALES = ("a_prime", "b_prime", "c", "N_c", "D_c", "C_c")
_KAPLAN = {
    "L_N": ("L(N)", "(N_c/N)^alpha"),
    "L_D": ("L(D)", "(D_c/D)^alpha"),
    "L_C": ("L(C)", "(C_c/C)^alpha"),
    "L_ND": ("L(N, D)", "[(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D"),
}
_FORMS = {
    "over_training": "L = E + (a' M^eta + b' M^-eta) C^-eta",
    "lr": "best rate = c N^p D^q",
    "batch": "best batch = c D^q",
}


def further(document: dict[str, Any]) -> Table:
    """Kaplan's laws, over-training, learning curves, rate and batch; no rows without them."""
    rows = []
    for name, form, law in _laws(document):
        state = wording.STATES.get(str(law.get("status")), "")
        if wording.stands(law):
            doubts = "; ".join(text for _, text in wording.flags(law)) or "none"
            rows.append((name, state, form, _numbers(law), doubts))
        else:
            rows.append((name, state, "none", "none", wording.reason(law)))
    return Table(("law", "state", "form", "estimates", "flags or reason"), tuple(rows))


def _laws(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(name, form, law object) of each, in order."""
    laws = document.get("laws") or {}
    if "kaplan" in laws:
        for key, (name, form) in _KAPLAN.items():
            part = laws["kaplan"].get(key) or laws["kaplan"]
            yield f"Kaplan's {name}", f"L = {_floor(part)}{form}", part
    if "learning_curve" in laws:
        whole = laws["learning_curve"]
        if not wording.stands(whole):
            yield wording.law_name("learning_curve"), "", whole
        else:
            for size in whole["sizes"]:
                name = f"L(D) at N = {count(size['params'])}"
                yield name, f"L = {_floor(size)}(D_c/D)^alpha", size
    for key, form in _FORMS.items():
        if key in laws:
            yield wording.law_name(key), form, laws[key]


def _floor(law: dict[str, Any]) -> str:
    return "E + " if law.get("form") == "floor" else ""


def _numbers(law: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {with_interval(value, power if name in _SCALES else None)}"
        for name, value in law.items()
        if is_estimate(value)
    )
