"""Which runs make a valley, which valleys have a vertex, and what is said of the others."""

import numpy as np
import pytest
from fit_examples import isoflop_rows, observations
from fit_grid import BUDGETS, SIZES, TIED, law

from scaling.fit.isoflop import fit_isoflop
from scaling.fit.laws import PUBLISHED
from scaling.fit.observations import Exclusion
from scaling.fit.valleys import WINDOW_FACTOR, budgets, find_valleys


def open_valley(row):
    return 3 - 0.1 * np.log(row["params"])


def concave_valley(row, centre):
    return 3 - 0.1 * (np.log(row["params"]) - centre) ** 2


def test_open_valleys_have_no_vertex():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        row["loss"] = open_valley(row)
    fitted = law(rows)
    assert fitted.status == "refused"
    assert "0 budgets with a vertex, expected at least 3" in fitted.reason
    assert "open: the largest of its 7 sizes has the lowest loss" in fitted.reason
    assert not fitted.estimates


def test_concave_valleys_have_no_vertex():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        row["loss"] = concave_valley(row, np.log(TIED.optimal_allocation(row["flops"])[0]))
    assert law(rows).status == "refused"


def test_a_dent_in_a_concave_valley_is_no_vertex():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        centre = np.log(TIED.optimal_allocation(row["flops"])[0])
        row["loss"] = concave_valley(row, centre)
        if abs(np.log(row["params"]) - centre) < 0.1:
            row["loss"] -= 0.3
    fitted = law(rows)
    assert fitted.status == "refused"
    assert "not convex around its lowest loss" in fitted.reason


def test_one_open_valley_is_left_out_and_flagged():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[-1]:
            row["loss"] = open_valley(row)
    fitted = law(rows)
    assert fitted.status == "flagged"
    assert {flag.code for flag in fitted.flags} == {"edge_valley", "few_budgets"}
    assert fitted.estimates["a"].value == pytest.approx(0.5, abs=1e-6)
    assert fitted.details["valleys"][-1]["n_opt"]["value"] is None
    assert fitted.details["valleys"][-1]["flags"][0]["code"] == "edge_valley"


def test_two_sizes_are_no_valley():
    fitted = law(isoflop_rows(TIED, BUDGETS, [1.0, 2.0]))
    assert fitted.status == "refused"
    assert "2 sizes, expected at least 3" in fitted.reason


def test_no_vertex_lies_outside_the_sampled_sizes():
    for seed in range(20):
        rows = isoflop_rows(TIED, BUDGETS, SIZES * 3, sigma=0.05, seed=seed)
        for valley in fit_isoflop(observations(rows), 0, 0, 0.2).valleys:
            sizes = np.exp(valley.log_n[[0, -1]])
            if valley.reason is None:
                vertex = valley.log_n[np.argmin(valley.loss)]
                assert sizes[0] < np.exp(vertex) < sizes[1]


def test_a_missing_edge_run_is_flagged():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    lost = rows.pop()
    gone = Exclusion("big", "status oom", lost["flops_budget"], lost["params"])
    fitted = law(rows, excluded=(gone,))
    assert "edge_valley" in {flag.code for flag in fitted.flags}
    assert any("run big at its edge is missing" in flag.text for flag in fitted.flags)


def test_a_missing_inner_run_is_not_flagged():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    lost = rows.pop(-3)
    gone = Exclusion("inner", "status failed", lost["flops_budget"], lost["params"])
    assert law(rows, excluded=(gone,)).status == "ok"


def test_unnamed_budgets_are_found_by_their_flop():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for index, row in enumerate(rows):
        del row["flops_budget"]
        row["flops"] *= 1 + 0.02 * (index % 3)
    groups = budgets(observations(rows), 0.2)
    assert [len(members) for _, members in groups] == [7] * 5
    assert law(rows).estimates["a"].value == pytest.approx(0.5, abs=0.01)


def test_runs_scattered_in_flop_are_no_budgets():
    rng = np.random.default_rng(0)
    rows = isoflop_rows(TIED, 10 ** rng.uniform(17, 21, 25), [0.5, 2.0])
    for row in rows:
        del row["flops_budget"]
        row["flops"] *= float(np.exp(rng.uniform(-0.5, 0.5)))
    assert find_valleys(observations(rows), 0.2) == ()


def test_the_window_is_the_sizes_within_its_factor_and_at_least_five():
    wide = find_valleys(observations(isoflop_rows(TIED, [1e18], np.geomspace(1 / 64, 64, 13))), 0.2)
    assert wide[0].window.sum() == 5
    dense = find_valleys(observations(isoflop_rows(TIED, [1e18], np.geomspace(1 / 8, 8, 25))), 0.2)
    assert np.ptp(dense[0].log_n[dense[0].window]) == pytest.approx(2 * np.log(WINDOW_FACTOR))


def test_a_missing_edge_run_is_flagged_with_the_shift_of_the_exponent():
    rows = isoflop_rows(PUBLISHED["besiroglu"], BUDGETS, SIZES, 0.005)
    lost = rows.pop()
    gone = Exclusion("big", "status oom", lost["flops_budget"], lost["params"])
    fitted = law(rows, excluded=(gone,))
    without = law([row for row in rows if row["flops_budget"] != lost["flops_budget"]])
    text = next(flag.text for flag in fitted.flags if flag.code == "edge_valley")
    stated = float(text.split("without this valley a = ")[1].split(",")[0])
    assert stated == pytest.approx(without.estimates["a"].value, abs=5e-4)


def test_an_odd_curvature_is_flagged_at_its_valley():
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[2]:
            row["loss"] += 0.6 * np.log(row["params"] / TIED.optimal_allocation(BUDGETS[2])[0]) ** 2
    valleys = law(rows).details["valleys"]
    assert [flag["code"] for flag in valleys[2]["flags"]] == ["curvature"]
