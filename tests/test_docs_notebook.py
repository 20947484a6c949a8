"""The cells of the page on notebooks run, and a fit in memory is that of the file."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow as pa
import pytest
from matplotlib.figure import Figure

from common.errors import BadInput
from scaling.fit import fit_table
from scaling.fit.laws import PUBLISHED
from scaling.fit.pipeline import fit
from scaling.fit.results import FitDocument
from tests.support.fit_examples import config, isoflop_rows, write_csv
from tests.support.pages import blocks

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "notebook.md").read_text(encoding="utf-8")
ROWS = isoflop_rows(
    PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 4), np.geomspace(1 / 4, 4, 5), 0.005
)
QUICK: dict[str, Any] = {
    "laws": ["isoflop"],
    "n_bootstrap": 20,
    "holdout": "none",
    "isoflop": {"method": "parabola"},
}
WORDS = ("laws=[isoflop]", "n_bootstrap=20", "holdout=none", "isoflop.method=parabola")


def test_cells_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cells = "\n".join(blocks(PAGE, "python")).replace("n_bootstrap=200", "n_bootstrap=40")
    # A method that is asked for needs no simulation of all of them.
    cells = cells.replace("predict=", 'isoflop={"method": "parabola"}, predict=')
    # Drawn at every width in test_report_paper.py.
    scope: dict[str, Any] = {}
    exec(cells.replace('figures=["pdf"]', "figures=[]"), scope)
    shown, resamples = scope["fit"], scope["resamples"]
    document = shown.document
    ends = resamples[resamples.law == "isoflop"].a.quantile([0.05, 0.95])
    assert tuple(ends) == pytest.approx(document.isoflop.a.ci90)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith(document.isoflop.status)
    assert [line.split()[0] for line in printed[1:]] == ["isoflop", "parametric"]
    assert (tmp_path / "residuals.pdf").read_bytes().startswith(b"%PDF")
    saved = FitDocument.read(tmp_path / "fits/notebook/fit.json")
    assert saved.to_json() == document.to_json()
    html = shown._repr_html_()
    assert "Compute-optimal size grows as" in html and html.count("<tr>") == 3


@pytest.fixture(scope="module")
def of_file(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FitDocument]:
    """A CSV of ROWS, and what fit.py finds in it."""
    table = write_csv(tmp_path_factory.mktemp("csv") / "t.csv", ROWS)
    return table, fit(config(f"runs={table}", *WORDS)).document


@pytest.mark.parametrize("of", [pandas.DataFrame, pa.Table.from_pylist, list, "columns", "path"])
def test_a_table_in_memory_is_fitted_as_its_file(of, of_file: tuple[Path, FitDocument]) -> None:
    """Rows in any container give the numbers that fit.py gives for the CSV."""
    path, wanted = of_file
    given = {"columns": {n: [row[n] for row in ROWS] for n in ROWS[0]}, "path": path}
    found = fit_table(given[of] if isinstance(of, str) else of(ROWS), **QUICK).document
    assert found.laws == wanted.laws and found.options == wanted.options
    assert found.predictions == wanted.predictions


def test_a_frame_keeps_no_index_and_its_own_types() -> None:
    frame = pandas.DataFrame(ROWS).astype({"params": "float32"})
    frame.index = [f"row {i}" for i in frame.index]
    frame["status"] = pandas.Categorical(["done"] * (len(frame) - 1) + ["crashed"])
    found = fit_table(frame, **QUICK)
    assert found.document.inputs.used == len(frame) - 1
    assert {"law", "parameter", "value", "ci90_low"} <= set(found.to_frame())


@pytest.mark.parametrize(
    ("runs", "options", "message"),
    [
        (ROWS, {"n_bootstraps": 4}, r"n_bootstraps: unknown key; .*n_bootstrap"),
        (ROWS, {"foo": 3}, r"^foo: unknown key; (?!.*\b(verbose|by|out|figures)\b)"),
        (ROWS, {"isoflop": {"windows": 4}}, r"isoflop.windows: unknown key"),
        (ROWS, {"by": "recipe"}, r"by: found in fit_table, expected on the command line"),
        (ROWS, {"predict": 1e20}, r"predict: found 1e\+20, expected a group of fields"),
        (7, {}, r"table: found int, no table"),
        ([], {}, r"table: no rows"),
        ([{"n": 1.0}], {"name": "mine"}, r"mine: no columns 'params', 'tokens' and 'loss'"),
        ([{**ROWS[0], "loss": "abc"}], {}, r"table\[0\].*loss.*'abc'"),
        ("nowhere.csv", {}, r"nowhere.csv: .*"),
    ],
)
def test_mistakes_in_a_notebook_are_one_line(runs, options, message) -> None:
    with pytest.raises(BadInput) as refused:
        fit_table(runs, **options)
    assert re.search(message, str(refused.value)) and "\n" not in str(refused.value)


def test_a_figure_of_another_suffix_is_refused_before_a_file_is_written(tmp_path: Path) -> None:
    one = fit_table(ROWS[:1], **QUICK)
    with pytest.raises(BadInput, match="figures: found 'bmp', expected one of pdf, svg, png"):
        one.save(tmp_path / "fit", figures=["bmp"])
    assert not (tmp_path / "fit").exists()
    assert one.save(tmp_path / "fit", figures="pdf").exists()


def test_plot_shows_a_figure_or_says_why_not() -> None:
    found = fit_table(ROWS, **QUICK)
    assert isinstance(found.plot(), Figure)
    assert found.plot("allocation")._repr_png_().startswith(b"\x89PNG")
    with pytest.raises(BadInput, match="surface cannot be drawn: .*not asked for"):
        found.plot("surface")
    with pytest.raises(BadInput, match="plot: found 'valley', expected .*valleys"):
        found.plot("valley")
    with pytest.raises(BadInput, match="to_frame: found 'all', expected .*estimates"):
        found.to_frame("all")


def test_names_in_a_shown_fit_are_text() -> None:
    rows = [{**row, "status": "done"} for row in ROWS]
    rows[0]["status"] = "<script>alert(1)</script>"
    shown = fit_table(rows, name="<b>", **QUICK)._repr_html_()
    assert "<script" not in shown
