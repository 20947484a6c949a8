"""What a fit prints, one screen: runs, exponents with 90% intervals, doubts, the held-out budget.

Everything else that a fit found stands in fit.md and fit.json.
"""

from typing import Any

from configs.errors import shown
from scaling.fit.cells import either, plural

_WIDTH = 15
_HEADLINE = ("isoflop", "parametric")
_NAMES = {"a": "N* ~ C^a (90% interval)", "b": "D* ~ C^b (90% interval)"}
_PARTS = {"L_N": "L(N)", "L_D": "L(D)", "L_C": "L(C)", "L_ND": "L(N, D)"}
# What a line says of a law that has no a and b of its own: its form, and names of its estimates.
_TELLING = {
    "over_training": ("L - E ~ C^-eta", {"eta": "eta", "best_multiplier": "best D/N"}),
    "lr": ("lr = c N^p D^q", {"c": "c", "p": "p", "q": "q"}),
    "batch": ("batch = c D^q", {"c": "c", "q": "q"}),
}
_MOST = {"excluded": 3, "flags": 6, "warnings": 4, "refused counts": 3}


def summary(document: dict[str, Any]) -> str:
    """Lines of text for a terminal, from the document of fit.json."""
    inputs, laws = document["inputs"], document["laws"]
    # Of several fits on one screen, which this is.
    where = (inputs["where"] or {}).items()
    chosen = ", ".join(f"{name}={either(wanted)}" for name, wanted in where)
    lines = [f"{chosen}:"] if chosen else []
    used = f"{inputs['used']} used + {len(inputs['excluded'])} excluded"
    points = plural(inputs["observations"], "point")
    lines.append(
        f"{plural(inputs['planned'], 'run')} = {used}"
        + (f"; {points} after averaging seeds" if inputs["merged"] else "")
    )
    excluded = [f"  excluded {e['run_id']}: {e['reason']}" for e in inputs["excluded"]]
    lines += _first(excluded, "excluded")
    heads = "".join(f"{name:<27}" for name in _NAMES.values())
    lines.append(f"{'law':<{_WIDTH}}{'status':<10}{heads}".rstrip())
    for name, law in laws.items():
        lines += _law(name, law)
    lines += _first(_flags(laws), "flags")
    lines += _first([f"warning: {w['text']}" for w in document["warnings"]], "warnings")
    lines += _first(_refused_counts(document), "refused counts")
    asked = isinstance(document["options"]["holdout"], float)
    lines += [*_asked(document), *_held_out(document["holdout"], asked)]
    return "\n".join(map(shown, lines))


def _law(name: str, law: dict[str, Any]) -> list[str]:
    """Its state and what it says, in one line; a headline law's reason or surface in a second."""
    start = f"{name:<{_WIDTH}}{law['status']:<10}"
    if law["status"] == "refused":
        if name in _HEADLINE:
            return [start.rstrip(), f"  refused: {law['reason']}"]
        return [start + law["reason"]]
    if "a" not in law:
        return [start + _told(name, law)]
    lines = [(start + "".join(_cell(law[key]) for key in _NAMES)).rstrip()]
    if "A" in law:
        terms = (f"{key} {_number(law[key])}" for key in ("A", "B", "alpha", "beta"))
        form = f"  L = E + A N^-alpha + B D^-beta: E {_cell(law['E']).rstrip()}, "
        lines.append(form + ", ".join(terms))
    return lines


def _told(name: str, law: dict[str, Any]) -> str:
    """The telling estimates of a further law, and the codes of its flags."""
    if name == "kaplan":
        parts = {_PARTS[key]: law[key] for key in _PARTS}
        standing = {of: part for of, part in parts.items() if part["status"] != "refused"}
        said = [
            f"{of} {'a' if 'a' in part else 'alpha'} {_number(part.get('a') or part['alpha'])}"
            for of, part in standing.items()
        ]
        if lacking := [of for of in parts if of not in standing]:
            said.append(f"refused: {', '.join(lacking)}")
    elif name == "learning_curve":
        alphas = [s["alpha"]["value"] for s in law["sizes"] if s["status"] != "refused"]
        said = [f"alpha {min(alphas):.4g} to {max(alphas):.4g} over {plural(len(alphas), 'size')}"]
    else:
        form, words = _TELLING[name]
        said = [f"{word} {_cell(law[key]).rstrip()}" for key, word in words.items() if key in law]
        said[0] = f"{form}: {said[0]}"
    codes = {flag["code"]: None for flag in law["flags"] if flag["code"] != "part_refused"}
    return ", ".join(said) + (f" [{', '.join(codes)}]" if codes else "")


def _flags(laws: dict[str, Any]) -> list[str]:
    """The doubts of the laws that state exponents, each once with the laws that carry it."""
    carriers: dict[tuple[str, str], list[str]] = {}
    for name, law in laws.items():
        if name in _HEADLINE or "a" in law:
            for flag in law["flags"]:
                carriers.setdefault((flag["code"], flag["text"]), []).append(name)
    return [f"{code} ({', '.join(of)}): {text}" for (code, text), of in carriers.items()]


def _refused_counts(document: dict[str, Any]) -> list[str]:
    """Ways of counting N and C under which a law that stands is refused, by reason."""
    ways: dict[tuple[str, str], list[str]] = {}
    for row in document["conventions"]:
        law = document["laws"].get(row["law"], {})
        if row["reason"] and law.get("status") != "refused":
            way = f"N as {row['params']} and C as {row['flops']}"
            ways.setdefault((row["law"], row["reason"]), []).append(way)
    laws: dict[tuple[str, str], list[str]] = {}
    for (law, reason), of in ways.items():
        laws.setdefault((", or ".join(of), reason), []).append(law)
    return [
        f"with {of} counted, {' and '.join(names)} {'is' if len(names) == 1 else 'are'} refused: "
        + reason
        for (of, reason), names in laws.items()
    ]


def _first(lines: list[str], what: str) -> list[str]:
    """As many as fit a screen, and how many more there are."""
    most = _MOST[what]
    if len(lines) <= most:
        return lines
    return [*lines[:most], f"  and {len(lines) - most} more {what}, in fit.md"]


def _held_out(held: dict[str, Any], asked: bool) -> list[str]:
    """How the held-out budget was foretold; why it was not, where a FLOP was asked for."""
    if held["loss_error"] is None:
        return [f"held out: refused, {held['reason']}"] if asked and held["reason"] else []
    inside = {True: ", inside the 90% interval", False: ", outside the 90% interval"}
    return [
        f"held out {held['flops']:.3g} FLOP: loss {held['loss_predicted']['value']:.4f} "
        f"predicted, {held['loss_observed']:.4f} observed "
        f"({held['loss_error']:+.2%}{inside.get(held['inside90'], '')})"
    ]


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
    reach = f"; {row['beyond']:.3g} times outside the runs' FLOP" if row["beyond"] else ""
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
