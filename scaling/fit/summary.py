"""The few lines that a fit prints: what was used, each law with its exponents, its doubts."""

from typing import Any

from scaling.fit.cells import shown

_WIDTH = 15
_HEADLINE = ("isoflop", "parametric")
_NAMES = {"a": "N* ~ C^a", "b": "D* ~ C^b"}
_PARTS = {"L_N": "L(N)", "L_D": "L(D)", "L_C": "L(C)", "L_ND": "L(N, D)"}
_FORMS = {
    "over_training": "L = E + (a' M^eta + b' M^-eta) C^-eta",
    "lr": "eta = c N^p D^q",
    "batch": "B = c D^q",
}


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
    lines.append(
        (
            f"{'law':<{_WIDTH}}{'status':<10}" + "".join(f"{name:<27}" for name in _NAMES.values())
        ).rstrip()
    )
    for name, law in document["laws"].items():
        if law["status"] == "refused" and name not in _HEADLINE:
            lines.append(f"{name:<{_WIDTH}}refused   {law['reason']}")
            continue
        shown_here = law["status"] != "refused" and "a" in law
        exponents = "".join(_cell(law[key]) for key in _NAMES) if shown_here else ""
        lines.append(f"{name:<{_WIDTH}}{law['status']:<10}{exponents}".rstrip())
        if law["reason"] is not None:
            lines.append(f"  refused: {law['reason']}")
        lines += further_lines(name, law)
        if law["status"] != "refused" and "A" in law:
            terms = (f"{key} {_number(law[key])}" for key in ("E", "A", "B", "alpha", "beta"))
            lines.append("  L = E + A N^-alpha + B D^-beta: " + ", ".join(terms))
        lines += [f"  {flag['code']}: {flag['text']}" for flag in law["flags"]]
    lines += [f"warning: {warning['text']}" for warning in document["warnings"]]
    lines += _asked(document)
    held = document["holdout"]
    if held["loss_error"] is not None:
        lines.append(
            f"held out {held['flops']:.3g} FLOP: loss {held['loss_predicted']['value']:.4f} "
            f"predicted, {held['loss_observed']:.4f} observed ({held['loss_error']:+.2%})"
        )
    return "\n".join(map(shown, lines))


def further_lines(name: str, law: dict[str, Any]) -> list[str]:
    """The numbers of a law that has no a and b of its own, a line each part."""
    if name == "kaplan":
        parts = ((key, law.get(key)) for key in ("L_N", "L_D", "L_C", "L_ND"))
        return [f"  {_PARTS[key]}: {_numbers(part)}" for key, part in parts if part]
    if name == "learning_curve":
        return [f"  N {size['params']:.3g}: {_numbers(size)}" for size in law.get("sizes", [])[:5]]
    if name in _FORMS and law["status"] != "refused":
        return [f"  {_FORMS[name]}: {_numbers(law)}"]
    return []


def _numbers(law: dict[str, Any]) -> str:
    if law["status"] == "refused":
        return f"refused, {law['reason']}"
    found = (
        f"{key} {_cell(value).rstrip()}"
        for key, value in law.items()
        if isinstance(value, dict) and "ci90" in value
    )
    return ", ".join(found)


def _asked(document: dict[str, Any]) -> list[str]:
    """Sizes, data and pairs asked for, budgets outside those measured, and differences."""
    lines = []
    valleys = document["laws"].get("isoflop", {}).get("valleys", ())
    measured = {valley["flops"] for valley in valleys}
    for row in document["predictions"]:
        if row["beyond"] is not None and row["flops"] not in measured:
            n, d = row["n_opt"], row["d_opt"]
            lines.append(_answer(f"{row['flops']:.3g} FLOP", row, n, d, None))
    for row in document["answers"]:
        given = {"params": "N", "tokens": "D", "pair": "pair"}[row["asked"]]
        lines.append(_answer(given, row, row["params"], row["tokens"], row["flops"]))
    for row in document.get("comparison", {}).get("estimates", ()):
        if row["name"] == "a":
            gap = f"{row['law']} a less that of {document['comparison']['other']}: "
            lines.append(gap + _cell(row["difference"]).rstrip())
    return lines


def _answer(given: str, row: dict[str, Any], n: Any, d: Any, c: Any) -> str:
    parts = [("N", n), ("D", d), ("C", c), ("loss", row["loss"])]
    values = ", ".join(f"{name} {_cell(e, 4).rstrip()}" for name, e in parts if e and e["value"])
    reach = f"; {row['beyond']:.3g} times outside" if row["beyond"] else ""
    return f"predict {given} by {row['law']}: {values}{reach}"


def _cell(estimate: dict[str, Any], digits: int = 0) -> str:
    """Value and 90% interval, to so many significant digits, or as suits the value."""
    text = _number(estimate)
    form = f".{digits}g" if digits else ".3f" if abs(estimate["value"] or 0) < 10 else ".3g"
    if estimate["ci90"] is not None:
        text += f" ({estimate['ci90'][0]:{form}} to {estimate['ci90'][1]:{form}})"
    return f"{text:<27}"


def _number(estimate: dict[str, Any]) -> str:
    if estimate["value"] is None:
        return f"at its {estimate['bound']} bound" if estimate["bound"] else "unknown"
    return f"{estimate['value']:.4g}"
