"""The arm that `compare=` names: of a table, a sweep, a saved fit, or a folder of several."""

import json
from dataclasses import replace

import numpy as np
import pytest

from common.errors import BadInput, ExitStatus
from common.files import to_json
from scaling.fit.compare import read_other
from scaling.fit.group_by import fit_all, folder_name
from scaling.fit.results import FitDocument
from scaling.fit.summary import summary
from scaling.fit.table.inputs import read_sources
from tests.support.arms import arm_table
from tests.support.fit_examples import config
from tests.support.fit_runs import run

QUICK = ("n_bootstrap=60", "laws=[isoflop]", "isoflop.method=parabola", "holdout=none")
WORTH = {"plain": 1.0, "muon": 1.4, "wide": 0.8}


def _fits(*overrides):
    asked = config(*QUICK, *overrides)
    return {path.name: fit.document for path, fit in fit_all(asked, read_sources(asked)).fits}


def _saved(folder, documents):
    """The fit.json of each, as a fit by arm leaves them."""
    for name, document in documents.items():
        (folder / folder_name(name)).mkdir(parents=True)
        (folder / folder_name(name) / "fit.json").write_text(to_json(document.to_json()))
    return folder


def test_compared_has_a_multiplier_over_the_other(tmp_path):
    """Over a table runs are resampled, over its fit.json its minima, with the same k."""
    base = arm_table(tmp_path, {"plain": 1.0}, "base.csv")
    arm = arm_table(tmp_path, {"new": 1.3}, "new.csv")
    assert run(f"runs={base}", f"out={tmp_path}/saved", *QUICK) == ExitStatus.DONE
    trends = []
    for other in (base, tmp_path / "saved"):
        asked = f"runs={arm}", f"compare={other}", f"out={tmp_path}/out"
        (document,) = _fits(*asked).values()
        (first, *_) = document.multipliers or ()
        trends.append(first.trend)
    assert [first.arm, first.baseline] == ["new", "saved"]
    table, saved = trends
    assert table.paired and not saved.paired
    assert table.k.value == pytest.approx(saved.k.value, rel=0.01)
    assert np.ptp(table.k.ci90) < np.ptp(saved.k.ci90)


@pytest.mark.parametrize(
    ("other", "typed", "arm", "where"),
    [
        (WORTH, ["baseline=plain"], "plain", {"arm": "plain"}),
        (WORTH, ["where.arm=wide"], "wide", {"arm": "wide"}),
        (WORTH, ["where.arm=muon", "baseline=plain"], "plain", {"arm": "plain"}),
        (WORTH, ["where.seed=0", "baseline=plain"], "plain", {"seed": "0", "arm": "plain"}),
        ({"plain": 1.0}, ["where.arm=muon"], "plain", {}),
        ({"plain": 1.0}, ["baseline=plain"], "plain", {}),
        ({"plain": 1.0}, ["by=arm"], "plain", {}),
        (WORTH, ["by=none"], None, {}),  # all arms together, of both
        ({"grid": 1.0, "tuning": 1.0}, ["where.arm=tuning"], None, {"arm": "tuning"}),
    ],
)
def test_read_other_is_the_arm_that_is_named(tmp_path, other, typed, arm, where):
    """By baseline=, else by where.arm= if the other has it; the only one without being named."""
    path = arm_table(tmp_path, other, "other.csv")
    read = read_other(config("runs=x.csv", f"compare={path}", *typed))
    assert read.arm == arm and read.read[1].where == where
    assert read.name == ("other, arm " + where["arm"] if arm and where.get("arm") else "other")


@pytest.mark.parametrize("typed", [[], ["where.arm=new"], ["by=arm"], ["where.arm=[plain,muon]"]])
def test_read_other_of_several_arms_is_refused(tmp_path, typed):
    """Their runs together are the fit of no arm: in one line, with the arms and what to type."""
    path = arm_table(tmp_path, WORTH, "other.csv")
    with pytest.raises(BadInput) as error:
        read_other(config("runs=x.csv", f"compare={path}", *typed))
    assert str(error.value) == (
        f"compare: {path}: found the arms muon, plain, wide, expected one to compare with; choose "
        "it by baseline=, as baseline=muon"
    )


def test_read_other_without_the_column_of_arms_is_whole(tmp_path):
    """What where= asks of the column of arms chooses among the runs alone."""
    path = arm_table(tmp_path, {"plain": 1.0}, "other.csv", without=("arm",))
    read = read_other(config("runs=x.csv", f"compare={path}", "where.arm=muon", "where.seed=0"))
    assert read.arm is None and read.read[1].where == {"seed": "0"} and read.name == "other"


