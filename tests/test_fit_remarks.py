"""Two ways to an exponent that differ by more than chance are said, whichever is the headline."""

from dataclasses import replace

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, observations, write_csv

from scaling.fit.columns import Row
from scaling.fit.fit import fit
from scaling.fit.headline import HeadlineFits
from scaling.fit.isoflop import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.remarks import remarks
from scaling.fit.uncertainty import estimate

ROWS = isoflop_rows(
    PUBLISHED["besiroglu"], np.geomspace(1e17, 1e19, 4), np.geomspace(1 / 4, 4, 7), 0.005
)


def said(head, **exponents):
    """The warnings where each method's a has the given value and 90% interval."""
    points, asked = observations(ROWS), config("runs=x", "n_bootstrap=60")
    fitted = fit_isoflop(points, 60, 0, asked.budget_tolerance)
    methods = {
        name: {"a": estimate(a, np.linspace(low, high, 101)).document()}
        for name, (a, low, high) in exponents.items()
    }
    a, low, high = exponents[head]
    law = replace(
        fitted.law,
        estimates=fitted.law.estimates | {"a": estimate(a, np.linspace(low, high, 101))},
        details=fitted.law.details | {"method": head, "methods": methods},
    )
    found = remarks([], points, HeadlineFits(replace(fitted, law=law), None), asked)
    return [remark["text"] for remark in found if remark["code"] == "methods_disagree"]


@pytest.mark.parametrize(("head", "other"), [("parabola", "spline"), ("spline", "parabola")])
def test_methods_that_leave_out_each_others_exponent_are_said(head, other):
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
def test_methods_that_may_agree_or_hardly_differ_are_not(spline, parabola):
    assert said("spline", spline=spline, parabola=parabola, robust=spline) == []


def test_a_method_without_an_answer_disagrees_with_nothing():
    assert said("spline", spline=(0.5, 0.48, 0.52)) == []


def test_seeds_that_a_column_keeps_apart_are_told_which(tmp_path):
    rows = [
        row | {"run_id": f"{i}-{seed}", "seed": seed, "host": f"node{seed}"}
        for i, row in enumerate(ROWS)
        for seed in (0, 1)
    ]
    path = write_csv(tmp_path / "runs.csv", rows)
    found = fit(config(f"runs={path}", "n_bootstrap=0", "laws=[isoflop]")).document["warnings"]
    text = next(remark["text"] for remark in found if remark["code"] == "repeated_points")
    assert "runs that differ in seed and in host are no repeats" in text


def test_runs_of_an_unknown_corpus_beside_those_of_a_known_one_are_said():
    rows = [Row("a", {"dataset": "c4"}), Row("b", {}), Row("c", {"status": "oom"})]

    def texts(some):
        found = remarks(some, observations(ROWS), HeadlineFits(None, None), config("runs=x"))
        return [remark["text"] for remark in found if remark["code"] == "unknown_setting"]

    assert [text.split(";")[0] for text in texts(rows)] == ["dataset: known of 1 of 2 runs"]
    assert texts([rows[0], rows[0], rows[2]]) == texts([rows[1]]) == []


def test_tokens_counted_in_billions_are_asked_about():
    def texts(unit):
        points = observations(ROWS)
        points = replace(points, tokens=points.tokens / unit)
        found = remarks([], points, HeadlineFits(None, None), config("runs=x"))
        return [remark["text"] for remark in found if remark["code"] == "units"]

    assert texts(1) == []
    (text,) = texts(1e9)
    assert "tokens per parameter" in text and "units.tokens=1e9" in text


def test_runs_without_a_name_are_named_by_their_place(tmp_path):
    rows = [row | {"spike_nats": "", "stale": ""} for row in ROWS]
    rows[3] |= {"spike_nats": 0.7, "stale": 1}
    table = write_csv(tmp_path / "t.csv", rows)
    found = fit(config(f"runs={table}", "n_bootstrap=0")).document["warnings"]
    texts = {remark["code"]: remark["text"] for remark in found}
    assert texts["stale_runs"].endswith("t.csv:5")
    assert texts["loss_spikes"].endswith("highest by 0.70 nats in " + f"{table}:5")


def test_runs_of_an_earlier_grid_are_said_to_be_so_and_those_of_another_rate_counted():
    """Stale: one as the grid has it, one at another rate, one of a size that it has not."""
    kept = {"flops_budget": 1e17, "n_layer": 2, "n_embd": 64, "lr": 0.01, "batch_tokens": 512}
    others = [{}, {"lr": 0.02}, {"n_embd": 96, "lr": 0.02}]
    runs = [kept, *(kept | {"stale": 1} | other for other in others)]
    rows = [Row("", run | {"run_id": f"r{index}"}) for index, run in enumerate(runs)]
    found = remarks(rows, observations(ROWS), HeadlineFits(None, None), config("runs=x"))
    (text,) = [remark["text"] for remark in found if remark["code"] == "stale_runs"]
    assert text.startswith("3 runs of cells that the grid asked for last has not")
    assert "1 of them at another rate or batch" in text and "where.stale=0" in text
    assert text.endswith("r1, r2, r3")
