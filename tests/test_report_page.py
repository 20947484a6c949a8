"""The page is one file that loads nothing and in which no name can become markup or script."""

import json
import re
import tomllib
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from packaging.requirements import Requirement

from scaling.fit.pipeline import Fit
from scaling.report.document import write_report
from scaling.report.html import embed, plotly
from tests.support.report_example import example, page_of, study

ROOT = Path(__file__).resolve().parent.parent
HOSTILE = (
    "</script><script>alert(1)</script><img src=http://x/y onerror=alert(2)>\"'&<!--{budget}-{size}"
)
LOADS = {"src", "srcset", "action", "formaction", "poster", "data", "background", "xlink:href"}


class _Elements(HTMLParser):
    """Counts elements with their attributes' names, and collects texts and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: Counter[tuple[str, tuple[str, ...]]] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag, tuple(sorted(name for name, _ in attrs))] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data


def _page(fit: Fit, out: Path) -> str:
    return write_report(fit, out).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return _page(example(), tmp_path_factory.mktemp("page"))


def _defile(values: dict[str, Any]) -> None:
    flag = {"code": HOSTILE, "text": HOSTILE}
    values["warnings"] = [flag]
    values["provenance"]["python"] = HOSTILE
    values["inputs"]["where"] = {HOSTILE: HOSTILE}
    values["laws"]["isoflop"]["flags"] = [flag]
    values["laws"]["envelope"] = {"status": "refused", "reason": HOSTILE, "flags": []}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hostile")
    _page(example(HOSTILE, edit=_defile), out)
    return out / "report.html"


def test_render_loads_nothing(page: str) -> None:
    parsed = _Elements(page)
    assert not [found for found in parsed.attributes if found[1] in LOADS]
    links = {(tag, value) for tag, name, value in parsed.attributes if name == "href"}
    assert {tag for tag, value in links if "//" in value} == {"a"}
    assert {value for tag, value in links if tag == "link"} == {"data:,"}
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style and "@import" not in style
    policy = next(v for t, n, v in parsed.attributes if n == "content" and "default-src" in v)
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    assert "http" not in policy and "script-src 'sha256-" in policy


def test_plotly_is_the_one_whose_buttons_were_tried() -> None:
    """A newer one may bring a button that leaves the page, as 7 did."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pin = next(r for r in map(Requirement, project["dependencies"]) if r.name == "plotly")
    assert metadata.version("plotly") in pin.specifier
    assert "8.0" not in pin.specifier and "6.9" not in pin.specifier
    assert f"plotly=={metadata.version('plotly')}\n" in (ROOT / "constraints.txt").read_text()
    assert re.match(r"/\*\*\n\* plotly\.js v4\.", plotly())


def test_render_shows_names_as_text(hostile: Path) -> None:
    parsed = _Elements(hostile.read_text(encoding="utf-8"))
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    # Five figures and the explorer's, the dark colours, its values, plotly, and the page's own.
    assert len(parsed.scripts) == 10
    assert HOSTILE.format(budget=9, size=9) in parsed.text


def test_render_adds_no_element_for_a_name(page: str, hostile: Path) -> None:
    """One element more for each row that the hostile study has more, and no new kind."""
    before, after = _Elements(page), _Elements(hostile.read_text(encoding="utf-8"))
    assert set(after.elements) == set(before.elements)
    for kind in (("script", ()), ("a", ("href",)), ("a", ("href", "rel")), ("input", ())):
        assert after.elements[kind] == before.elements[kind]


def test_render_embeds_each_figure_as_values(hostile: Path) -> None:
    scripts = _Elements(hostile.read_text(encoding="utf-8")).scripts
    figures = [json.loads(script) for script in scripts[:5]]
    assert all(figure.keys() == {"data", "layout", "narrow"} for figure in figures)
    runs = next(trace for trace in figures[1]["data"] if trace["mode"] == "markers")
    assert runs["hovertext"][0].startswith("<b>&lt;/script&gt;") and len(runs["x"]) == 5
    hovers = [text for trace in figures[1]["data"] for text in trace.get("hovertext") or ()]
    assert len(hovers) == 24 and not re.search(r"<(?!/?b>|br>)", "".join(hovers))


def test_render_knows_a_dark_colour_for_each_light_one(page: str) -> None:
    scripts = _Elements(page).scripts
    used = set(re.findall(r"#[0-9a-f]{6}|rgb\([^)]*\)", "".join(scripts[:6])))
    dark = json.loads(scripts[6])
    assert used and used <= set(dark)


def test_embed_cannot_leave_its_element() -> None:
    value = {"</script>": "<!--\u2028&"}
    text = embed(value)
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == value
    with pytest.raises(ValueError):
        embed(float("nan"))


def test_render_of_thousands_of_trials_is_small_and_answers_first(tmp_path: Path) -> None:
    """The answer stands before the first script, and so is painted before any has run."""
    found, rng = study(), np.random.default_rng(0)
    rows = rng.integers(0, len(found.runs), 5000)
    names = tuple(f"trial-{index:05d}-0745cd60b8d666cf" for index in range(len(rows)))
    noise = rng.normal(0, 0.01, len(rows))
    runs = found.runs.take(rows)
    runs = replace(runs, run_id=names, loss=runs.loss + noise, params=runs.params * np.exp(noise))
    page = page_of(replace(found, runs=runs), tmp_path).read_text(encoding="utf-8")
    assert len(page.encode()) <= 8e6
    for part in ('class="headline"', 'class="state"', 'class="budget"', 'id="limits"'):
        assert 0 < page.index(part) < page.index("<script")
