"""Writes what a fit leaves behind: fit.json, fit.md, figures and the page.

fit.json comes first, since it is the result; the page comes last, since it sums up the rest.
"""

import re
from pathlib import Path
from typing import Any

from configs.files import to_json, write_atomic
from scaling.fit.fit import Fit
from scaling.fit.observations import Observations
from scaling.report import page, verdict
from scaling.report.charts import KEYS
from scaling.report.headline import headline, size_of_study, title_of_study
from scaling.report.method import METHOD
from scaling.report.scene import scene as compose_scene
from scaling.report.sections import Picture, Section, sections
from scaling.report.tables import Table
from scaling.report.wording import visible

_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def write_report(fit: Fit, out: Path) -> Path:
    """Write the report of `fit` into folder `out` and return the path of report.html.

    Files: fit.json (schema 1, strict JSON), fit.md, figures/*.png and *.svg, report.html. Each is
    replaced whole; a figure that this fit cannot draw is removed if an earlier one left it.
    """
    write_atomic(out / "fit.json", to_json(fit.document))
    scene = compose_scene(fit.document, fit.observations, fit.curves)
    parts = sections(fit.document, fit.observations, scene)
    _write_figures(scene, [p for part in parts for p in part.pictures], out / "figures")
    write_atomic(out / "fit.md", markdown(fit.document, fit.observations, parts))
    write_atomic(out / "report.html", page.render(fit.document, fit.observations, scene, parts))
    return out / "report.html"


def _write_figures(scene: dict[str, Any], pictures: list[Picture], folder: Path) -> None:
    from scaling.report import figures  # matplotlib takes most of a second to import

    drawn = [picture.key for picture in pictures if picture.absent is None]
    for key in drawn:
        for suffix, content in figures.draw(key, scene).items():
            write_atomic(folder / f"{key}.{suffix}", content)
    for key in {*KEYS, *(picture.key for picture in pictures)} - set(drawn):
        for suffix in figures.SUFFIXES:
            (folder / f"{key}.{suffix}").unlink(missing_ok=True)


def markdown(
    document: dict[str, Any], observations: Observations, parts: tuple[Section, ...]
) -> str:
    """The report as Markdown, its figures linked beside it."""
    judged = verdict.judge(document, observations)
    lines = [
        f"# {escape(title_of_study(document))}",
        "",
        escape(headline(document)),
        "",
        escape(size_of_study(document, observations)) + ".",
        "",
        "## What this study can and cannot show",
        "",
        "It shows:",
        "",
        *_bullets(judged.shows),
        "",
        "It cannot show:",
        "",
        *_bullets(judged.cannot),
        "",
        "Doubts that the fit states itself:",
        "",
        *_bullets(judged.doubts),
    ]
    for part in parts:
        lines += ["", f"## {part.title}", ""]
        if part.lead:
            lines += [escape(part.lead), ""]
        for picture in part.pictures:
            if picture.absent is None:
                lines += [f"![{escape(picture.title)}](figures/{picture.key}.png)", ""]
                lines += [escape(picture.caption), ""]
            else:
                lines += [escape(f"No figure “{picture.title}”: {picture.absent}."), ""]
        for title, table in part.tables:
            if title:
                lines += [f"### {title}", ""]
            lines += [*_table(table), ""]
    lines += ["", "## Method", ""]
    for step in METHOD:
        source = f" ([{step.source[0]}]({step.source[1]}))" if step.source else ""
        equation = f" `{step.equation}`" if step.equation else ""
        lines.append(f"- **{step.title}.** {escape(step.text)}{equation}{source}")
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no control characters."""
    plain = visible(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN_SPECIAL.sub(r"\\\1", plain)


def _bullets(sentences: tuple[str, ...]) -> list[str]:
    return [f"- {escape(sentence)}" for sentence in sentences] or ["- Nothing."]


def _table(table: Table) -> list[str]:
    if not table.rows:
        return [escape(table.empty)]
    return [
        f"| {' | '.join(escape(name) for name in table.columns)} |",
        f"|{' --- |' * len(table.columns)}",
        *(f"| {' | '.join(escape(cell) for cell in row)} |" for row in table.rows),
    ]
