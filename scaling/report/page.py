"""One self-contained interactive HTML page: opens offline, loads nothing, runs two known scripts.

It is read in three depths: the answer on the first screen, a few open sections of a figure and
three lines, and everything else in closed ones, which open by link, search and print.

Everything that comes from names is text: escaped in HTML, and in the embedded JSON every character
that could end a script element is written as an escape. A content security policy allows no
request at all and only the two scripts of this page, by their digests, so that even markup that
slipped through could not act.
"""

from collections.abc import Mapping
from string import Template

from scaling.report import explorer as explore
from scaling.report import html
from scaling.report.figures.chart import Chart
from scaling.report.sections import Section
from scaling.report.study import Study
from scaling.report.text import verdict
from scaling.report.text.budget import budget_answers
from scaling.report.text.headline import headline, size_of_study, title_of_study
from scaling.report.text.method import METHOD
from scaling.report.text.state import weightiest
from scaling.report.text.verdict import Verdict

CALCULATOR = ("counts.js", "calculator.js")
SCRIPTS = ("guard.js", "figures.js", "sections.js", *explore.SCRIPTS, *CALCULATOR)
_MARKS = {"ok": "✓", "flagged": "!", "refused": "✕"}
_FIRST = ("valleys", "allocation", "curves")  # the figure of the first screen: the first drawn


def render(study: Study, charts: Mapping[str, Chart], parts: tuple[Section, ...]) -> str:
    """The page as one string of HTML."""
    from scaling.report.figures import interactive  # plotly takes a while to import

    drawn = [chart for chart in charts.values() if chart.absent is None]
    drawn.append(explore.chart(study))
    values: dict[str, object] = {f"figure-{c.key}": interactive.draw(c) for c in drawn}
    values |= {
        "dark": interactive.dark_colors(drawn),
        "explorer-values": explore.explorer_values(study),
    }
    judged = verdict.judge(study)
    first = next((charts[key] for key in _FIRST if charts[key] in drawn), charts["valleys"])
    opened = [part for part in parts if part.is_open]
    closed = [part for part in parts if not part.is_open]
    title = title_of_study(study.document)
    main = Template(html.static("report.html")).substitute(
        title=html.text(title),
        size=html.text(size_of_study(study)),
        headline=html.sentence(headline(study.document)),
        state=_state(study),
        budget=_budget(study),
        figure=html.figure(first),
        contents=_contents(opened),
        shows=html.items(judged.shows[:3]),
        cannot=html.items(tuple(limit.what for limit in judged.limits[:3])),
        sections="\n".join(_open_section(part, first) for part in opened),
        explorer=explore.explorer(study),
        limits=_limits(judged),
        details="\n".join(_closed_section(part, first) for part in closed),
        calculator=_details("calculator", "Calculator of a shape", html.static("calculator.html")),
        method=_method(),
    )
    return html.document(title, main, values, SCRIPTS)


def render_explorer() -> str:
    """The explorer and the calculator as a page of their own."""
    from scaling.report.figures import interactive

    chart = explore.chart(None)
    values: dict[str, object] = {"figure-explorer": interactive.draw(chart)}
    values |= {"dark": interactive.dark_colors([chart])}
    values |= {"explorer-values": explore.explorer_values(None)}
    title = "Scaling laws: which size, how long, at what cost"
    main = Template(html.static("explorer_page.html")).substitute(
        title=title,
        explorer=explore.explorer(None),
        calculator=_details("calculator", "Calculator of a shape", html.static("calculator.html")),
        method=_method(),
    )
    return html.document(title, main, values, SCRIPTS)


def _state(study: Study) -> str:
    """The state in one word, and the flag of most weight."""
    status, flag = study.document.status, weightiest(study.document)
    why = f"{html.text(flag)}. " if flag else ""
    return (
        f'<span class="chip {status}"><span aria-hidden="true">{_MARKS[status]}</span> {status}'
        f'</span> {why}<a href="#limits">All flags and limits</a>'
    )


def _budget(study: Study) -> str:
    rows = [
        f"<dt>{html.text(one.budget)}</dt><dd>{html.text(one.answer)}"
        + (f" <small>{html.text(one.note)}</small></dd>" if one.note else "</dd>")
        for one in budget_answers(study)
    ]
    return "".join(rows) or "<dd>No law stands that could say.</dd>"


def _contents(opened: list[Section]) -> str:
    links = [("explorer", "Explorer"), *((part.key, part.title) for part in opened)]
    links += [("verdict", "What it shows"), ("calculator", "Calculator")]
    links += [("details", "Everything else")]
    return "".join(f'<li><a href="#{key}">{html.text(title)}</a></li>' for key, title in links)


def _open_section(part: Section, first: Chart) -> str:
    charts = [html.figure(chart) for chart in part.charts if chart is not first]
    return (
        f'<section id="{part.key}" class="story"><h2>{html.text(part.title)}</h2>{"".join(charts)}'
        f'<ul class="lines">{"".join(f"<li>{html.sentence(x)}</li>" for x in part.lines)}</ul>'
        "</section>"
    )


def _closed_section(part: Section, first: Chart) -> str:
    inner = [f'<p class="lead">{html.sentence(part.lead)}</p>'] if part.lead else []
    inner += [html.figure(chart) for chart in part.charts if chart is not first]
    for title, table in part.tables:
        inner.append((f"<h3>{html.text(title)}</h3>" if title else "") + html.table(table))
    return _details(part.key, part.title, "".join(inner))


def _details(key: str, title: str, inner: str) -> str:
    return (
        f'<details id="{key}"><summary><h2>{html.text(title)}</h2></summary>'
        f'<div class="inside">{inner}</div></details>'
    )


def _limits(judged: Verdict) -> str:
    parts = (
        ("Flags and warnings of the fit", judged.flags),
        ("It cannot show", judged.cannot),
        ("It shows", judged.shows),
    )
    inner = "".join(f"<h3>{title}</h3><ul>{html.items(said)}</ul>" for title, said in parts)
    return _details("limits", "All flags and limits", inner)


def _method() -> str:
    found = []
    for step in METHOD:
        equation = (
            f'<p class="equation">{html.sentence(step.equation)}</p>' if step.equation else ""
        )
        name, address = map(html.text, step.source or ("", ""))
        source = f' <a href="{address}" rel="noreferrer">{name}</a>.' if step.source else ""
        body = f"<p>{html.text(step.text)}{source}</p>{equation}"
        found.append(f"<h3>{html.text(step.title)}</h3>{body}")
    return _details("method", "Method", "".join(found))
