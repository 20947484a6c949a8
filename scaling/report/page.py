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
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from scaling.fit.observations import Observations
from scaling.report import verdict
from scaling.report.headline import headline, size_of_study, title_of_study
from scaling.report.method import METHOD
from scaling.report.sections import Picture, Section
from scaling.report.tables import Table
from scaling.report.wording import HEADLINE_LAWS, STATES, law_name, visible

_HERE = Path(__file__).parent
_SCRIPTS = ("look.js", "plots.js", "charts.js", "allocation.js")
_POWER = re.compile(r"\b([CND])\^(\d\.\d+|[abαβ])(?!\w)")
_INTERVAL = re.compile(r"(\S+) (\(\S+ to \S+\))")
_ROOM = 110  # characters that columns of numbers may have abreast
_MARKS = {"ok": "✓", "flagged": "!", "refused": "✕"}


def render(
    document: dict[str, Any],
    observations: Observations,
    scene: dict[str, Any],
    parts: tuple[Section, ...],
) -> str:
    """The page as one string of HTML."""
    script = "\n".join((_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    judged = verdict.judge(document, observations)
    body = [
        "<header>",
        f'<p class="kicker">{_text(size_of_study(document, observations))}</p>',
        f"<h1>{_text(title_of_study(document))}</h1>",
        f'<p class="headline">{_sentence(headline(document))}</p>',
        _states(document),
        "</header>",
        _verdict(judged),
        _contents(parts),
        *(_section(part, scene) for part in parts),
        _method(),
    ]
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta http-equiv="Content-Security-Policy" content="'
            f"default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
            f"script-src {_digest(plotly())} {_digest(script)}; "
            "base-uri 'none'; form-action 'none'\">",
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            '<link rel="icon" href="data:,">',
            f"<title>{_text(title_of_study(document))}</title>",
            f"<style>\n{style}</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            f'<script type="application/json" id="scene">{embed(scene)}</script>',
            f"<script>{plotly()}</script>",
            f"<script>{script}</script>",
            "</body>",
            "</html>",
            "",
        ]
    )


def embed(value: Any) -> str:
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


def _text(text: str) -> str:
    """HTML text or attribute value."""
    return escape(visible(text))


def _sentence(text: str) -> str:
    """HTML text in which C^0.42 is a power."""
    return _POWER.sub(r"\1<sup>\2</sup>", _text(text))


def _states(document: dict[str, Any]) -> str:
    chips = []
    laws = document.get("laws") or {}
    for key in [*HEADLINE_LAWS, *(k for k in laws if k not in HEADLINE_LAWS)]:
        status = str((laws.get(key) or {}).get("status"))
        if status in STATES:
            chips.append(
                f'<li class="chip {status}"><span aria-hidden="true">{_MARKS[status]}</span> '
                f"{_text(law_name(key))}: {STATES[status]}</li>"
            )
    return f'<ul class="chips">{"".join(chips)}</ul>' if chips else ""


def _verdict(judged: verdict.Verdict) -> str:
    def sentences(found: tuple[str, ...]) -> str:
        return "".join(f"<li>{_text(sentence)}</li>" for sentence in found) or "<li>Nothing.</li>"

    return (
        '<section class="verdict" aria-labelledby="verdict">'
        '<h2 id="verdict">What this study can and cannot show</h2>'
        f'<div class="columns"><div><h3>It shows</h3><ul>{sentences(judged.shows)}</ul></div>'
        f"<div><h3>It cannot show</h3><ul>{sentences(judged.cannot)}</ul></div></div>"
        f"<h3>Doubts that the fit states itself</h3><ul>{sentences(judged.doubts)}</ul></section>"
    )


def _contents(parts: tuple[Section, ...]) -> str:
    links = [f'<li><a href="#{part.key}">{_text(part.title)}</a></li>' for part in parts]
    links.append('<li><a href="#method">Method</a></li>')
    return f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'


