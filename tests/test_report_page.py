"""The page is one file that loads nothing and in which no name can become markup or script."""

import json
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_example import example

from scaling.fit.fit import Fit
from scaling.report.document import write_report
from scaling.report.page import embed

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


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    fit = example(HOSTILE)
    fit.document["warnings"] = [{"code": HOSTILE, "text": HOSTILE}]
    fit.document["provenance"] = {HOSTILE: HOSTILE}
    fit.document["inputs"]["where"] = {HOSTILE: HOSTILE}
    fit.document["laws"]["isoflop"]["flags"] = [{"code": HOSTILE, "text": HOSTILE}]
    fit.document["laws"][HOSTILE] = {"status": "refused", "reason": HOSTILE, "flags": []}
    out = tmp_path_factory.mktemp("hostile")
    _page(fit, out)
    return out / "report.html"


def test_the_page_loads_nothing(page: str) -> None:
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


def test_names_are_text(hostile: Path) -> None:
    parsed = _Elements(hostile.read_text(encoding="utf-8"))
    assert "img" not in {tag for tag, _ in parsed.elements}
    assert not [name for _, name, _ in parsed.attributes if name.startswith("on")]
    assert len(parsed.scripts) == 3  # the scene, plotly, and the page's own
    assert HOSTILE.format(budget=9, size=9) in parsed.text


def test_names_add_no_element(page: str, hostile: Path) -> None:
    """One element more for each row that the hostile study has more, and no new kind."""
    before, after = _Elements(page), _Elements(hostile.read_text(encoding="utf-8"))
    assert set(after.elements) == set(before.elements)
    for kind in (("script", ()), ("a", ("href",)), ("a", ("href", "rel")), ("input", ())):
        assert after.elements[kind] == before.elements[kind]


def test_the_scene_reads_back(hostile: Path) -> None:
    scene = json.loads(_Elements(hostile.read_text(encoding="utf-8")).scripts[0])
    assert scene["points"]["run_id"][0] == HOSTILE.format(budget=0, size=0)
    assert len(scene["points"]["loss"]) == 20
    assert [len(valley["curve"]["params"]) for valley in scene["valleys"]] == [60] * 4


def test_embedded_json_cannot_leave_its_element() -> None:
    value = {"</script>": "<!--\u2028&"}
    text = embed(value)
    assert not re.search(r"[<>&\u2028]", text)
    assert json.loads(text) == value
    with pytest.raises(ValueError):
        embed(float("nan"))
