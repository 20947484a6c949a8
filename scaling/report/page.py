"""One self-contained interactive HTML page: opens offline, loads nothing, runs two known scripts.

Everything that comes from names is text: escaped in HTML, and in the embedded JSON every character
that could end a script element is written as an escape. A content security policy allows no
request at all and only the two scripts of this page, by their digests, so that even markup that
slipped through could not act.
"""

import base64
import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from scaling.fit.registry import HEADLINE
from scaling.report.explorer import explorer, explorer_values
from scaling.report.figures.chart import Chart
from scaling.report.figures.style import INKS
from scaling.report.sections import Section
from scaling.report.study import Study
from scaling.report.tables.table import Table
from scaling.report.text import verdict
from scaling.report.text.headline import headline, size_of_study, title_of_study
from scaling.report.text.labels import law_name, visible
from scaling.report.text.method import METHOD

_POWER = re.compile(r"\b([CND])\^(\d\.\d+|[abαβ])(?!\w)")
_INTERVAL = re.compile(r"(\S+) (\(\S+ to \S+\))")
_ROOM = 110  # characters that columns of numbers may have abreast
_MARKS = {"ok": "✓", "flagged": "!", "refused": "✕"}


def render(study: Study, charts: Mapping[str, Chart], parts: tuple[Section, ...]) -> str:
    """The page as one string of HTML."""
    from scaling.report.figures import interactive  # plotly takes a while to import

    drawn = [chart for chart in charts.values() if chart.absent is None]
    values = {f"figure-{chart.key}": interactive.draw(chart) for chart in drawn}
    values |= {"dark": interactive.dark_colors(drawn), "explorer-values": explorer_values(study)}
    script = "\n".join(map(_static, ("guard.js", "figures.js", "explorer.js")))
    judged = verdict.judge(study)
    return Template(_static("page.html")).substitute(
        digests=f"{_digest(plotly())} {_digest(script)}",
        title=_text(title_of_study(study.document)),
        style=_inks() + _static("page.css"),
        size=_text(size_of_study(study)),
        headline=_sentence(headline(study.document)),
        chips=_chips(study),
        shows=_items(judged.shows),
        cannot=_items(judged.cannot),
        flags=_items(judged.flags),
        contents="".join(f'<li><a href="#{p.key}">{_text(p.title)}</a></li>' for p in parts),
        sections="\n".join(_section(part, study) for part in parts),
        method=_method(),
        values="\n".join(
            f'<script type="application/json" id="{key}">{embed(value)}</script>'
            for key, value in values.items()
        ),
        plotly=plotly(),
        script=script,
    )


def _static(name: str) -> str:
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")


def embed(value: object) -> str:
    """JSON that cannot end the script element around it, nor open another (strict, no NaN)."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: U+2028 is escaped
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def plotly() -> str:
    """plotly.js of the installed plotly package, without importing the package."""
    found = importlib.util.find_spec("plotly")
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_text("utf-8")


def _digest(script: str) -> str:
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _inks() -> str:
    """The inks that the figures use, as variables of the style sheet."""
    light, dark = (
        ":root { " + " ".join(f"--{name}: {ink[ground]};" for name, ink in INKS.items()) + " }"
        for ground in (0, 1)
    )
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n"


def _text(text: str) -> str:
    """HTML text or attribute value."""
    return escape(visible(text))


def _sentence(text: str) -> str:
    """HTML text in which C^0.42 is a power."""
    return _POWER.sub(r"\1<sup>\2</sup>", _text(text))


def _chips(study: Study) -> str:
    """The state of each law, those of the headline first."""
    laws = study.document.laws
    order = sorted(laws.items(), key=lambda item: item[0] not in HEADLINE)
    return "".join(
        f'<li class="chip {law.status}"><span aria-hidden="true">{_MARKS[law.status]}</span> '
        f"{_text(law_name(key))}: {law.status}</li>"
        for key, law in order
    )


def _items(sentences: tuple[str, ...]) -> str:
    return "".join(f"<li>{_text(sentence)}</li>" for sentence in sentences) or "<li>Nothing.</li>"


def _section(part: Section, study: Study) -> str:
    inner = [f"<h2>{_text(part.title)}</h2>"]
    if part.lead:
        inner.append(f'<p class="lead">{_sentence(part.lead)}</p>')
    inner += [_figure(chart) for chart in part.charts]
    if part.key == "allocation":
        inner.append(explorer(study))
    for title, table in part.tables:
        heading = f"<h3>{_text(title)}</h3>" if title else ""
        content = _table(table)
        if part.folded and table.rows:
            content = f"<details><summary>Show {len(table.rows)} rows</summary>{content}</details>"
        inner.append(heading + content)
    return f'<section id="{part.key}">{"".join(inner)}</section>'


def _figure(chart: Chart) -> str:
    title = _text(chart.title)
    if chart.absent is not None:
        absent = _text(chart.absent)
        return f'<p class="absent"><strong>{title}</strong> is not drawn: {absent}.</p>'
    return (
        f'<figure><h3>{title}</h3><div class="plot" id="plot-{chart.key}" role="img" '
        f'aria-label="{title}"></div><figcaption>{_text(chart.caption)}</figcaption></figure>'
        f"<noscript><p>The figure needs JavaScript; it is also figures/{chart.key}.svg.</p>"
        "</noscript>"
    )


def _table(table: Table) -> str:
    if not table.rows:
        return f'<p class="absent">{_text(table.empty)}</p>'
    head = "".join(f'<th scope="col">{_sentence(name)}</th>' for name in table.columns)
    labels = [_text(name) for name in table.columns]
    rows = []
    for row in table.rows:
        cells = zip(labels, row, strict=True)
        inner = "".join(f'<td data-label="{name}"{_cell(cell)}</td>' for name, cell in cells)
        rows.append(f"<tr>{inner}</tr>")
    columns = [filter(_is_short, cells) for cells in zip(*table.rows, strict=True)]
    widest = sum(max(map(len, cells), default=0) for cells in columns)
    return (
        f'<div class="table{" wide" if widest > _ROOM else ""}"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    """A number stays on one line; in a wide table its interval may stand below. Sentences wrap."""
    if found := _INTERVAL.fullmatch(cell):
        value, interval = map(_sentence, found.groups())
        return f' class="short"><span>{value} <span class="interval">{interval}</span></span>'
    short = ' class="short"' if _is_short(cell) else ""
    return f"{short}><span>{_sentence(cell)}</span>"


def _is_short(cell: str) -> bool:
    return len(cell) <= 24 or _INTERVAL.fullmatch(cell) is not None


def _method() -> str:
    items = []
    for step in METHOD:
        equation = f'<p class="equation">{_sentence(step.equation)}</p>' if step.equation else ""
        name, address = map(_text, step.source or ("", ""))
        source = f' <a href="{address}" rel="noreferrer">{name}</a>.' if step.source else ""
        items.append(f"<h3>{_text(step.title)}</h3><p>{_text(step.text)}{source}</p>{equation}")
    return "".join(items)
