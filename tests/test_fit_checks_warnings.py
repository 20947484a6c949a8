"""Two ways to an exponent that differ by more than chance are said, whichever is the headline."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.checks.warnings import warnings
from scaling.fit.dispatch import HeadlineFits
from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.numerics.bootstrap import estimate
from scaling.fit.pipeline import fit
from scaling.fit.results.estimate import UNKNOWN
from scaling.fit.results.laws import Exponents
from tests.support.fit_examples import config, isoflop_rows, observations, write_csv
from tests.support.fit_runs import QUICK, check, fitted, table
from tests.support.fit_tables import table_of

ROWS = isoflop_rows(
    PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 4), np.geomspace(1 / 4, 4, 7), 0.005
)


def said(head, **exponents):
    """The warnings where each method's a has the given value and 90% interval."""
    points, asked = observations(ROWS), config("runs=x", "n_bootstrap=60")
    fitted = fit_isoflop(points, 60, 0, asked.budget_tolerance)
    found = {
        name: estimate(a, np.linspace(low, high, 101)) for name, (a, low, high) in exponents.items()
    }
    methods = {name: Exponents(a, UNKNOWN) for name, a in found.items()}
    law = replace(fitted.law, a=found[head], method=head, methods=methods, method_errors=None)
    flags = warnings(table_of([]), points, HeadlineFits(replace(fitted, law=law), None), asked)
    return [flag.text for flag in flags if flag.code == "methods_disagree"]


@pytest.mark.parametrize(("head", "other"), [("parabola", "spline"), ("spline", "parabola")])
def test_methods_disagree(head, other):
    """Methods that leave out each others exponent are said."""
    found = said(head, **{head: (0.50, 0.48, 0.53), other: (0.56, 0.52, 0.60)})
    assert len(found) == 1
    assert f"isoflop by {head} gives a = 0.500, by {other} 0.560" in found[0]


@pytest.mark.parametrize(
    ("spline", "parabola"),
    [
        ((0.50, 0.40, 0.60), (0.56, 0.54, 0.58)),  # the headline's interval holds the other
        ((0.50, 0.48, 0.52), (0.56, 0.45, 0.70)),  # the other's holds the headline
        ((0.5000, 0.4999, 0.5001), (0.5005, 0.5004, 0.5006)),  # too near each other to matter
    ],
)
def test_methods_may_agree(spline, parabola):
    """Methods that may agree or hardly differ are not."""
    assert said("spline", spline=spline, parabola=parabola, robust=spline) == []


def test_methods_without_an_answer():
    """A method without an answer disagrees with nothing."""
    assert said("spline", spline=(0.5, 0.48, 0.52)) == []


