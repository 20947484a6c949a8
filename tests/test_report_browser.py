"""In a real browser: every figure is drawn, nothing is refused or logged, no width overflows."""

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from fit_examples import config, tuned_rows, write_csv
from report_example import example

from scaling.fit.fit import fit
from scaling.report.document import write_report

pytestmark = pytest.mark.needs_browser

HOSTILE = "</script><script>document.title='run'</script><img src=x onerror=alert(1)>{budget}{size}"
QUIET = """
    --headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync
    --disable-background-networking --disable-component-update --virtual-time-budget=8000
    --enable-logging=stderr --allow-file-access-from-files --window-size=1400,1000
"""
# A page of our own frames the report at a given width, acts on it, and writes down what it sees.
FRAME = """<!DOCTYPE html><body><iframe id="f" src="{page}" style="width:{width}px;height:900px">
</iframe><script>addEventListener("load", () => setTimeout(() => {{
  const page = document.getElementById("f").contentDocument;
  const act = (id, value) => {{
    page.getElementById(id).value = value;
    page.getElementById(id).dispatchEvent(new Event("input"));
  }};
  const read = (id) => page.getElementById(id).textContent;
  const inside = read("explore-status");
  act("explore-c", "5e12");
  const beyond = [read("explore-status"), page.getElementById("explore-answers").className];
  act("explore-c", "1e30");
  const far = [read("explore-status"), read("explore-answers")];
  act("explore-c", "many");
  const invalid = page.getElementById("explore-c").getAttribute("aria-invalid");
  const hover = (box) => {{
    page.defaultView.Plotly.Fx.hover(box, [{{curveNumber: 0, pointNumber: 0}}]);
    return page.querySelector(`#${{box}} .hoverlayer`).textContent;
  }};
  page.querySelectorAll("details").forEach((folded) => {{ folded.open = true; }});
  const tables = [...page.querySelectorAll(".table")];
  act("model-n", "30k");
  act("model-d", "0.8M");
  document.body.textContent = JSON.stringify({{
    title: page.title, images: page.images.length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    cut: tables.filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.innerText),
    plots: page.querySelectorAll(".plot .main-svg").length,
    inside, beyond, far, invalid, model: read("model-answers"), hover: hover("plot-valleys"),
  }});
}}, 1500));</script>"""
COUNT = """
  const plots = [...page.querySelectorAll(".plot")];
  document.body.textContent = JSON.stringify({{
    plots: plots.length, drawn: plots.filter((plot) => plot.querySelector(".trace")).length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
  }});
}}, 1500));</script>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(example(HOSTILE), tmp_path_factory.mktemp("browser"))


@pytest.mark.parametrize("width", [390, 800, 1280])
def test_the_page_works_at_every_width(report: Path, width: int, tmp_path: Path) -> None:
    seen, log = _look(report, width, tmp_path)
    assert seen["title"] == "Scaling-law fit of quickstart" and seen["images"] == 0
    assert seen["plots"] >= 5
    assert seen["overflow"] <= 0
    assert seen["cut"] == []
    assert "CONSOLE" not in log


def test_the_explorer_answers_inside_and_greys_beyond(report: Path, tmp_path: Path) -> None:
    seen, _ = _look(report, 1280, tmp_path)
    assert seen["inside"] == "Inside the compute measured, 2.5e10 to 8e11 FLOP."
    status, look = seen["beyond"]
    assert status.startswith("Extrapolated, 6.3 times above") and "beyond" in look
    assert "no answer" in seen["far"][0] and seen["far"][1] == ""
    assert seen["invalid"] == "true"
    expected = 0.77 + 62.0 * 30e3**-0.477 + 39.2 * 0.8e6**-0.293
    assert f"{expected:.3f}" in seen["model"] and "1.44e11 FLOP" in seen["model"]


def test_hovering_shows_the_run_as_text(report: Path, tmp_path: Path) -> None:
    seen, _ = _look(report, 1280, tmp_path)
    assert seen["hover"].startswith(HOSTILE.format(budget=0, size=0)[:80])
    assert "N 4.6k" in seen["hover"] and "C 2.5e10 FLOP" in seen["hover"]
    assert seen["images"] == 0


def test_the_charts_of_further_laws_are_drawn(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", tuned_rows())
    fitted = fit(config(f"runs={table}", "n_bootstrap=40"))
    page = write_report(fitted, tmp_path / "report").read_text(encoding="utf-8")
    frame = FRAME[: FRAME.index("  const act")] + COUNT
    seen, log = _look(tmp_path / "report" / "report.html", 390, tmp_path, frame)
    assert seen["drawn"] == seen["plots"] == page.count('class="plot"') >= 6
    assert seen["overflow"] <= 0
    assert "CONSOLE" not in log


def _look(report: Path, width: int, folder: Path, act: str = FRAME) -> tuple[dict, str]:
    """What the frame saw, and the browser's log."""
    frame = folder / "frame.html"
    frame.write_text(act.format(page=report.as_uri(), width=width), encoding="utf-8")
    browser = shutil.which("chromium")
    assert browser is not None
    command = [browser, *QUIET.split(), f"--user-data-dir={folder}/profile", "--dump-dom"]
    done = subprocess.run(
        [*command, frame.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    body = done.stdout.split("<body>", 1)[1].split("</body>", 1)[0]
    return json.loads(unescape(body)), done.stderr