def test_groups_are_compared_with_one_arm(tmp_path):
    """Each group is over the same arm of the other table, which is no group's namesake."""
    path = arm_table(tmp_path, {"plain": 1.0, "muon": 1.4})
    bare = arm_table(tmp_path, {"plain": 1.0}, "bare.csv", without=("arm",))
    other = arm_table(tmp_path, {"plain": 1.0, "old": 1.2}, "other.csv")
    for typed, name in (
        ([f"compare={bare}"], "bare"),
        ([f"compare={other}", "baseline=old"], "other, arm old"),
    ):
        found = _fits(f"runs={path}", *typed)
        over = {k: {m.baseline for m in one.multipliers} for k, one in found.items()}
        assert over == {"plain": {name, "muon"}, "muon": {name, "muon"}}  # of muon all of its own
        a, b = (one.comparison.other_fit.laws["isoflop"] for one in found.values())
        assert a == b
    with pytest.raises(BadInput, match="baseline: found 'new', expected one of muon, plain"):
        _fits(f"runs={path}", f"compare={bare}", "baseline=new")


def test_one_fit_takes_its_baseline_from_the_other(tmp_path):
    """A table of one arm over the arm of another table that baseline= names, and over no other."""
    one = arm_table(tmp_path, {"new": 1.3}, "new.csv")
    other = arm_table(tmp_path, WORTH, "other.csv")
    found = _fits(f"runs={one}", f"compare={other}", "baseline=plain", f"out={tmp_path}/x")["x"]
    (first, *_) = found.multipliers
    low, high = first.trend.k.ci90
    assert low < 1.3 < high and first.baseline == "other, arm plain"
    with pytest.raises(BadInput, match="baseline: found 'none', but the runs are one group"):
        bare = arm_table(tmp_path, {"plain": 1.0}, "bare.csv", without=("arm",))
        _fits(f"runs={one}", f"compare={bare}", "baseline=none", f"out={tmp_path}/x")


def test_folder_of_fits_by_arm_is_one_of_them(tmp_path):
    """Named by its folder or by baseline=; else what is there is said, and what to type."""
    folder = _saved(tmp_path / "by", _fits(f"runs={arm_table(tmp_path, WORTH)}"))
    for typed, end in ((["baseline=plain"], "by"), ([], "by/plain")):
        read = read_other(config("runs=x.csv", f"compare={tmp_path}/{end}", *typed))
        assert read.arm == "plain" and read.read.inputs.where == {"arm": "plain"}
    with pytest.raises(BadInput) as error:
        read_other(config("runs=x.csv", f"compare={folder}", "baseline=none"))
    assert str(error.value) == (
        f"compare: {folder}: holds the fits of muon, plain, wide, expected one of them, as "
        f"compare={folder}/muon or baseline=muon"
    )
    with pytest.raises(BadInput, match="it holds fits, which compare= reads, and no runs"):
        read_sources(config(f"runs={folder}"))


def test_saved_fit_tells_its_tokens(tmp_path):
    """Losses of other tokens are refused over a fit.json as over its table."""
    base = arm_table(tmp_path, {"plain": 1.0}, "base.csv", tokenizer={"plain": "gpt2"})
    arm = arm_table(tmp_path, {"new": 1.3}, "new.csv", tokenizer={"new": "bytes"})
    saved = _saved(tmp_path / "saved", {"x": _fits(f"runs={base}", f"out={tmp_path}/x")["x"]})
    assert json.loads((saved / "x" / "fit.json").read_text())["setting"] == {"tokenizer": ["gpt2"]}
    said = []
    for other in (base, saved / "x"):
        found = _fits(f"runs={arm}", f"compare={other}", f"out={tmp_path}/y")["y"]
        (one,) = found.multipliers
        said.append(one.reason)
    assert said[0] == said[1] and "differ in tokenizer (gpt2 against bytes)" in said[0]


def test_saved_fit_without_its_tokens_is_flagged(tmp_path):
    """Of an earlier version nothing says what its losses are of, and that is said."""
    base = arm_table(tmp_path, {"plain": 1.0}, "base.csv")
    arm = arm_table(tmp_path, {"new": 1.3}, "new.csv")
    document = replace(_fits(f"runs={base}", f"out={tmp_path}/x")["x"], setting=None)
    saved = _saved(tmp_path / "saved", {"x": document})
    assert FitDocument.read(saved / "x" / "fit.json") == document
    found = _fits(f"runs={arm}", f"compare={saved}/x", f"out={tmp_path}/y")["y"]
    flags = [flag.code for one in found.multipliers for flag in one.flags]
    assert (
        flags
        == ["unchecked_tokens"] * 5
        == [flag.code for _ in range(5) for flag in found.comparison.warnings]
    )
    assert "warning: x was saved without its tokenizer and held-out text" in summary(found)


def test_saved_fit_of_few_resamples_says_so(tmp_path):
    """Its minima are there, and their standard errors are not."""
    base = arm_table(tmp_path, {"plain": 1.0}, "base.csv")
    arm = arm_table(tmp_path, {"new": 1.3}, "new.csv")
    few = _fits(f"runs={base}", "n_bootstrap=20", f"out={tmp_path}/x")
    saved = _saved(tmp_path / "saved", few)
    (one,) = _fits(f"runs={arm}", f"compare={saved}/x", f"out={tmp_path}/y")["y"].multipliers
    assert one.reason == (
        "x: its minima have no standard errors, for want of resamples (n_bootstrap=20, expected 40 "
        "or more); fit it again"
    )