def test_repeated_points_name_the_columns(tmp_path):
    """Seeds that a column keeps apart are told which."""
    rows = [
        row | {"run_id": f"{i}-{seed}", "seed": seed, "host": f"node{seed}"}
        for i, row in enumerate(ROWS)
        for seed in (0, 1)
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    found = fit(config(f"runs={path}", "n_bootstrap=0", "laws=[isoflop]")).document.warnings
    text = next(flag.text for flag in found if flag.code == "repeated_points")
    assert "runs that differ in seed and in host are no repeats" in text


def test_unknown_setting():
    """Runs of an unknown corpus beside those of a known one are said."""
    rows = [{"dataset": "c4"}, {}, {"status": "oom"}]

    def texts(some):
        found = warnings(table_of(some), observations(ROWS), HeadlineFits(), config("runs=x"))
        return [flag.text for flag in found if flag.code == "unknown_setting"]

    assert [text.split(";")[0] for text in texts(rows)] == ["dataset: known of 1 of 2 runs"]
    assert texts([rows[0], rows[0], rows[2]]) == texts([rows[1]]) == []


def test_units_of_tokens():
    """Tokens counted in billions are asked about."""

    def texts(unit):
        points = observations(ROWS)
        points = replace(points, tokens=points.tokens / unit)
        found = warnings(table_of([]), points, HeadlineFits(), config("runs=x"))
        return [flag.text for flag in found if flag.code == "units"]

    assert texts(1) == []
    (text,) = texts(1e9)
    assert "tokens per parameter" in text and "units.tokens=1e9" in text


def test_warnings_name_runs_by_place(tmp_path):
    """Runs without a name are named by their place."""
    rows = [row | {"spike_nats": "", "stale": ""} for row in ROWS]
    rows[3] |= {"spike_nats": 0.7, "stale": 1}
    table = write_csv(tmp_path / "t.csv", rows)
    found = fit(config(f"runs={table}", "n_bootstrap=0")).document.warnings
    texts = {remark.code: remark.text for remark in found}
    assert texts["stale_runs"].endswith("t.csv:5")
    assert texts["loss_spikes"].endswith("highest by 0.70 nats in " + f"{table}:5")


def test_stale_runs():
    """Stale: one as the grid has it, one at another rate, one of a size that it has not."""
    kept = {"flops_budget": 1e17, "n_layer": 2, "n_embd": 64, "lr": 0.01, "batch_tokens": 512}
    others = [{}, {"lr": 0.02}, {"n_embd": 96, "lr": 0.02}]
    runs = [kept, *(kept | {"stale": 1} | other for other in others)]
    rows = [run | {"run_id": f"r{index}"} for index, run in enumerate(runs)]
    found = warnings(table_of(rows), observations(ROWS), HeadlineFits(), config("runs=x"))
    (text,) = [flag.text for flag in found if flag.code == "stale_runs"]
    assert text.startswith("3 runs are of cells outside the latest grid")
    assert "1 of them at another learning rate or batch" in text and "where.stale=0" in text
    assert text.endswith("r1, r2, r3")


def test_repeated_points_say_the_alternative(tmp_path):
    """The alternative to repeated points is said."""
    path = table(tmp_path)
    lines = path.read_text().splitlines()
    names = lines[0].split(",")
    again = []
    for line in lines[1:]:
        cells = dict(zip(names, line.split(","), strict=True))
        cells["run_id"] += "-again"
        cells["loss"] = str(float(cells["loss"]) + 0.01)
        again.append(",".join(cells[name] for name in names))
    path.write_text("\n".join(lines + again) + "\n")
    document = fitted(f"runs={path}", QUICK).document.to_json()
    check(document)
    assert "repeated_points" in {flag["code"] for flag in document["laws"]["isoflop"]["flags"]}
    texts = [w["text"] for w in document["warnings"] if w["code"] == "repeated_points"]
    assert texts[0].startswith("with reduce=best, 35 points remain: isoflop would give a = 0.5")
    best = fitted(f"runs={path}", QUICK, "reduce=best").document.to_json()
    check(best)
    assert best["inputs"]["used"] == 35 and len(best["inputs"]["excluded"]) == 35


def test_runs_near_no_budget_are_told_and_counted():
    """Runs in no IsoFLOP curve are counted in a warning; where all are in one nothing is said."""
    stray = [row | {"tokens": 3 * row["tokens"]} for row in ROWS[:2]]
    rows = [{name: row[name] for name in ("params", "tokens", "loss")} for row in [*ROWS, *stray]]
    for count, expected in ((2, ["2 of 30 runs are near no budget"]), (0, [])):
        points, asked = observations(rows[: 28 + count]), config("runs=x", "n_bootstrap=0")
        fits = HeadlineFits(fit_isoflop(points, 0, 0, asked.budget_tolerance), None)
        flags = warnings(table_of([]), points, fits, asked)
        told = [flag.text for flag in flags if flag.code == "near_no_budget"]
        assert [text.split(" and in no")[0] for text in told] == expected


@pytest.mark.parametrize(("error", "told"), [(0.03, False), (0.01, True)])
def test_methods_that_miss_simulated_runs_do_not_disagree(error, told):
    """A method off by no more than in simulations of these runs is no disagreement."""
    points, asked = observations(ROWS), config("runs=x")
    fitted = fit_isoflop(points, 0, 0, asked.budget_tolerance)
    a, other = (estimate(at, np.linspace(at - 0.03, at + 0.03, 101)) for at in (0.50, 0.56))
    methods = {"parabola": Exponents(a, UNKNOWN), "spline": Exponents(other, UNKNOWN)}
    errors = {"parabola": 0.004, "spline": error}
    law = replace(fitted.law, a=a, method="parabola", methods=methods, method_errors=errors)
    flags = warnings(table_of([]), points, HeadlineFits(replace(fitted, law=law), None), asked)
    assert any(flag.code == "methods_disagree" for flag in flags) == told
