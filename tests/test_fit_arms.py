"""Arms of one comparison: found in a table, or told apart by `by=`."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from common.errors import BadInput, ExitStatus
from scaling.fit.arms import baseline_of, by_arm
from scaling.fit.group_by import fit_all, parts
from scaling.fit.results import FitDocument
from scaling.fit.summary import summary
from scaling.fit.table.inputs import read_sources
from tests.support.arms import arm_rows, arm_table, arms
from tests.support.fit_examples import config, write_csv
from tests.support.fit_runs import check, run

QUICK = ("n_bootstrap=60", "laws=[isoflop]", "isoflop.method=parabola", "holdout=none")


def _fits(*overrides):
    asked = config(*QUICK, *overrides)
    return {path.name: fit for path, fit in fit_all(asked, read_sources(asked)).fits}


def _groups(*overrides):
    """The groups that would be fitted apart; none where the runs are one fit."""
    asked = config(*QUICK, *overrides)
    sources = read_sources(asked)
    apart = parts(by_arm(asked, sources), sources)
    return [part.where["arm"] for _, part in apart if "arm" in part.where]


def test_fit_all_by_arm_unasked(tmp_path, capsys):
    """A column arm is fitted by unasked, its runs paired, and page and summary say so."""
    path, out = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4, "copy": 1.0}), tmp_path / "out"
    asked = f"runs={path}", f"out={out}", *QUICK, "baseline=plain"
    assert run(*asked) == ExitStatus.DONE
    found = {p.parent.name: json.loads(p.read_text()) for p in out.glob("*/fit.json")}
    assert sorted(found) == ["copy", "muon", "plain"]
    for document in found.values():
        check(document)
    assert [one["arm"] for one in found["plain"]["multipliers"]] == ["copy"] * 5 + ["muon"] * 5
    (first, *others) = found["muon"]["multipliers"]
    assert first["baseline"] == "plain" and len(others) == 4
    assert first["trend"]["verdict"] == "better" and first["trend"]["paired"]
    low, high = first["trend"]["k"]["ci90"]
    assert low < 1.4 < high
    said = capsys.readouterr().out
    assert re.findall(r"^arm=(\w+):$", said, re.MULTILINE) == ["plain", "copy", "muon"]
    assert said.count("compute: muon reaches the loss of plain with 1/1.") == 1
    assert said.count("compute: no difference shown: copy over plain") == 1
    page = (out / "plain" / "report.html").read_text()
    markdown = (out / "plain" / "fit.md").read_text()
    for text in (page, markdown):
        assert "Compute multiplier" in text and "muon reaches the loss of plain with" in text
    assert (out / "plain" / "figures" / "multiplier.svg").exists()
    again = FitDocument.read(out / "muon" / "fit.json")
    assert again.multipliers and again.multipliers[0].trend is not None


def test_by_arm_needs_arms(tmp_path):
    """One arm alone, a part of a sweep, a value asked for, or by= of another column: no arms."""
    one = arm_table(tmp_path, {"plain": 1.0}, "one.csv")
    roles = arm_table(tmp_path, {"grid": 1.0, "horizons": 1.0}, "parts.csv")
    two = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4}, "two.csv")
    assert _groups(f"runs={one}") == _groups(f"runs={roles}") == []
    (only,) = _fits(f"runs={two}", "where.arm=muon", f"out={tmp_path}/out").values()
    assert only.document.multipliers is None
    three = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4, "wide": 0.8}, "three.csv")
    for two_of_them in ("where.arm=!=wide", "where.arm=[plain,muon]"):
        assert _groups(f"runs={three}", two_of_them) == ["muon", "plain"]
    assert _groups(f"runs={two}") == ["muon", "plain"]


def test_arms_are_one_fit_where_none_is_asked_for(tmp_path):
    table = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4})
    whole = (f"runs={table}", "by=none", "laws=[learning_curve]", "n_bootstrap=0")
    (one,) = _fits(*whole, f"out={tmp_path}/out").values()
    rows = len(table.read_text().splitlines()) - 1
    assert len(one.observations) == rows > 40 and one.document.multipliers is None


def test_baseline_is_the_one_asked_for():
    """The baseline asked for, else the value of that name, else the first."""
    asked = config("runs=x", "by=arm", "baseline=b")
    assert baseline_of(["a", "b", "baseline"], asked) == "b"
    asked = config("runs=x", "by=arm")
    assert baseline_of(["a", "b", "baseline"], asked) == "baseline"
    assert baseline_of(["a", "b"], asked) == "a"
    assert baseline_of(["a", "b"], asked, first="b") == "b"


def test_baseline_that_is_no_group_is_refused(tmp_path):
    """A baseline that is no value of the column, or without groups, is one line."""
    path = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4})
    with pytest.raises(BadInput, match="baseline: found 'plan', expected .*plain"):
        _fits(f"runs={path}", "baseline=plan", f"out={tmp_path}/out")
    with pytest.raises(BadInput, match="baseline: found 'plain', but the runs are one group"):
        _fits(f"runs={path}", "where.arm=muon", "baseline=plain", f"out={tmp_path}/out")


def test_arm_of_no_usable_run_has_no_multiplier_and_says_so(tmp_path):
    """Be it the baseline, over which then none has one, or another, which has none."""
    status = {"plain": "failed", "muon": "done", "copy": "done"}
    path = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4, "copy": 1.0}, status=status)
    for baseline, lost in (("plain", ["copy", "muon"]), ("copy", ["plain"])):
        found = _fits(f"runs={path}", f"baseline={baseline}")
        every = [found[name].document for name in found if baseline == "plain" or name == "copy"]
        refused = [m for one in every for m in one.multipliers if m.flops is None]
        assert [one.arm for one in refused] == lost
        for one in refused:
            assert one.reason.startswith("plain has no fit: runs: none of 35 with arm=plain")
        flags = [flag.text for one in every for flag in one.warnings if "multiplier" in flag.text]
        assert len(flags) == len(lost)


@pytest.mark.parametrize("empty", [(3,), (3, 4, 36)])
def test_row_that_names_no_arm_is_refused(tmp_path, empty):
    """It would be pooled with every arm: in one line, with file and row and what to do."""
    rows = [*arm_rows("plain", 1.0, 0.0), *arm_rows("muon", 1.4, 0.0)]
    for index in empty:
        rows[index]["arm"] = ""
    path = write_csv(tmp_path / "t.csv", rows)
    with pytest.raises(BadInput) as error:
        _groups(f"runs={path}")
    said = str(error.value)
    assert f"{path}:5 (run plain-3): arm: found nothing, expected one in each row" in said
    assert ("2 rows more" in said) == (len(empty) == 3) and "'where.arm=!=null'" in said
    assert _groups(f"runs={path}", "where.arm=!=null") == ["muon", "plain"]
    ids = ",".join(rows[index]["run_id"] for index in empty)
    assert _groups(f"runs={path}", f"exclude=[{ids}]") == ["muon", "plain"]
    one = write_csv(tmp_path / "one.csv", [row | {"arm": ""} for row in rows[:35]])
    assert _groups(f"runs={one}") == []


def test_trials_of_no_arm_of_a_sweep_are_told(tmp_path):
    """A sweep keeps the trials of an arm that it no longer has: they stop no arm's fit."""
    rows = [*arm_rows("plain", 1.0, 0.0), *arm_rows("muon", 1.4, 0.0), *arm_rows("old", 1.1, 0.0)]
    path = write_csv(tmp_path / "t.csv", [r | {"arm": r["arm"].replace("old", "")} for r in rows])
    asked = config(*QUICK, f"runs={path}")
    found = fit_all(asked, replace(read_sources(asked), own=True)).fits
    assert sorted(folder.name for folder, _ in found) == ["muon", "plain"]
    for _, one in found:
        (flag,) = [f for f in one.document.warnings if f.code == "rows_without_arm"]
        assert flag.text.startswith("35 trials of no arm") and one.document.inputs.used == 35


