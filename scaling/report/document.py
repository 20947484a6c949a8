"""Writes what a fit leaves behind: fit.json, fit.md, figures and the page.

fit.json comes first, since it is the result; the page comes last, since it sums up the rest.
"""

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from common.errors import BadInput
from common.files import to_json, write_atomic
from scaling.fit.pipeline import Fit
from scaling.fit.predict import fitted_laws, predictions
from scaling.fit.results import FitDocument
from scaling.fit.results.document import Prediction
from scaling.report import page
from scaling.report.figures.all_charts import KEYS, all_charts
from scaling.report.figures.chart import Chart
from scaling.report.paper.files import write_paper
from scaling.report.sections import Section, sections
from scaling.report.study import Study, TrainingCurve
from scaling.report.tables.table import Table
from scaling.report.text import verdict
from scaling.report.text.budget import reach_of
from scaling.report.text.headline import headline, size_of_study, title_of_study
from scaling.report.text.labels import visible
from scaling.report.text.method import METHOD

_log = logging.getLogger(__name__)
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_\[\]|~$])")


def write_report(fit: Fit, out: Path, figures: Sequence[str] = ()) -> Path:
    """Write the report of `fit` into folder `out` and return the path of report.html.

    Files: fit.json (schema 1, strict JSON), fit.md, figures/*.png and *.svg, report.html. Each is
    replaced whole; a figure that this fit cannot draw is removed if an earlier one left it. With
    `figures`, of which pdf, svg and png are, also paper/ (paper/files.py).
    """
    write_atomic(out / "fit.json", to_json(fit.document.to_json()))
    study = study_of(fit)
    charts = all_charts(study)
    write_paper(fit, charts, out / "paper", figures)
    return _write(study, charts, out)


def write_report_into(
    folder: Path, fit: Fit, remedy: Callable[[OSError], str], figures: Sequence[str] = ()
) -> Path:
    """The same into a folder that is made where it is missing. BadInput, with the remedy."""
    with _writable(folder, remedy):
        return write_report(fit, folder, figures)


def write_explorer(folder: Path) -> Path:
    """Write explorer.html, of published laws alone, into a folder; its path. BadInput."""
    with _writable(folder, lambda _: "choose another folder"):
        write_atomic(folder / "explorer.html", page.render_explorer())
    return folder / "explorer.html"


@contextmanager
def _writable(folder: Path, remedy: Callable[[OSError], str]) -> Iterator[None]:
    """A folder, made where it is missing; what the system refuses there is BadInput."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise BadInput(f"out: {folder}: {error.strerror}; {remedy(error)}") from None


def render_saved(fit_json: Path, out: Path) -> Path:
    """Write the report of a saved fit.json into `out` without fitting; the path of report.html.

    fit.json does not hold the runs: a figure that needs them says so. Raises BadInput.
    """
    study = Study(FitDocument.read(fit_json))
    return _write(study, all_charts(study), out)


def study_of(fit: Fit) -> Study:
    """A fit as the report reads it."""
    curves = {run_id: _curve(rows) for run_id, rows in fit.curves.items()}
    return Study(fit.document, fit.observations, curves, _reach(fit))


def _reach(fit: Fit) -> tuple[Prediction, ...]:
    """What the laws say, with intervals, of many budgets about the runs' compute and beyond it."""
    laws = fitted_laws(fit.observations, fit.fits.isoflop, fit.fits.parametric)
    if not laws:
        return ()
    flops = fit.observations.flops
    return tuple(predictions(reach_of(flops.min(), flops.max()), fit.observations, laws))


def _write(study: Study, charts: Mapping[str, Chart], out: Path) -> Path:
    parts = sections(study, charts)
    _write_figures(charts, out / "figures")
    _log.info("page")
    write_atomic(out / "fit.md", markdown(study, parts))
    write_atomic(out / "report.html", page.render(study, charts, parts))
    return out / "report.html"


def _curve(rows: Sequence[Mapping[str, Any]]) -> TrainingCurve:
    """The rows of a training curve that can be drawn."""
    names = ("flops", "tokens", "loss")
    known = [[row[name] for name in names] for row in rows if all(map(row.get, names))]
    return TrainingCurve(np.array(known).reshape(-1, 3), rows[-1].get("val_loss") if rows else None)


def _write_figures(charts: Mapping[str, Chart], folder: Path) -> None:
    from scaling.report.figures import static  # matplotlib takes a while to import

    drawn = {key: chart for key, chart in charts.items() if chart.absent is None}
    for key, chart in drawn.items():
        _log.info("figure %s", key)
        for suffix, content in static.draw(chart).items():
            write_atomic(folder / f"{key}.{suffix}", content)
    for key in {*KEYS} - set(drawn):
        for suffix in static.SUFFIXES:
            (folder / f"{key}.{suffix}").unlink(missing_ok=True)


def markdown(study: Study, parts: tuple[Section, ...]) -> str:
    """The report as Markdown, its figures linked beside it."""
    judged = verdict.judge(study)
    lines = [
        f"# {escape(title_of_study(study.document))}",
        "",
        escape(headline(study.document)),
        "",
        escape(size_of_study(study)) + ".",
        "",
        "## What this study can and cannot show",
    ]
    for said, sentences in (
        ("It shows:", judged.shows),
        ("It cannot show:", judged.cannot),
        ("Flags and warnings of the fit:", judged.flags),
    ):
        bullets = [f"- {escape(sentence)}" for sentence in sentences] or ["- Nothing."]
        lines += ["", said, "", *bullets]
    for part in parts:
        lines += ["", f"## {part.title}", "", escape(part.lead), ""]
        for chart in part.charts:
            if chart.absent is None:
                lines += [f"![{escape(chart.title)}](figures/{chart.key}.png)", ""]
                lines += [escape(chart.caption), ""]
            else:
                lines += [escape(f"No figure “{chart.title}”: {chart.absent}."), ""]
        for title, table in part.tables:
            lines += [f"### {title}" if title else "", "", *_table(table), ""]
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


def _table(table: Table) -> list[str]:
    if not table.rows:
        return [escape(table.empty)]
    return [
        f"| {' | '.join(escape(name) for name in table.columns)} |",
        f"|{' --- |' * len(table.columns)}",
        *(f"| {' | '.join(escape(cell) for cell in row)} |" for row in table.rows),
    ]
