"""A law of one variable in words: its form, and the other form beside it.

An exponent above an irreducible loss E and one without are not comparable, and BIC may prefer one
form here and the other there: no exponent is said without its form.
"""

from scaling.fit.results.estimate import Estimate
from scaling.fit.results.other_laws import KaplanOneVariable, LearningCurve, PowerForm

OneVariable = KaplanOneVariable | LearningCurve
_SCALES = {"N_c": "N", "D_c": "D", "C_c": "C"}


def form_of(law: OneVariable) -> str:
    """The form whose constants are the law's, as `E + (N_c/N)^alpha`."""
    scale = next((name for name in _SCALES if getattr(law, name, None) is not None), "X_c")
    power = f"({scale}/{_SCALES.get(scale, 'X')})^alpha"
    return f"E + {power}" if law.form == "floor" else power


def other_form(law: OneVariable) -> str:
    """What the form that BIC does not prefer has for alpha, and by how much it is worse."""
    if law.forms is None or law.floor_gain is None:
        return "no E could be fitted"
    by = f"delta BIC {abs(law.floor_gain):.1f}"
    if law.form == "floor":
        return f"without E {_number(law.forms.power.alpha)}, {by} worse"
    assert law.forms.floor is not None
    return f"above {_floor(law.forms.floor)} {_number(law.forms.floor.alpha)}, {by} worse"


def in_words(law: OneVariable) -> str:
    """Form, exponent, E and the other form, in one phrase."""
    above = ""
    if law.form == "floor" and law.forms is not None and law.forms.floor is not None:
        above = f" above {_floor(law.forms.floor)}"
    return f"{form_of(law)}: alpha {_number(law.alpha)}{above} ({other_form(law)})"


def _floor(form: PowerForm) -> str:
    return f"E {_number(form.E)}" if form.E is not None and form.E.value is not None else "E 0"


def _number(estimate: Estimate) -> str:
    return "unknown" if estimate.value is None else f"{estimate.value:.4g}"
