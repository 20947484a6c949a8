"""A report says everything that fit.json says, in files written whole, and refuses in words."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from common.errors import BadInput
from common.files import read_json
from scaling.fit.pipeline import Fit
from scaling.report.document import escape, render_saved, write_report
from scaling.report.study import NO_RUNS
from tests.support.report_example import example

FIGURES = {"allocation", "valleys", "surface", "residuals", "curves"}
NAN = "NaN|Infinity|undefined|None"


def _figures(out: Path) -> set[str]:
    return {path.name for path in (out / "figures").iterdir()}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report")
    assert write_report(example(), out) == out / "report.html"
    return out


def test_write_report_writes_every_file(written: Path) -> None:
    assert {p.name for p in written.iterdir()} == {"fit.json", "fit.md", "figures", "report.html"}
    assert _figures(written) == {f"{name}.{end}" for name in FIGURES for end in ("png", "svg")}
    assert all(path.stat().st_size > 2000 for path in (written / "figures").iterdir())


def test_write_report_writes_the_document(written: Path) -> None:
    assert read_json(written / "fit.json") == json.loads(json.dumps(example().document.to_json()))


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


def test_write_report_gives_the_same_bytes_for_the_same_fit(written: Path, tmp_path: Path) -> None:
    write_report(example(), tmp_path)
    for name in ("fit.json", "fit.md", "report.html", "figures/valleys.svg"):
        assert (tmp_path / name).read_bytes() == (written / name).read_bytes()


def test_write_report_of_refused_laws_has_reasons_and_no_picture(tmp_path: Path) -> None:
    write_report(example(), tmp_path)  # figures of an earlier fit that this one cannot draw
    write_report(example(edit=_refuse), tmp_path)
    assert _figures(tmp_path) == {"valleys.png", "valleys.svg", "curves.png", "curves.svg"}
    for name in ("fit.md", "report.html"):
        text = (tmp_path / name).read_text().split("<script", 1)[0]
        assert "only 2 usable budgets" in text
        assert "the solver did not converge" in text
        assert "C^0.42" not in text


def test_write_report_without_any_run_still_has_a_page(tmp_path: Path) -> None:
    def empty(values: dict[str, Any]) -> None:
        _refuse(values)
        values["inputs"] |= {"used": 0, "observations": 0}

    write_report(Fit(example(edit=empty).document, NO_RUNS, {}, False), tmp_path)
    assert "no run was admitted" in (tmp_path / "report.html").read_text()


def test_write_report_survives_unknown_numbers(tmp_path: Path) -> None:
    def forget(values: dict[str, Any]) -> None:
        values.update(_without_numbers(values))

    write_report(example(curves=False, edit=forget), tmp_path)
    assert "unknown" in (tmp_path / "fit.md").read_text()


def test_render_saved_draws_what_fit_json_holds(written: Path, tmp_path: Path) -> None:
    page = render_saved(written / "fit.json", tmp_path).read_text()
    assert _figures(tmp_path) == {"allocation.png", "allocation.svg"}
    ours, theirs = ((folder / "fit.md").read_text() for folder in (tmp_path, written))
    assert ours.splitlines()[:3] == theirs.splitlines()[:3]
    assert ours.count("it needs the runs") == page.count("it needs the runs") == 5
    assert "Not listed" in ours and not re.search(NAN, ours)


def test_render_saved_refuses_what_is_no_fit(tmp_path: Path) -> None:
    (tmp_path / "fit.json").write_text('{"schema": 1}')
    with pytest.raises(BadInput, match="expected the fit.json of this version"):
        render_saved(tmp_path / "fit.json", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_escape_leaves_names_as_text() -> None:
    hostile = "a|b <img src=x> `c` [d](e) *f* \x1b[31m\n# g"
    assert escape(hostile) == (
        r"a\|b &lt;img src=x&gt; \`c\` \[d\](e) \*f\* " + "\ufffd" + r"\[31m" + "\ufffd# g"
    )


def _refuse(values: dict[str, Any]) -> None:
    values["status"] = "refused"
    refused = {"status": "refused", "flags": []}
    values["laws"] = {
        "isoflop": {**refused, "reason": "only 2 usable budgets", "valleys": []},
        "parametric": {**refused, "reason": "the solver did not converge"},
    }
    values["predictions"], values["conventions"] = [], []
    values["holdout"] |= {"status": "none", "flops": None, "law": None, "rolling": []}


def _without_numbers(node: Any) -> Any:
    """Every estimate of a document made unknown."""
    if isinstance(node, dict):
        if "ci90" in node:
            return {key: None for key in node}
        return {key: _without_numbers(value) for key, value in node.items()}
    return [_without_numbers(value) for value in node] if isinstance(node, list) else node