def test_arm_called_as_a_part_of_a_sweep_is_told(tmp_path):
    """Where the column cannot be told from that of a sweep without arms."""
    path = arm_table(tmp_path, {"plain": 1.0, "tuning": 1.4})
    with pytest.raises(
        BadInput, match="arms.csv: arm: found 'tuning', which .* beside plain; .*say by=arm"
    ):
        _groups(f"runs={path}")
    assert _groups(f"runs={path}", "by=arm") == ["plain", "tuning"]
    assert _groups(f"runs={path}", "where.arm=[plain]") == [["plain"]]  # one fit


@pytest.mark.parametrize(
    ("worth", "folders"),
    [
        ({"plain": 1.0, "nan": 1.4}, ["nan", "plain"]),
        ({"plain": 1.0, "mu\u202eon": 1.4}, ["mu%E2%80%AEon", "plain"]),
    ],
)
def test_arms_of_odd_names_are_arms(tmp_path, worth, folders):
    """Whatever the name reads as; where it is printed nothing of it moves other text."""
    found = _fits(f"runs={arm_table(tmp_path, worth)}")
    assert sorted(found) == folders
    for one in found.values():
        assert one.document.inputs.used == 35 and summary(one.document).isascii()


def test_values_of_one_number_are_one_group(tmp_path):
    """Since where= takes them for one: each run is in one group."""
    rows = [*arm_rows("1", 1.0, 0.0), *arm_rows("1.0", 1.0, 0.0), *arm_rows("b", 1.2, 0.0)]
    for index, row in enumerate(rows):
        row["seed"] = index // 35
    found = _fits(f"runs={write_csv(tmp_path / 't.csv', rows)}")
    assert {name: one.document.inputs.used for name, one in found.items()} == {"1": 70, "b": 35}


