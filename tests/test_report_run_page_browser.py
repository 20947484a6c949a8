"""The pages of a run and of a sweep in a real browser: drawn, quiet, at any width, by keyboard."""

from pathlib import Path

import pytest

from scaling.report.run_page import render_run
from scaling.report.sweep_page import ShownTrial, render_sweep
from tests.support.browser import Browser
from tests.support.tiny_training import tiny_config
from training.trial.folder import write_config
from training.trial.metrics import MetricsLog

pytestmark = pytest.mark.needs_browser

HOSTILE = "a</script><script>document.title='run'</script>"
READY = """
  document.readyState === "complete" && location.protocol === "file:"
    && [...document.querySelectorAll(".plot")].every(
      (plot) => plot.querySelector(".main-svg") || !plot.checkVisibility())
"""
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
CUT = """
  [...document.querySelectorAll(".table")].filter((box) => box.scrollWidth > box.clientWidth + 1)
    .map((box) => box.innerText)
"""
UNNAMED = """
  [...document.querySelectorAll("a, button, input, select, summary")]
    .filter((x) => x.checkVisibility())
    .filter((x) => !(x.innerText || x.ariaLabel || x.title || x.dataset.title || x.labels?.length))
    .map((x) => x.outerHTML)
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    run = folder / "run-of-a-long-name-without-a-space-in-it"
    write_config(run, tiny_config(folder, steps=60))
    (run / "attempt-001").mkdir()
    log = MetricsLog(run / "attempt-001")
    for step in range(1, 41):
        row = {"step": step, "tokens": 128 * step, "flops": 1e6 * step, "loss": 5 - step / 30}
        row |= {"lr": 1e-3, "grad_norm": 1.0, "tokens_per_s": 900.0 + step, "time": float(step)}
        log.write(row | ({"val_loss": 5 - step / 40} if step % 10 == 0 else {}))
    log.close()
    (run / "zero_shot.json").write_text('{"lambada": {"acc": 0.3256, "perplexity": 40.06}}')
    states = ("done", "running", "failed", "waiting")
    trials = [
        ShownTrial(
            f"{HOSTILE} {2e9 * (1 + n % 3):g} FLOP 2x{8 * n} seed 0",
            states[n % 4],
            1e4 * (n + 1),
            2e9 * (1 + n % 3),
            (n, 40),
            4 - n / 40 if states[n % 4] in ("done", "running") else None,
            1e3,
            60.0 if states[n % 4] == "running" else None,
            "killed by signal 9, which nobody expected" if states[n % 4] == "failed" else None,
        )
        for n in range(40)
    ]
    for name, page in (
        ("run", render_run(run)),
        ("sweep", render_sweep(HOSTILE, trials, ["40 trials: 10 done"])),
    ):
        (folder / f"{name}.html").write_text(page)
    return {name: folder / f"{name}.html" for name in ("run", "sweep")}


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_pages_are_drawn_and_quiet_at_any_width(
    pages: dict[str, Path], width: int, tmp_path: Path
) -> None:
    """No request, no error, no sideways scroll, no cut table, no control without a name."""
    with Browser(tmp_path) as browser:
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.call("Emulation.setDeviceMetricsOverride", **screen)
        for name, path in pages.items():
            browser.call("Page.navigate", url=path.as_uri())
            browser.wait(READY)
            browser.evaluate(
                "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
            )
            browser.wait(READY)
            assert browser.evaluate("document.querySelectorAll('.plot .main-svg').length") >= 1
            assert browser.evaluate("innerWidth") == width
            assert browser.evaluate(OVERFLOW) <= 0, name
            assert browser.evaluate(CUT) == [], name
            assert browser.evaluate(UNNAMED) == [], name
            assert browser.evaluate("document.title") != "run"
        asked = [event["request"]["url"] for event in browser.told("Network.requestWillBeSent")]
        assert all(url.startswith(("file:", "data:")) for url in asked)
        assert browser.told("Runtime.exceptionThrown") == []
        logged = [event["type"] for event in browser.told("Runtime.consoleAPICalled")]
        assert "error" not in logged
