"""Parts of the page as HTML: text, tables, figures, values. Names are text, never markup."""

import base64
import hashlib
import importlib.util
import json
import re
from functools import cache
from html import escape
from pathlib import Path
from string import Template

from scaling.report.figures.chart import Chart
from scaling.report.figures.style import INKS
from scaling.report.tables.table import Table
from scaling.report.text.labels import visible

_POWER = re.compile(r"\b([CND])\^(\d\.\d+|[abαβ])(?!\w)")
_INTERVAL = re.compile(r"(\S+) (\(\S+ to \S+\))")
_ROOM = 110  # characters that columns of numbers may have abreast


def static(name: str) -> str:
    """A file of static/."""
    return (Path(__file__).parent / "static" / name).read_text(encoding="utf-8")


def text(plain: str) -> str:
    """HTML text or attribute value."""
    return escape(visible(plain))


def sentence(plain: str) -> str:
    """HTML text in which C^0.42 is a power."""
    return _POWER.sub(r"\1<sup>\2</sup>", text(plain))


def items(sentences: tuple[str, ...]) -> str:
    """The items of a list; it says so where there is none."""
    return "".join(f"<li>{text(one)}</li>" for one in sentences) or "<li>Nothing.</li>"


def figure(chart: Chart) -> str:
    """The place of a figure, or why it is not drawn."""
    title = text(chart.title)
    if chart.absent is not None:
        absent = text(chart.absent)
        return f'<p class="absent"><strong>{title}</strong> is not drawn: {absent}.</p>'
    return (
        f'<figure aria-label="{title}"><h3>{title}</h3>'
        f'<div class="plot" id="plot-{chart.key}"></div>'
        f"<figcaption>{text(chart.caption)}</figcaption></figure>"
        f"<noscript><p>The figure needs JavaScript; it is also figures/{chart.key}.svg.</p>"
        "</noscript>"
    )


def table(one: Table) -> str:
    """A table that becomes cards on a narrow screen, or what is said instead."""
    if not one.rows:
        return f'<p class="absent">{text(one.empty)}</p>'
    head = "".join(f'<th scope="col">{sentence(name)}</th>' for name in one.columns)
    labels = [text(name) for name in one.columns]
    rows = []
    for row in one.rows:
        cells = zip(labels, row, strict=True)
        inner = "".join(f'<td data-label="{name}"{_cell(cell)}</td>' for name, cell in cells)
        rows.append(f"<tr>{inner}</tr>")
    columns = [filter(_is_short, cells) for cells in zip(*one.rows, strict=True)]
    widest = sum(max(map(len, cells), default=0) for cells in columns)
    return (
        f'<div class="table{" wide" if widest > _ROOM else ""}"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cell(cell: str) -> str:
    """A number stays on one line; in a wide table its interval may stand below. Sentences wrap."""
    if found := _INTERVAL.fullmatch(cell):
        value, interval = map(sentence, found.groups())
        return f' class="short"><span>{value} <span class="interval">{interval}</span></span>'
    short = ' class="short"' if _is_short(cell) else ""
    return f"{short}><span>{sentence(cell)}</span>"


def _is_short(cell: str) -> bool:
    return len(cell) <= 24 or _INTERVAL.fullmatch(cell) is not None


def embed(value: object) -> str:
    """JSON that cannot end the script element around it, nor open another (strict, no NaN)."""
    written = json.dumps(value, allow_nan=False, separators=(",", ":"))  # ASCII: no U+2028
    return written.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


@cache
def plotly() -> str:
    """plotly.js of the installed plotly package, without importing the package."""
    found = importlib.util.find_spec("plotly")
    assert found is not None and found.origin is not None
    return (Path(found.origin).parent / "package_data" / "plotly.min.js").read_text("utf-8")


def document(title: str, main: str, values: dict[str, object], scripts: tuple[str, ...]) -> str:
    """A page whole: `main` is its HTML, `values` its JSON by id, `scripts` files of static/.

    A content security policy allows no request, and only plotly and the scripts, by digest.
    """
    script = "\n".join(map(static, scripts))
    return Template(static("page.html")).substitute(
        digests=f"{_digest(plotly())} {_digest(script)}",
        title=text(title),
        style=_inks() + static("page.css"),
        main=main,
        values="\n".join(
            f'<script type="application/json" id="{key}">{embed(value)}</script>'
            for key, value in values.items()
        ),
        plotly=plotly(),
        script=script,
    )


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
