"""In a real browser: every figure is drawn, nothing is refused or logged, no width overflows."""

import json
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from scaling.fit.pipeline import fit
from scaling.report.document import render_saved, write_report
from scaling.report.text.method import METHOD
from tests.support.browser import Browser
from tests.support.fit_examples import config, tuned_rows, write_csv
from tests.support.report_example import example

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
  const hover = (box) => {{
    page.defaultView.Plotly.Fx.hover(box, [{{curveNumber: 0, pointNumber: 0}}]);
    return page.querySelector(`#${{box}} .hoverlayer`).textContent;
  }};
  page.querySelectorAll("details").forEach((folded) => {{ folded.open = true; }});
  const tables = [...page.querySelectorAll(".table")];
  document.body.textContent = JSON.stringify({{
    title: page.title, images: page.images.length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
    cut: tables.filter((box) => box.scrollWidth > box.clientWidth).map((box) => box.innerText),
    plots: page.querySelectorAll(".plot .main-svg").length, hover: hover("plot-valleys"),
  }});
}}, 1500));</script>"""
SOURCES = {step.source[1] for step in METHOD if step.source}
CONTROLS = """
  [...document.querySelectorAll(`
    a, button, input, select, summary, textarea, [role="button"], [tabindex], [onclick]`)]
    .filter((control) => control.rel !== "noreferrer" && control.checkVisibility())
"""
# Focuses a control that was not tried and gives its place; first one that was not there before.
NEXT = f"""
  document.querySelectorAll("details").forEach((fold) => {{ fold.open = true; }});
  var untried = {CONTROLS}.filter((control) => !tried.has(control));
  var control = untried.find((control) => !known.has(control)) ?? untried[0];
  tried.add(control);
  control?.scrollIntoView({{block: "center", behavior: "instant"}});
  control?.focus({{preventScroll: true}});
  var box = control?.getBoundingClientRect();
  box ? [box.x + box.width / 2, box.y + box.height / 2] : null
"""
DRAWN = """
  document.readyState === "complete"
    && location.protocol === "file:"
    && [...document.querySelectorAll(".plot")].every(
      (plot) => plot.querySelector(".modebar-btn") || !plot.checkVisibility())
"""
PLOTTED = """
  document.readyState === "complete" && location.protocol === "file:"
    && document.querySelectorAll(".plot:not(.js-plotly-plot):not(details *)").length === 0
"""
AWAY = """
  document.body.insertAdjacentHTML("afterbegin", `
    <a href="https://example.org/link" target="_blank">x</a>
    <svg width=9 height=9><a xlink:href="https://example.org/svg" target="_blank">
      <rect width=9 height=9 /></a></svg>
    <form action="https://example.org/form" target="_blank"><button>x</button></form>
    <iframe src="https://example.org/frame"></iframe>
    <button id="opens">x</button>`);
  document.getElementById("opens").onclick = () => open("https://example.org/window");
  document.querySelectorAll("a[target], form button, #opens").forEach((control) =>
    control.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true})));
"""
COUNT = """
  page.querySelectorAll("details").forEach((folded) => {{ folded.open = true; }});
  setTimeout(() => {{ const plots = [...page.querySelectorAll(".plot")];
  document.body.textContent = JSON.stringify({{
    plots: plots.length, drawn: plots.filter((plot) => plot.querySelector(".trace")).length,
    overflow: page.documentElement.scrollWidth - page.documentElement.clientWidth,
  }}); }}, 1500);
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


@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_first_screen_holds_the_answer(
    report: Path, tmp_path: Path, width: int, height: int
) -> None:
    """The sentence, the state, the size for a budget and the figure, all before one scrolls."""
    with Browser(tmp_path) as browser:
        _sized(browser, width, height)
        browser.call("Page.navigate", url=report.as_uri())
        browser.wait(PLOTTED)
        below = "[...document.querySelectorAll({})].map((b) => b.getBoundingClientRect().bottom)"
        shown = "'.first .headline, .first .state, .first .budget, .first .plot'"
        bottoms = browser.evaluate(below.format(shown))
        assert len(bottoms) == 4 and max(bottoms) <= height
        if width > 1000:
            assert browser.evaluate("document.documentElement.scrollHeight") <= 6 * height


