"""Writes the folder `paper` of a fit, whole: what an earlier fit left there and this lacks goes."""

import csv
import io
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from common.files import write_atomic
from scaling.fit.pipeline import Fit
from scaling.report.figures.all_charts import KEYS
from scaling.report.figures.chart import Chart
from scaling.report.paper import latex
from scaling.report.paper.bibliography import bibliography
from scaling.report.paper.records import RECORDS, Row

SUFFIXES = ("pdf", "svg", "png")
_FORMATS = ("column", "page")
_log = logging.getLogger(__name__)


def write_paper(
    fit: Fit, charts: Mapping[str, Chart], folder: Path, figures: Sequence[str]
) -> None:
    """Write the figures of these suffixes, the tables and the rows; no suffix: only remove.

    KEY-column and KEY-page are 3.25 and 6.75 inches wide, in 8 points; exponents.tex, table3.tex,
    laws.bib; estimates.csv, minima.csv, residuals.csv, bootstrap.csv.
    """
    written = _files(fit, charts, folder, figures) if figures else set()
    if folder.is_dir():
        for name in _all_names() - written:
            (folder / name).unlink(missing_ok=True)
        if not figures and not any(folder.iterdir()):
            folder.rmdir()


def _files(fit: Fit, charts: Mapping[str, Chart], folder: Path, figures: Sequence[str]) -> set[str]:
    """Write everything there is; the names."""
    from scaling.report.figures import static  # matplotlib takes a while to import

    texts = {
        "exponents.tex": latex.exponents(fit.document),
        "table3.tex": latex.table3(fit.document),
        "laws.bib": bibliography(fit.document),
    }
    texts |= {f"{name}.csv": _csv(rows) for name, of in RECORDS.items() if (rows := of(fit))}
    for name, text in texts.items():
        write_atomic(folder / name, text)
    names = set(texts)
    formats = zip(_FORMATS, (static.COLUMN, static.PAGE), strict=True)
    for wanted, form in formats:
        for key, chart in charts.items():
            if chart.absent is not None:
                continue
            _log.info("figure %s for a paper's %s", key, wanted)
            for suffix, content in static.draw(chart, figures, form).items():
                write_atomic(folder / f"{key}-{wanted}.{suffix}", content)
                names.add(f"{key}-{wanted}.{suffix}")
    return names


def _all_names() -> set[str]:
    figures = {f"{key}-{form}.{end}" for key in KEYS for form in _FORMATS for end in SUFFIXES}
    return {
        *figures,
        "exponents.tex",
        "table3.tex",
        "laws.bib",
        *(f"{name}.csv" for name in RECORDS),
    }


def _csv(rows: Sequence[Row]) -> str:
    """Rows as CSV, numbers with all their digits, nothing where a number is unknown."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
