"""What a paper takes from a fit: widths and fonts of figures, tables in LaTeX, rows, citations."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

import fit as entry
from common.errors import ExitStatus
from configs.cli import run_entry
from scaling.fit.laws import PUBLISHED
from scaling.fit.pipeline import Fit, fit
from scaling.fit.registry import LAWS
from scaling.report.document import study_of
from scaling.report.figures.all_charts import all_charts
from scaling.report.figures.chart import Chart
from scaling.report.figures.static import COLUMN, PAGE, figure_of
from scaling.report.paper.bibliography import entries
from scaling.report.paper.files import write_paper
from scaling.report.paper.latex import escaped, number
from tests.support.fit_examples import config, isoflop_rows, write_csv
from tests.support.report_example import study

RESAMPLES = 40


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Fit, Path]:
    """A fit of 25 runs and its folder, written with figures=pdf."""
    folder = tmp_path_factory.mktemp("paper")
    rows = isoflop_rows(
        PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 5), 0.005
    )
    table = write_csv(folder / "runs_100%.csv", rows)
    words = [f"runs={table}", f"n_bootstrap={RESAMPLES}", "laws=[isoflop,parametric]"]
    found = fit(config(*words))
    write_paper(found, _one_chart(found), folder / "paper", ("pdf",))
    return found, folder / "paper"


def _one_chart(found: Fit) -> dict[str, Chart]:
    return {"valleys": all_charts(study_of(found))["valleys"]}


def _rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize(("form", "inches"), [(COLUMN, 3.25), (PAGE, 6.75)])
def test_figures_of_a_paper_have_its_width_and_text_of_8_points(form, inches) -> None:
    for key, chart in all_charts(study()).items():
        figure = figure_of(chart, form)
        assert figure.get_figwidth() == inches
        texts = figure.findobj(lambda artist: hasattr(artist, "get_fontsize"))
        assert {text.get_fontsize() for text in texts if text.get_text()} == {8}, key


def test_pdf_holds_its_fonts_and_is_the_same_each_time(written, tmp_path: Path) -> None:
    found, paper = written
    content = (paper / "valleys-column.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/FontFile2" in content
    assert b"/Type3" not in content and b"/CreationDate" not in content
    assert re.search(rb"/MediaBox \[ 0 0 234 ", content)  # 3.25 inches of 72 points
    write_paper(found, _one_chart(found), tmp_path, ("pdf",))
    assert (tmp_path / "valleys-column.pdf").read_bytes() == content


def test_tables_in_latex_say_what_the_fit_says(written) -> None:
    found, paper = written
    text = (paper / "exponents.tex").read_text()
    for law in (found.document.isoflop, found.document.parametric):
        for one in (law.a, law.b):
            low, high = one.ci90
            assert f"& {one.value:.3f} & [{low:.3f}, {high:.3f}]" in text
    assert r"\cite{hoffmann2022training,besiroglu2024chinchilla}" in text
    rows = (paper / "table3.tex").read_text()
    assert rows.count("\\\\\n") == 2 + len({row.params for row in found.document.ladder.rows})
    for table in (text, rows):
        assert table.count("{") == table.count("}")
        body = table.split("\\midrule\n")[1].split("\\bottomrule")[0]
        columns = len(re.search(r"\{tabular\}\{(\w+)\}", table)[1])
        assert {line.count("&") for line in body.splitlines()} == {columns - 1}


def test_rows_are_the_numbers_of_fit_json(written) -> None:
    found, paper = written
    minima = _rows(paper / "minima.csv")
    assert [float(row["n_opt"]) for row in minima] == [
        one.n_opt.value for one in found.document.isoflop.valleys
    ]
    residuals = _rows(paper / "residuals.csv")
    assert [float(row["residual"]) for row in residuals] == pytest.approx(
        found.document.parametric.residuals, rel=1e-9
    )
    a = [one for one in _rows(paper / "estimates.csv") if one["parameter"] == "a"]
    assert float(a[0]["ci90_low"]) == found.document.isoflop.a.ci90[0]


def test_resamples_have_the_spread_that_the_fit_states(written) -> None:
    found, paper = written
    resamples = _rows(paper / "bootstrap.csv")
    for name in ("isoflop", "parametric"):
        a = np.array([float(row["a"]) for row in resamples if row["law"] == name and row["a"]])
        stated = found.document.laws[name].a
        assert len(a) == RESAMPLES - found.document.laws[name].failed_resamples
        assert np.std(a) == pytest.approx(stated.se, rel=1e-9)
        assert np.percentile(a, [5, 95]) == pytest.approx(stated.ci90, rel=1e-9)


def test_bibtex_has_the_laws_of_the_fit_alone(written) -> None:
    keys = re.findall(r"^@article\{(\w+),", (written[1] / "laws.bib").read_text(), re.MULTILINE)
    assert keys == ["hoffmann2022training", "besiroglu2024chinchilla"]


def test_every_law_cites_and_every_entry_is_cited() -> None:
    cited = [key for law in LAWS.values() for key in law.cites]
    assert all(law.cites for law in LAWS.values()) and set(cited) == set(entries())
    for key, text in entries().items():
        year, identifier = re.search(r"year = \{20(\d\d)\}", text), re.search(r"abs/(\d+)", text)
        # arXiv numbers begin with the year.
        assert identifier[1][:2] == year[1] == re.search(r"20(\d\d)", key)[1]
        assert text.count("{") == text.count("}")
        names = re.search(r"author = \{(.*)\},\n", text)[1].split(" and ")
        assert key.startswith(re.sub(r"\W", "", names[0].split(",")[0]).lower())


def test_a_paper_of_an_earlier_fit_does_not_stay(written, tmp_path: Path) -> None:
    found, _ = written
    charts = _one_chart(found)
    write_paper(found, charts, tmp_path, ("pdf",))
    (tmp_path / "notes.txt").write_text("the user's own")
    write_paper(found, charts, tmp_path, ("svg",))
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".tex", ".csv", ".bib", ".txt"}
    write_paper(found, charts, tmp_path, ())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_figures_as_they_are_typed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list with brackets or without; a format that is none is refused before any fit."""
    asked = []
    monkeypatch.setattr(entry, "fit_all", lambda config, _: asked.append(config.figures) or 1 / 0)
    table = write_csv(tmp_path / "t.csv", isoflop_rows(PUBLISHED["besiroglu"], [1e18], [1, 2]))
    for words in ("figures=pdf,svg,png", "figures=[pdf,svg,png]"):
        with pytest.raises(ZeroDivisionError):
            run_entry(entry.main, "fit", "", [f"runs={table}", words])
    assert asked == [("pdf", "svg", "png")] * 2
    status = run_entry(entry.main, "fit", "", [f"runs={table}", "figures=eps"])
    assert status == ExitStatus.BAD_INPUT
    assert re.search(
        r"figures\[0\]: found 'eps'.*expected one of pdf, svg, png", capsys.readouterr().err
    )


def test_names_are_text_in_latex() -> None:
    assert escaped(r"50% of a_b & {c}\d~e^f$#") == (
        r"50\% of a\_b \& \{c\}\textbackslash{}d\textasciitilde{}e\textasciicircum{}f\$\#"
    )
    assert [number(v) for v in (None, 0.5, 31.62, 40_000, 1.92e19)] == [
        *("--", "0.5", "31.6", "40000", r"$1.92 \times 10^{19}$"),
    ]