def test_closed_sections_open_by_link_and_for_print(report: Path, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        _sized(browser, 768, 1024)
        browser.call("Page.navigate", url=report.as_uri() + "#conventions")
        browser.wait(DRAWN)
        opened = "[...document.querySelectorAll('details[open]')].map((box) => box.id)"
        assert browser.evaluate(opened) == ["conventions"]
        browser.evaluate("location.hash = '#limits'")
        browser.wait(f"{opened}.includes('limits')")
        browser.evaluate("dispatchEvent(new Event('beforeprint'))")
        assert browser.evaluate("document.querySelectorAll('details:not([open])').length") == 0
        undrawn = "[...document.querySelectorAll('.plot:not(.js-plotly-plot)')].length"
        assert browser.evaluate(undrawn) == 0
        browser.evaluate("dispatchEvent(new Event('afterprint'))")
        assert sorted(browser.evaluate(opened)) == ["conventions", "limits"]
        # A find in the page shows what is closed, as it does not show what has no box at all.
        hidden = "getComputedStyle(byId('runs'), '::details-content').contentVisibility"
        assert browser.evaluate(hidden) == "hidden"


def test_a_figure_is_one_stop_of_the_tab_key(report: Path, tmp_path: Path) -> None:
    with _opened(report, tmp_path) as browser:
        stops = "[...document.querySelectorAll('.modebar-btn')].filter((b) => b.tabIndex === 0)"
        plots = browser.evaluate("document.querySelectorAll('.plot').length")
        assert browser.evaluate(f"{stops}.length") == plots
        unnamed = browser.evaluate("""
            [...document.querySelectorAll("input, select")].filter((c) => !c.labels.length).length
        """)
        assert unnamed == 0
        titled = "[...document.querySelectorAll('figure')].every((f) => f.ariaLabel)"
        assert browser.evaluate(titled)


def _sized(browser: Browser, width: int, height: int) -> None:
    size = {"width": width, "height": height}
    browser.call("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1, mobile=False)


def test_a_figure_has_six_buttons_and_no_address(report: Path, tmp_path: Path) -> None:
    """Plotly's own bar has one more, which opens its cloud with the figure's data."""
    with _opened(report, tmp_path) as browser:
        buttons = "[...document.querySelectorAll('.modebar-btn')].map((b) => b.dataset.title)"
        first, *others = sorted(set(browser.evaluate(buttons)))
        assert first == "Download plot"
        assert others == ["Pan", "Reset axes", "Zoom", "Zoom in", "Zoom out"]
        plots = "[...document.querySelectorAll('.plot')].map((p) => p._context.{})"
        assert set(browser.evaluate(plots.format("plotlyServerURL"))) == {""}
        assert set(browser.evaluate(plots.format("showSendToCloud"))) == {False}


def test_no_control_leaves_the_page_by_click_or_key(report: Path, tmp_path: Path) -> None:
    """The sources of the method are the only links away; they are counted and not followed."""
    with _opened(report, tmp_path) as browser:
        links = browser.evaluate("[...document.links].map((link) => link.getAttribute('href'))")
        assert {link for link in links if link[0] != "#"} == SOURCES
        assert _activate_all(browser) >= 100
        assert _left(browser, report) == []


def test_nothing_in_the_page_reaches_out(report: Path, tmp_path: Path) -> None:
    """Not a script, a form, a frame nor a link that got into the page all the same."""
    with _opened(report, tmp_path) as browser:
        assert browser.evaluate("open('https://example.org/') === null")
        assert browser.evaluate("window.open = 1; typeof open") == "function"
        assert browser.evaluate("fetch('https://example.org/').catch(() => 'no')") == "no"
        browser.evaluate(AWAY)
        assert _left(browser, report) == []


def test_a_page_that_reaches_out_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<body>")
    with Browser(tmp_path) as browser:
        browser.call("Page.navigate", url=page.as_uri())
        browser.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        browser.evaluate(AWAY)
        found = {address.rsplit("/", 1)[-1] for address in _left(browser, page)}
        assert found >= {"frame", "link", "svg", "form?", "window"}


def _activate_all(browser: Browser) -> int:
    """Each control clicked, then each pressed, and at once those that it brings; how many."""
    count = 0
    for act in (browser.click, lambda *_: browser.press("Enter")):
        browser.evaluate(f"var tried = new Set(), known = new Set({CONTROLS})")
        while place := browser.evaluate(NEXT):
            act(*place)
            count += 1
            assert count < 500 and browser.told("Page.windowOpen") == []
    return count


def _opened(report: Path, folder: Path) -> Browser:
    browser = Browser(folder)
    browser.call("Page.navigate", url=report.as_uri())
    browser.wait(DRAWN)
    browser.evaluate(
        "document.querySelectorAll('details').forEach((fold) => { fold.open = true; })"
    )
    browser.wait(DRAWN)
    return browser


def _left(browser: Browser, page: Path) -> list[str]:
    """Addresses that the tab went to, asked for or opened, but for the page and its own values."""
    browser.evaluate("new Promise((done) => setTimeout(done, 300))")
    failed = browser.told("Network.loadingFailed")
    refused = {told["requestId"] for told in failed if told.get("blockedReason") == "csp"}
    sent = browser.told("Network.requestWillBeSent")
    found = [told["request"]["url"] for told in sent if told["requestId"] not in refused]
    found += [told["frame"]["url"] for told in browser.told("Page.frameNavigated")]
    found += [told["url"] for told in browser.told("Page.windowOpen")]
    found += [told["url"] for told in browser.told("Browser.downloadWillBegin")]
    found += [told["targetInfo"]["url"] for told in browser.told("Target.targetCreated")]
    own = (page.as_uri(), "about:blank", "data:", "blob:", "chrome")  # a refused frame is chrome's
    return [address for address in found if not address.startswith(own)]


def test_hovering_shows_the_run_as_text(report: Path, tmp_path: Path) -> None:
    seen, _ = _look(report, 1280, tmp_path)
    assert seen["hover"].startswith(HOSTILE.format(budget=0, size=0)[:80])
    assert "N 4.60k" in seen["hover"] and "C 2.5e10 FLOP" in seen["hover"]
    assert seen["images"] == 0


def test_the_charts_of_other_laws_are_drawn(tmp_path: Path) -> None:
    table = write_csv(tmp_path / "t.csv", tuned_rows())
    fitted = fit(config(f"runs={table}", "n_bootstrap=40"))
    page = write_report(fitted, tmp_path / "report").read_text(encoding="utf-8")
    frame = FRAME[: FRAME.index("  const hover")] + COUNT
    seen, log = _look(tmp_path / "report" / "report.html", 390, tmp_path, frame)
    assert seen["drawn"] == seen["plots"] == page.count('class="plot"') >= 6
    assert seen["overflow"] <= 0
    assert "CONSOLE" not in log


def test_a_saved_fit_is_drawn_without_its_runs(report: Path, tmp_path: Path) -> None:
    render_saved(report.with_name("fit.json"), tmp_path / "saved")
    frame = FRAME[: FRAME.index("  const hover")] + COUNT
    seen, log = _look(tmp_path / "saved" / "report.html", 1280, tmp_path, frame)
    assert seen["drawn"] == seen["plots"] == 2
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
