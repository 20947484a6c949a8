"""Two fits on one page: differences with intervals, and every way of naming the other fit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, write_csv
from fit_schema import problems

import fit as entry
from configs.errors import BadInput, ExitStatus
from configs.files import to_json
from configs.load import run_entry
from scaling.fit.apart import fit_all
from scaling.fit.comparison import compared, difference
from scaling.fit.fit import fit
from scaling.fit.inputs import read_sources
from scaling.fit.laws import PUBLISHED, Estimate
from scaling.report.document import write_report
from scaling.report.scene import scene

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


def test_the_interval_of_a_difference_of_normals_is_the_normal_one() -> None:
    def normal(value: float, sd: float) -> Estimate:
        return Estimate(value, sd, ci90=(value - 1.645 * sd, value + 1.645 * sd))

    gap = difference(normal(0.5, 0.03), normal(0.4, 0.04))
    assert gap.value == pytest.approx(0.1) and gap.se == pytest.approx(0.05)
    assert gap.ci90 == pytest.approx((0.1 - 1.645 * 0.05, 0.1 + 1.645 * 0.05))
    assert gap.ci80 is None
    assert difference(Estimate(None), normal(0.4, 0.04)).value is None


def test_two_corpora_of_different_exponents_are_told_apart(tmp_path: Path) -> None:
    one, other = _table(tmp_path, "besiroglu", 1), _table(tmp_path, "hoffmann", 2)
    document = _compared(one, other).document
    assert problems(json.loads(to_json(document))) == []
    row = _row(document, "isoflop", "a")
    true = PUBLISHED["besiroglu"].a - PUBLISHED["hoffmann"].a
    assert row["difference"]["ci95"][0] < true < row["difference"]["ci95"][1]
    assert row["apart90"] is True
    assert row["this"] == document["laws"]["isoflop"]["a"]
    assert document["comparison"]["warnings"] == []


def test_an_earlier_fit_json_and_its_table_say_the_same(tmp_path: Path) -> None:
    one, other = _table(tmp_path, "besiroglu", 1), _table(tmp_path, "besiroglu", 3)
    earlier = tmp_path / "earlier"
    earlier.mkdir()
    write_report(fit(config(f"runs={other}", QUICK)), earlier)
    documents = [_compared(one, path).document for path in (other, earlier, earlier / "fit.json")]
    by_table, by_folder, by_file = (d["comparison"]["estimates"] for d in documents)
    assert by_table == by_folder == by_file
    assert _row(documents[0], "parametric", "a")["apart90"] is False


def test_both_laws_are_in_the_figure(tmp_path: Path) -> None:
    one, other = _table(tmp_path, "besiroglu", 1), _table(tmp_path, "hoffmann", 2)
    found = _compared(one, other)
    drawn = scene(found.document, found.observations, found.curves)
    assert set(drawn["others"]) == {"isoflop-other", "parametric-other"}
    line = drawn["others"]["parametric-other"]["line"]
    n = np.array([value for value in line["n"] if value], dtype=float)
    assert (np.diff(np.log(n)) > 0).all()
    text = (write_report(found, tmp_path).parent / "fit.md").read_text()
    assert "## Two fits side by side" in text and "differ at 90%?" in text


def test_a_fit_and_itself_are_not_independent(tmp_path: Path) -> None:
    one = _table(tmp_path, "besiroglu", 1)
    document = _compared(one, one).document
    assert _row(document, "isoflop", "a")["difference"]["value"] == 0
    assert [w["code"] for w in document["comparison"]["warnings"]] == ["shared_runs"]


def test_a_mistyped_comparison_is_refused_before_any_fit(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("params,tokens,loss,status\n1e6,1e8,3,failed\n")  # none to fit
    asked = config(f"runs={tmp_path / 't.csv'}", f"compare={tmp_path / 'none'}")
    with pytest.raises(BadInput, match="^compare: .*none: not found; expected"):
        fit_all(asked, read_sources(asked))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"laws": {}, "schema": 9, "predictions": []}', "schema 9, expected 1"),
        ('{"laws": {"isoflop": 3}, "schema": 1, "predictions": []}', "fit.json of an earlier fit"),
        ('{"laws": {}, "schema": 1, "predictions": [{"flops": "x"}]}', "expected a budget"),
        ("not json", "not strict JSON"),
        (None, "not found"),
    ],
)
def test_what_is_no_fit_is_bad_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, expected: str
) -> None:
    path = tmp_path / "fit.json"
    if content is not None:
        path.write_text(content)
    out = tmp_path / "out"
    arguments = [f"runs={_table(tmp_path, 'besiroglu', 1)}", f"compare={path}", f"out={out}"]
    status = run_entry(entry.main, "fit", "", [*arguments, "n_bootstrap=40"])
    message = capsys.readouterr().err
    assert status == ExitStatus.BAD_INPUT and message.count("\n") == 1
    assert expected in message and not out.exists()
