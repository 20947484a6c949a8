"""Arms of one comparison: found in a table, told apart by `by=`, or named by `compare=`."""

import json

import numpy as np
import pytest

from common.errors import BadInput, ExitStatus
from scaling.fit.arms import baseline_of
from scaling.fit.group_by import fit_all
from scaling.fit.results import FitDocument
from scaling.fit.table.inputs import read_sources
from tests.support.arms import LAW, arms, cells
from tests.support.fit_examples import config, write_csv
from tests.support.fit_runs import check, run

QUICK = "n_bootstrap=100"
LAWS = "laws=[isoflop]"


def _rows(name, worth, noise, **columns):
    flops, params, tokens = cells()
    loss = LAW.predict_loss(params * worth**LAW.a, tokens * worth**LAW.b) + noise
    return [
        {
            "run_id": f"{name}-{index}",
            "params": float(n),
            "tokens": float(d),
            "flops": float(c),
            "flops_budget": float(c),
            "loss": float(one),
            "arm": name,
            "seed": 0,
            **columns,
        }
        for index, (c, n, d, one) in enumerate(zip(flops, params, tokens, loss, strict=True))
    ]


def _table(folder, worth, name="arms.csv", **columns):
    """A table of arms of such worth, whose runs of one cell share most of their noise."""
    rng = np.random.default_rng(0)
    shared, rows = rng.standard_normal(35), []
    for arm, k in worth.items():
        noise = 0.01 * (0.9 * shared + 0.44 * rng.standard_normal(35))
        rows += _rows(arm, k, noise, **{n: v[arm] for n, v in columns.items()})
    return write_csv(folder / name, rows)


def _fits(*overrides):
    asked = config(QUICK, LAWS, *overrides)
    return {path.name: fit for path, fit in fit_all(asked, read_sources(asked)).fits}


def test_fit_all_by_arm_unasked(tmp_path, capsys):
    """A column arm is fitted by unasked, its runs paired, and page and summary say so."""
    path, out = _table(tmp_path, {"plain": 1.0, "muon": 1.4, "copy": 1.0}), tmp_path / "out"
    asked = f"runs={path}", f"out={out}", QUICK, LAWS, "baseline=plain"
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
    one = _table(tmp_path, {"plain": 1.0}, "one.csv")
    parts = _table(tmp_path, {"grid": 1.0, "horizons": 1.0}, "parts.csv")
    two = _table(tmp_path, {"plain": 1.0, "muon": 1.4}, "two.csv")
    out = f"out={tmp_path}/out"
    assert list(_fits(f"runs={one}", out)) == ["out"]
    assert list(_fits(f"runs={parts}", out)) == ["out"]
    (only,) = _fits(f"runs={two}", "where.arm=muon", out).values()
    assert only.document.multipliers is None
    three = _table(tmp_path, {"plain": 1.0, "muon": 1.4, "wide": 0.8}, "three.csv")
    for two_of_them in ("where.arm=!=wide", "where.arm=[plain,muon]"):
        assert sorted(_fits(f"runs={three}", two_of_them, out)) == ["muon", "plain"]
    assert sorted(_fits(f"runs={two}", out)) == ["muon", "plain"]


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
    path = _table(tmp_path, {"plain": 1.0, "muon": 1.4})
    with pytest.raises(BadInput, match="baseline: found 'plan', expected .*plain"):
        _fits(f"runs={path}", "baseline=plan", f"out={tmp_path}/out")
    with pytest.raises(BadInput, match="baseline: found 'plain', but the runs are one group"):
        _fits(f"runs={path}", "where.arm=muon", "baseline=plain", f"out={tmp_path}/out")


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
    path = _table(tmp_path, {"plain": 1.0, "other": 1.4}, **known)
    document = _fits(f"runs={path}", "baseline=plain")["other"].document
    texts = [flag.text for flag in document.warnings if flag.code == "no_multiplier"]
    assert bool(texts) == bool(said) and (not said or f"differ in {said}" in texts[0])


def test_multipliers_of_other_tokens_are_one_warning(tmp_path, capsys):
    """Arms of two tokenizers have no multiplier per token, said once, and have one in bytes."""
    words = {"plain": "gpt2", "byte": "bytes"}
    path = _table(tmp_path, {"plain": 1.0, "byte": 1.4}, tokenizer=words)
    out = f"out={tmp_path}/out"
    found = _fits(f"runs={path}", "baseline=plain", out)["byte"].document
    assert [one.status for one in found.multipliers or ()] == ["refused"]
    (flag,) = [flag for flag in found.warnings if flag.code == "no_multiplier"]
    assert "differ in tokenizer (gpt2 against bytes)" in flag.text
    found = _fits(f"runs={path}", "baseline=plain", "loss_unit=bpb", out)["byte"].document
    assert len(found.multipliers or ()) == 5


def test_compared_has_a_multiplier_over_the_other(tmp_path):
    """Over a table runs are resampled, over its fit.json its minima, with the same k."""
    base = _table(tmp_path, {"plain": 1.0}, "base.csv")
    arm = _table(tmp_path, {"new": 1.3}, "new.csv")
    assert run(f"runs={base}", f"out={tmp_path}/saved", QUICK, LAWS) == ExitStatus.DONE
    trends = []
    for other in (base, tmp_path / "saved"):
        asked = f"runs={arm}", f"compare={other}", f"out={tmp_path}/out"
        (fitted,) = _fits(*asked).values()
        (first, *_) = fitted.document.multipliers or ()
        trends.append(first.trend)
    assert [first.arm, first.baseline] == ["new", "saved"]
    table, saved = trends
    assert table.paired and not saved.paired
    assert table.k.value == pytest.approx(saved.k.value, rel=0.01)
    assert np.ptp(table.k.ci90) < np.ptp(saved.k.ci90)


def test_multiplier_of_seeds_is_paired_after_averaging(tmp_path):
    """Cells that average the same seeds are paired; the least seed and their number tell."""
    rng = np.random.default_rng(1)
    rows = []
    for seed in (3, 4, 5):
        shared = rng.standard_normal(35)
        for name, k in (("plain", 1.0), ("new", 1.2)):
            noise = 0.01 * (0.9 * shared + 0.44 * rng.standard_normal(35))
            found = _rows(name, k, noise, seed=seed)
            rows += [row | {"run_id": f"{row['run_id']}-{seed}"} for row in found]
    path = write_csv(tmp_path / "seeds.csv", rows)
    found = _fits(f"runs={path}", "baseline=plain", f"out={tmp_path}/out")["new"].document
    (first, *_) = found.multipliers or ()
    assert found.inputs.merged == 70
    assert first.trend is not None and first.trend.paired
    assert first.trend.correlation == pytest.approx(0.8, abs=0.2)


def test_simulated_arms_are_those_of_a_table(tmp_path):
    """The arms that coverage is simulated with are admitted from a table as they are."""
    one = arms(1.0, 0.0, 0)[0].runs
    assert one is not None
    path = write_csv(tmp_path / "one.csv", _rows("plain", 1.0, 0.0))
    (fitted,) = _fits(f"runs={path}", f"out={tmp_path}/out").values()
    assert np.sort(fitted.observations.loss) == pytest.approx(np.sort(one.loss))
