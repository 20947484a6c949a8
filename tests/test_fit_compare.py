"""Two fits on one page: differences with intervals, and every way of naming the other fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fit as entry
from common.errors import BadInput, ExitStatus
from common.files import to_json
from configs.cli import run_entry
from scaling.fit.compare import compared, difference
from scaling.fit.group_by import fit_all
from scaling.fit.laws import PUBLISHED
from scaling.fit.pipeline import fit
from scaling.fit.results.estimate import Estimate
from scaling.fit.table.inputs import read_sources
from scaling.report.document import study_of, write_report
from scaling.report.figures.allocation import other_lines
from tests.support.fit_examples import config, isoflop_rows, write_csv
from tests.support.json_schema import problems

QUICK = "n_bootstrap=200"


def _table(folder: Path, law: str, seed: int) -> Path:
    rows: list[dict[str, Any]] = list(
        isoflop_rows(
            PUBLISHED[law],
            np.geomspace(1e17, 1e19, 5),
            np.geomspace(1 / 4, 4, 7),
            0.003,
            seed,
        )
    )
    for index, row in enumerate(rows):
        row["run_id"] = f"{law}-{index}"
    return write_csv(folder / f"{law}-{seed}.csv", rows)


def _compared(one: Path, other: Path) -> Any:
    asked = config(f"runs={one}", f"compare='{other}'", QUICK)
    return compared(fit(asked), asked)


def _row(document: dict[str, Any], law: str, name: str) -> dict[str, Any]:
    rows = document["comparison"]["estimates"]
    return next(row for row in rows if row["law"] == law and row["name"] == name)


def test_difference_of_normals() -> None:
    """The interval of a difference of normals is the normal one."""

    def normal(value: float, sd: float) -> Estimate:
        return Estimate(value, sd, ci90=(value - 1.645 * sd, value + 1.645 * sd))

    gap = difference(normal(0.5, 0.03), normal(0.4, 0.04))
    assert gap.value == pytest.approx(0.1) and gap.se == pytest.approx(0.05)
    assert gap.ci90 == pytest.approx((0.1 - 1.645 * 0.05, 0.1 + 1.645 * 0.05))
    assert gap.ci80 is None
    assert difference(Estimate(None), normal(0.4, 0.04)).value is None


def test_compared_tells_corpora_apart(tmp_path: Path) -> None:
    """Two corpora of different exponents are told apart."""
    one, other = _table(tmp_path, "besiroglu", 1), _table(tmp_path, "hoffmann", 2)
    document = _compared(one, other).document.to_json()
    assert problems(document) == []
    row = _row(document, "isoflop", "a")
    true = PUBLISHED["besiroglu"].a - PUBLISHED["hoffmann"].a
    assert row["difference"]["ci95"][0] < true < row["difference"]["ci95"][1]
    assert row["apart90"] is True
    assert row["this"] == document["laws"]["isoflop"]["a"]
    assert document["comparison"]["warnings"] == []


def test_compared_reads_a_saved_fit(tmp_path: Path) -> None:
    """An earlier fit json and its table say the same."""
    one, other = _table(tmp_path, "besiroglu", 1), _table(tmp_path, "besiroglu", 3)
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    write_report(fit(config(f"runs={other}", QUICK)), earlier)
    paths = (other, earlier, earlier / "fit.json")
    documents = [_compared(one, path).document.to_json() for path in paths]
    by_table, by_folder, by_file = (d["comparison"]["estimates"] for d in documents)
    assert by_table == by_folder == by_file
    assert _row(documents[0], "parametric", "a")["apart90"] is False


def test_compared_laws_are_in_the_figure(tmp_path: Path) -> None:
    """Both laws are in the figure."""
    one, other = _table(tmp_path, "besiroglu", 1), _table(tmp_path, "hoffmann", 2)
    found = _compared(one, other)
    lines = other_lines(study_of(found))
    assert set(lines) == {"isoflop-other", "parametric-other"}
    assert (np.diff(np.log(lines["parametric-other"].values["n"])) > 0).all()
    text = (write_report(found, tmp_path).parent / "fit.md").read_text()
    assert "## Two fits side by side" in text and "differ at 90%?" in text


def test_compared_with_itself_is_not_independent(tmp_path: Path) -> None:
    """A fit and itself are not independent."""
    one = _table(tmp_path, "besiroglu", 1)
    document = _compared(one, one).document.to_json()
    assert _row(document, "isoflop", "a")["difference"]["value"] == 0
    assert [w["code"] for w in document["comparison"]["warnings"]] == ["shared_runs"]


def test_compared_refuses_before_any_fit(tmp_path: Path) -> None:
    """A mistyped comparison is refused before any fit."""
    (tmp_path / "t.csv").write_text("params,tokens,loss,status\n1e6,1e8,3,failed\n")  # none to fit
    asked = config(f"runs={tmp_path / 't.csv'}", f"compare={tmp_path / 'none'}")
    with pytest.raises(BadInput, match="^compare: .*none: not found; expected"):
        fit_all(asked, read_sources(asked))


@pytest.mark.parametrize(
    ("place", "value"),
    [("valleys", 0), ("valleys", "text"), ("flops", 0), ("flops", -1e18), ("status", 7)],
)
def test_compared_names_what_is_wrong_in_a_saved_fit(
    tmp_path: Path, place: str, value: object
) -> None:
    """A value that no fit writes is one line with its key, whatever would be drawn of it."""
    one = _table(tmp_path, "besiroglu", 1)
    document = fit(config(f"runs={one}", "n_bootstrap=0")).document.to_json()
    law = document["laws"]["isoflop"]
    (law["valleys"][0] if place == "flops" else law)[place] = value
    (tmp_path / "fit.json").write_text(to_json(document))
    with pytest.raises(BadInput, match=rf"^compare: .*fit.json: laws.isoflop.*{place}.*expected"):
        _compared(one, tmp_path / "fit.json")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"laws": {}, "schema": 9, "predictions": []}', "schema 9, expected 1"),
        ('{"laws": {"isoflop": 3}, "schema": 1, "predictions": []}', "status: missing"),
        ('{"laws": {}, "schema": 1, "predictions": [{"flops": "x"}]}', "status: missing"),
        ("not json", "not strict JSON"),
        (None, "not found"),
    ],
)
def test_compared_refuses_what_is_no_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, expected: str
) -> None:
    """What is no fit is bad input."""
    path = tmp_path / "fit.json"
    if content is not None:
        path.write_text(content)
    out = tmp_path / "out"
    arguments = [f"runs={_table(tmp_path, 'besiroglu', 1)}", f"compare={path}", f"out={out}"]
    status = run_entry(entry.main, "fit", "", [*arguments, "n_bootstrap=40"])
    message = capsys.readouterr().err
    assert status == ExitStatus.BAD_INPUT and message.count("\n") == 1
    assert expected in message and not out.exists()