def test_arms_of_one_group_are_told(tmp_path):
    """by= of another column puts arms together, which is said of the group that has several."""
    rows = [
        *(row | {"kind": "x"} for row in arm_rows("plain", 1.0, 0.0)),
        *(row | {"kind": "y"} for row in arm_rows("muon", 1.4, 0.0)),
        *(row | {"kind": "y", "seed": 1} for row in arm_rows("wide", 1.0, 0.0)),
    ]
    found = _fits(f"runs={write_csv(tmp_path / 't.csv', rows)}", "by=kind")
    told = {
        k: [f.text for f in one.document.warnings if f.code == "pooled_arms"]
        for k, one in found.items()
    }
    assert told["x"] == [] and told["y"] == [
        "runs of the arms muon, wide are fitted together; where.arm= chooses one"
    ]


@pytest.mark.parametrize(
    ("column", "words", "said"),
    [
        ("vocab_size", (50257, 256), "vocab_size (50257 against 256)"),
        ("dataset", ("c4", "github"), "dataset (c4 against github)"),
        ("dataset", ("c4", None), None),
    ],
)
def test_fit_all_tells_other_tokens_by_what_the_table_has(tmp_path, column, words, said):
    """Columns that are not there, and cells without a value, are no difference and no likeness."""
    known = {column: dict(zip(("plain", "other"), words, strict=True))}
    path = arm_table(tmp_path, {"plain": 1.0, "other": 1.4}, **known)
    document = _fits(f"runs={path}", "baseline=plain")["other"].document
    texts = [flag.text for flag in document.warnings if flag.code == "no_multiplier"]
    assert bool(texts) == bool(said) and (not said or f"differ in {said}" in texts[0])


def test_multipliers_of_other_tokens_are_one_warning(tmp_path, capsys):
    """Arms of two tokenizers have no multiplier per token, said once, and have one in bytes."""
    words = {"plain": "gpt2", "byte": "bytes"}
    path = arm_table(tmp_path, {"plain": 1.0, "byte": 1.4}, tokenizer=words)
    out = f"out={tmp_path}/out"
    found = _fits(f"runs={path}", "baseline=plain", out)["byte"].document
    assert [one.status for one in found.multipliers or ()] == ["refused"]
    (flag,) = [flag for flag in found.warnings if flag.code == "no_multiplier"]
    assert "differ in tokenizer (gpt2 against bytes)" in flag.text
    found = _fits(f"runs={path}", "baseline=plain", "loss_unit=bpb", out)["byte"].document
    assert len(found.multipliers or ()) == 5


def test_multiplier_of_seeds_is_paired_after_averaging(tmp_path):
    """Cells that average the same seeds are paired; the least seed and their number tell."""
    rng = np.random.default_rng(1)
    rows = []
    for seed in (3, 4, 5):
        shared = rng.standard_normal(35)
        for name, k in (("plain", 1.0), ("new", 1.2)):
            noise = 0.01 * (0.9 * shared + 0.44 * rng.standard_normal(35))
            found = arm_rows(name, k, noise, seed=seed)
            rows += [row | {"run_id": f"{row['run_id']}-{seed}"} for row in found]
    path = write_csv(tmp_path / "seeds.csv", rows)
    found = _fits(f"runs={path}", "baseline=plain", f"out={tmp_path}/out")["new"].document
    (first, *_) = found.multipliers or ()
    assert found.inputs.merged == 70
    assert first.trend is not None and first.trend.paired
    assert first.trend.correlation == pytest.approx(0.8, abs=0.2)


def test_simulated_arms_are_those_of_aarm_table(tmp_path):
    """The arms that coverage is simulated with are admitted from a table as they are."""
    one = arms(1.0, 0.0, 0)[0].runs
    assert one is not None
    path = write_csv(tmp_path / "one.csv", arm_rows("plain", 1.0, 0.0))
    (fitted,) = _fits(f"runs={path}", f"out={tmp_path}/out").values()
    assert np.sort(fitted.observations.loss) == pytest.approx(np.sort(one.loss))
