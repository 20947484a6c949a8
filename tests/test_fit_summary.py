"""What is printed fits one screen and names every law, doubt and exclusion that decides."""

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, tuned_rows, write_csv

from scaling.fit.fit import fit
from scaling.fit.laws import PUBLISHED
from scaling.fit.summary import summary
from scaling.report.tables import conventions as conventions_table

SURFACE = PUBLISHED["besiroglu"]
SCREEN = 25  # lines, with the one that says where the report is


def said(folder, rows, *overrides):
    table = write_csv(folder / "t.csv", rows)
    document = fit(config(f"runs={table}", "n_bootstrap=60", *overrides)).document
    return document, summary(document).split("\n")


def grid(budgets=5, sigma=0.005, repeats=1):
    rows = isoflop_rows(
        SURFACE, np.geomspace(1e17, 1e19, budgets), np.geomspace(1 / 4, 4, 7), sigma
    )
    return [row | {"run_id": f"r{i}-{k}"} for i, row in enumerate(rows) for k in range(repeats)]


@pytest.mark.parametrize("rows", [grid(), grid(3, 0.05, 2), grid(1), tuned_rows()])
def test_a_typical_table_fits_a_screen_and_names_every_law_once(tmp_path, rows):
    document, lines = said(tmp_path, rows)
    assert len(lines) < SCREEN
    for name, law in document["laws"].items():
        mine = [line for line in lines if line.startswith(f"{name} ")]
        assert len(mine) == 1 and law["status"] in mine[0]


def test_the_exponents_have_their_intervals_and_the_held_out_budget_its_verdict(tmp_path):
    document, lines = said(tmp_path, grid())
    a = document["laws"]["isoflop"]["a"]
    low, high = a["ci90"]
    assert f"{a['value']:.4g} ({low:.3f} to {high:.3f})" in "\n".join(lines)
    held = document["holdout"]
    inside = "inside" if held["inside90"] else "outside"
    assert lines[-1].startswith("held out 1e+19 FLOP") and f"{inside} the 90%" in lines[-1]


def test_a_doubt_that_two_laws_share_is_one_line(tmp_path):
    _, lines = said(tmp_path, grid(repeats=2))
    assert [line for line in lines if line.startswith("repeated_points")] == [
        "repeated_points (isoflop, parametric): 35 runs repeat the (N, D) of another; "
        "reduce=best keeps the lowest loss"
    ]


def test_many_exclusions_are_counted_and_not_listed(tmp_path):
    names = ",".join(f"r{i}-0" for i in range(9))
    _, lines = said(tmp_path, grid(), f"exclude=[{names}]")
    assert lines[0] == "35 runs = 26 used + 9 excluded"
    assert lines[4] == "  and 6 more excluded, in fit.md"


def test_a_count_under_which_a_law_is_refused_is_said_with_its_reason(tmp_path):
    """Sizes that one count cannot tell apart, and a count that a run lacks."""
    rows = [row | {"params_total": row["params"], "params_matmul": 1e6} for row in grid()]
    rows[3]["params_total"] = None
    document, lines = said(tmp_path, rows)
    ways = {(row["params"], row["law"]): row for row in document["conventions"]}
    assert len(ways) == 4
    assert ways["total", "isoflop"]["reason"] == "params_total is known of 34 of 35 runs"
    assert "size" in ways["matmul", "isoflop"]["reason"]
    assert all(row["a"]["value"] is None for row in ways.values() if row["reason"])
    for row in ways.values():
        if row["reason"]:
            of = [line for line in lines if row["reason"] in line]
            assert len(of) == 1 and f"with N as {row['params']} and C as 6nd" in of[0]
            assert row["reason"] in "".join(map("".join, conventions_table(document).rows))
