"""A report says everything that fit.json says, in files written whole, and refuses in words."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_example import example

from configs.files import read_json
from scaling.fit.fit import Fit
from scaling.fit.observations import Observations
from scaling.report.document import escape, write_report
from scaling.report.headline import title_of_study

FIGURES = {"allocation", "valleys", "surface", "residuals", "curves"}
NAN = "NaN|Infinity|undefined|None"


def _figures(out: Path) -> set[str]:
    return {path.name for path in (out / "figures").iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert write_report(example(), out) == out / "report.html"
    return out


def test_every_file_is_there(written: Path) -> None:
    assert {p.name for p in written.iterdir()} == {"fit.json", "fit.md", "figures", "report.html"}
    assert _figures(written) == {f"{name}.{end}" for name in FIGURES for end in ("png", "svg")}
    assert all(path.stat().st_size > 2000 for path in (written / "figures").iterdir())


def test_fit_json_is_the_document(written: Path) -> None:
    assert read_json(written / "fit.json") == json.loads(json.dumps(example().document))


def test_the_title_names_the_runs_and_the_rows_chosen() -> None:
    document = example().document
    runs = [{"path": "logs/a.csv"}, {"path": "runs/b"}]
    document = document | {"provenance": {"runs": runs}}
    document["inputs"] = document["inputs"] | {"where": {"recipe": "wiki"}}
    assert title_of_study(document) == "Scaling-law fit of a.csv and b, recipe wiki"
    document["inputs"]["where"] = {"recipe": ["wiki", "code"]}
    assert title_of_study(document) == "Scaling-law fit of a.csv and b, recipe wiki or code"


def test_markdown_states_the_result_and_its_limits(written: Path) -> None:
    text = (written / "fit.md").read_text()
    for expected in (
        "Compute-optimal size grows as C^0.42 (90% interval 0.39 to 0.45) and data as C^0.58",
        "This is a test of the machinery",
        "the tokens here are bytes",
        "| trial-9-9 | diverged: loss not finite at 120 |",
        "| runs planned | 21 |",
        "figures/valleys.png",
        "https://arxiv.org/abs/2203.15556",
    ):
        assert expected in text
    assert not re.search(NAN, text)


def test_the_same_fit_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    write_report(example(), tmp_path)
    for name in ("fit.json", "fit.md", "report.html", "figures/valleys.svg"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_refused_laws_have_a_reason_and_no_picture(tmp_path: Path) -> None:
    fit = _refused()
    write_report(example(), tmp_path)  # figures of an earlier fit that this one cannot draw
    write_report(fit, tmp_path)
    assert _figures(tmp_path) == {"valleys.png", "valleys.svg", "curves.png", "curves.svg"}
    for name in ("fit.md", "report.html"):
        text = (tmp_path / name).read_text().split("<script", 1)[0]
        assert "only 2 usable budgets" in text
        assert "the solver did not converge" in text
        assert "C^0.42" not in text


def test_a_fit_without_any_run_still_has_a_page(tmp_path: Path) -> None:
    fit = _refused()
    nothing = np.array([])
    empty = Observations((), nothing, nothing, nothing, nothing, nothing, nothing)
    write_report(Fit(fit.document, empty, {}, False), tmp_path)
    assert "no run was admitted" in (tmp_path / "report.html").read_text()


def test_unknown_numbers_do_not_break_a_report(tmp_path: Path) -> None:
    fit = example(curves=False)
    document = _without_numbers(copy.deepcopy(fit.document))
    write_report(Fit(document, fit.observations, {}, True), tmp_path)
    assert "unknown" in (tmp_path / "fit.md").read_text()


def test_markdown_of_names_is_text() -> None:
    hostile = "a|b <img src=x> `c` [d](e) *f* \x1b[31m\n# g"
    assert escape(hostile) == (
        r"a\|b &lt;img src=x&gt; \`c\` \[d\](e) \*f\* " + "\ufffd" + r"\[31m" + "\ufffd# g"
    )


def _refused() -> Fit:
    fit = example()
    document = copy.deepcopy(fit.document)
    document["status"] = "refused"
    document["laws"] = {
        "isoflop": {"status": "refused", "flags": [], "reason": "only 2 usable budgets"},
        "parametric": {"status": "refused", "flags": [], "reason": "the solver did not converge"},
    }
    document["predictions"], document["conventions"], document["holdout"] = [], [], None
    return Fit(document, fit.observations, fit.curves, False)


def _without_numbers(node: Any) -> Any:
    """Every estimate of a document made unknown."""
    if isinstance(node, dict):
        if "ci90" in node:
            return {key: None for key in node}
        return {key: _without_numbers(value) for key, value in node.items()}
    return [_without_numbers(value) for value in node] if isinstance(node, list) else node
