"""The few lines that a fit prints: what was used, each law with its exponents, its doubts."""

from typing import Any

from scaling.fit.tables import shown

_NAMES = {"a": "N* ~ C^a", "b": "D* ~ C^b"}


def summary(document: dict[str, Any]) -> str:
    """Lines of text for a terminal, from the document of fit.json."""
    inputs = document["inputs"]
    lines = [
        f"{inputs['planned']} runs = {inputs['used']} used + {len(inputs['excluded'])} excluded"
        + (f"; {inputs['observations']} points after averaging seeds" if inputs["merged"] else "")
    ]
    for exclusion in inputs["excluded"][:5]:
        lines.append(f"  excluded {exclusion['run_id']}: {exclusion['reason']}")
    if len(inputs["excluded"]) > 5:
        lines.append(f"  and {len(inputs['excluded']) - 5} more")
    lines.append(f"{'law':<12}{'status':<10}" + "".join(f"{name:<27}" for name in _NAMES.values()))
    for name, law in document["laws"].items():
        exponents = "" if law["status"] == "refused" else "".join(_cell(law[key]) for key in _NAMES)
        lines.append(f"{name:<12}{law['status']:<10}{exponents}".rstrip())
        if law["reason"] is not None:
            lines.append(f"  refused: {law['reason']}")
        if law["status"] != "refused" and "E" in law:
            terms = (f"{key} {_number(law[key])}" for key in ("E", "A", "B", "alpha", "beta"))
            lines.append("  L = E + A N^-alpha + B D^-beta: " + ", ".join(terms))
        lines += [f"  {flag['code']}: {flag['text']}" for flag in law["flags"]]
    lines += [f"warning: {warning['text']}" for warning in document["warnings"]]
    held = document["holdout"]
    if held["loss_error"] is not None:
        lines.append(
            f"held out {held['flops']:.3g} FLOP: loss {held['loss_predicted']['value']:.4f} "
            f"predicted, {held['loss_observed']:.4f} observed ({held['loss_error']:+.2%})"
        )
    return "\n".join(map(shown, lines))


def _cell(estimate: dict[str, Any]) -> str:
    text = _number(estimate)
    if estimate["ci90"] is not None:
        text += f" ({estimate['ci90'][0]:.3f} to {estimate['ci90'][1]:.3f})"
    return f"{text:<27}"


def _number(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return f"at its {estimate['bound']} bound" if estimate["bound"] else "unknown"
    return f"{estimate['value']:.4g}"