def _section(part: Section, scene: dict[str, Any]) -> str:
    inner = [f"<h2>{_text(part.title)}</h2>"]
    if part.lead:
        inner.append(f'<p class="lead">{_sentence(part.lead)}</p>')
    inner += [_figure(picture) for picture in part.pictures]
    if part.key == "allocation":
        inner.append(_explorer(scene))
    for title, table in part.tables:
        heading = f"<h3>{_text(title)}</h3>" if title else ""
        content = _table(table)
        if part.folded and table.rows:
            content = f"<details><summary>Show {len(table.rows)} rows</summary>{content}</details>"
        inner.append(heading + content)
    return f'<section id="{part.key}">{"".join(inner)}</section>'


def _figure(picture: Picture) -> str:
    if picture.absent is not None:
        return (
            f'<p class="absent"><strong>{_text(picture.title)}</strong> is not drawn: '
            f"{_text(picture.absent)}.</p>"
        )
    return (
        f'<figure><h3>{_text(picture.title)}</h3><div class="plot" id="plot-{picture.key}" '
        f'role="img" aria-label="{_text(picture.title)}"></div>'
        f"<figcaption>{_text(picture.caption)}</figcaption></figure>"
        f"<noscript><p>The figure needs JavaScript; it is also figures/{picture.key}.svg.</p>"
        "</noscript>"
    )


def _explorer(scene: dict[str, Any]) -> str:
    """The inputs that allocation.js brings to life; without a law there is nothing to explore."""
    usable = {key: law for key, law in scene["laws"].items() if law["line"]}
    if not usable:
        return ""
    options = "".join(
        f'<option value="{_text(key)}">{_text(law["name"])}</option>' for key, law in usable.items()
    )
    surface = (
        '<h3>Loss of one model</h3><p class="lead">The fitted surface, read at a size and an '
        'amount of data of your choice.</p><div class="inputs">'
        '<label>Parameters N<input id="model-n" inputmode="decimal" autocomplete="off"></label>'
        f'<label>{scene["axes"]["token"].capitalize()}s D<input id="model-d" inputmode="decimal" '
        'autocomplete="off"></label></div>'
        '<dl class="answers" id="model-answers" aria-live="polite"></dl>'
        if scene["surface"]
        else ""
    )
    return (
        '<div class="explorer" id="explorer"><h3>Explorer</h3>'
        '<p class="lead">The best size and data for a budget, by one law.</p>'
        '<div class="inputs">'
        f'<label>Law<select id="explore-law">{options}</select></label>'
        '<label>Compute C (FLOP)<input id="explore-c" inputmode="decimal" autocomplete="off">'
        '</label><label class="wide">Compute, logarithmic<input id="explore-slider" type="range" '
        'min="0" max="1000" value="500"></label></div>'
        '<p class="status" id="explore-status" aria-live="polite"></p>'
        f'<dl class="answers" id="explore-answers" aria-live="polite"></dl>{surface}</div>'
    )


def _table(table: Table) -> str:
    if not table.rows:
        return f'<p class="absent">{_text(table.empty)}</p>'
    head = "".join(f'<th scope="col">{_sentence(name)}</th>' for name in table.columns)
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td data-label="{_text(name)}"{_cell(cell)}</td>'
            for name, cell in zip(table.columns, row, strict=True)
        )
        + "</tr>"
        for row in table.rows
    )
    columns = [
        [cell for cell in cells if _is_short(cell)] for cells in zip(*table.rows, strict=True)
    ]
    widest = sum(max(map(len, cells), default=0) for cells in columns)
    wide = " wide" if widest > _ROOM else ""
    return (
        f'<div class="table{wide}"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
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
        source = (
            f' <a href="{_text(step.source[1])}" rel="noreferrer">{_text(step.source[0])}</a>.'
            if step.source
            else ""
        )
        items.append(f"<h3>{_text(step.title)}</h3><p>{_text(step.text)}{source}</p>{equation}")
    return f'<section id="method"><h2>Method</h2>{"".join(items)}</section>'
