"""Tables in LaTeX, to \\input into a table of one's own; they need the package booktabs."""

import re
from collections.abc import Sequence

from common.numbers import count
from scaling.fit.registry import LAWS
from scaling.fit.results import FitDocument
from scaling.fit.results.document import Answer
from scaling.fit.results.estimate import UNKNOWN, Estimate
from scaling.report.text.labels import law_name, visible

_SPECIAL = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
}
_OUTSIDE = (1e-3, 1e5)  # beyond, a number is a mantissa and a power of ten


def exponents(document: FitDocument) -> str:
    """Each law that states exponents: its source, its state, a and b with their 90% intervals."""
    rows = []
    for name, law in document.laws.items():
        if "a" not in LAWS[name].estimates or "b" not in LAWS[name].estimates:
            continue
        cites = f"~\\cite{{{','.join(LAWS[name].cites)}}}" if LAWS[name].cites else ""
        a, b = (getattr(law, key, UNKNOWN) for key in "ab")
        rows.append([escaped(law_name(name)) + cites, law.status, *_interval(a), *_interval(b)])
    heads = ["law", "state", "$a$", r"90\,\%", "$b$", r"90\,\%"]
    return _tabular("llcccc", heads, rows, document, r"$N^* \propto C^a$, $D^* \propto C^b$")


def table3(document: FitDocument) -> str:
    """Table 3 of Hoffmann et al. for these laws: compute and data that make a size the best."""
    by_law: dict[str, dict[float, Answer]] = {}
    for row in document.ladder.rows:
        if row.params.value is not None:
            by_law.setdefault(row.law, {})[row.params.value] = row
    sizes = list(dict.fromkeys(size for rows in by_law.values() for size in rows))
    names = [rf"\multicolumn{{2}}{{c}}{{{escaped(law_name(law))}}}" for law in by_law]
    rules = [rf"\cmidrule(lr){{{2 * i + 2}-{2 * i + 3}}}" for i in range(len(by_law))]
    above = f"{' & '.join(['', *names])} \\\\\n{' '.join(rules)}\n" if by_law else ""
    rows = []
    for size in sizes:
        cells = [_counted(size)]
        for answers in by_law.values():
            one = answers.get(size)
            c, d = (one.flops, one.tokens) if one else (UNKNOWN, UNKNOWN)
            cells += [number(c.value), "--" if d.value is None else _counted(d.value)]
        rows.append(cells)
    heads = ["parameters", *["FLOP", "tokens"] * len(by_law)]
    return _tabular("r" * len(heads), heads, rows, document, document.ladder.note, above)


def number(value: float | None) -> str:
    """A number of three digits: 31.6, or $1.92 \\times 10^{19}$; a dash for one unknown."""
    if value is None:
        return "--"
    if value == 0 or _OUTSIDE[0] <= abs(value) < _OUTSIDE[1]:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    mantissa, exponent = f"{value:.2e}".split("e")
    return rf"${mantissa} \times 10^{{{int(exponent)}}}$"


def _counted(value: float) -> str:
    """1.41T, and beyond a thousand of trillions a power of ten."""
    return escaped(count(value)) if value < 1e15 else number(value)


def escaped(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return re.sub(r"[&%$#_{}\\~^]", lambda sign: _SPECIAL[sign[0]], visible(text))


def _interval(estimate: Estimate) -> tuple[str, str]:
    if estimate.value is None:
        return "--", ""
    ends = estimate.ci90
    return f"{estimate.value:.3f}", f"[{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""


def _tabular(
    columns: str,
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    document: FitDocument,
    note: str,
    above: str = "",
) -> str:
    sources = ", ".join(visible(file.path) for file in document.provenance.runs)
    body = "".join(f"{' & '.join(row)} \\\\\n" for row in rows)
    return (
        f"% {sources}: {note}\n\\begin{{tabular}}{{{columns}}}\n\\toprule\n{above}"
        f"{' & '.join(heads)} \\\\\n\\midrule\n{body}\\bottomrule\n\\end{{tabular}}\n"
    )
