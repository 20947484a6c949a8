"""What is printed fits one screen and names every law, flag and exclusion that decides."""

import re
from pathlib import Path

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.pipeline import fit
from scaling.fit.predict import BENDS
from scaling.fit.results import FitDocument
from scaling.fit.summary import printed, summary
from scaling.report.tables.laws import conventions as conventions_table
from scaling.report.tables.laws import other_laws, parameters
from tests.support.fit_examples import config, isoflop_rows, tuned_rows, write_csv
from tests.support.fit_grid import BUDGETS, bent_rows
from tests.support.fit_runs import QUICK, fitted, table

SURFACE = PUBLISHED["besiroglu"]
SCREEN = 25  # lines, with the one that says where the report is


def said(folder, rows, *overrides):
    table = write_csv(folder / "t.csv", rows)
    document = fit(config(f"runs={table}", "n_bootstrap=60", *overrides)).document
    return document.to_json(), summary(document).split("\n")


def grid(budgets=5, sigma=0.005, repeats=1):
    rows = isoflop_rows(
        SURFACE, np.geomspace(1e17, 1e19, budgets), np.geomspace(1 / 4, 4, 7), sigma
    )
    return [row | {"run_id": f"r{i}-{k}"} for i, row in enumerate(rows) for k in range(repeats)]


@pytest.mark.parametrize("rows", [grid(), grid(3, 0.05, 2), grid(1), tuned_rows()])
def test_summary_fits_a_screen(tmp_path, rows):
    """A typical table fits a screen and names every law once."""
    document, lines = said(tmp_path, rows)
    assert len(lines) < SCREEN
    for name, law in document["laws"].items():
        mine = [line for line in lines if line.startswith(f"{name} ")]
        assert len(mine) == 1 and law["status"] in mine[0]


def test_summary_has_intervals(tmp_path):
    """The exponents have their intervals and the held out budget its verdict."""
    document, lines = said(tmp_path, grid())
    a = document["laws"]["isoflop"]["a"]
    low, high = a["ci90"]
    assert f"{a['value']:.4g} ({low:.3f} to {high:.3f})" in "\n".join(lines)
    held = document["holdout"]
    inside = "inside" if held["inside90"] else "outside"
    assert lines[-1].startswith("held out 1e+19 FLOP") and f"{inside} the 90%" in lines[-1]


def test_summary_merges_shared_flags(tmp_path):
    """A flag that two laws share is one line."""
    _, lines = said(tmp_path, grid(repeats=2))
    assert [line for line in lines if line.startswith("repeated_points")] == [
        "repeated_points (isoflop, parametric): 35 runs repeat the (N, D) of another; "
        "reduce=best keeps the lowest loss"
    ]


def test_summary_counts_exclusions(tmp_path):
    """Many exclusions are counted and not listed."""
    names = ",".join(f"r{i}-0" for i in range(9))
    _, lines = said(tmp_path, grid(), f"exclude=[{names}]")
    assert lines[0] == "35 runs = 26 used + 9 excluded"
    assert lines[4] == "  and 6 more excluded, in fit.md"


def test_summary_says_refused_counts(tmp_path):
    """Sizes that one count cannot tell apart, and a count that a run lacks."""
    rows = [row | {"params_total": row["params"], "params_matmul": 1e6} for row in grid()]
    rows[3]["params_total"] = None
    document, lines = said(tmp_path, rows)
    ways = {(row["params"], row["law"]): row for row in document["conventions"]}
    assert len(ways) == 4
    assert ways["total", "isoflop"]["reason"] == "params_total is known of 34 of 35 runs"
    assert "size" in ways["matmul", "isoflop"]["reason"]
    assert all(row["a"]["value"] is None for row in ways.values() if row["reason"])
    tables = conventions_table(FitDocument.from_json(document))
    told = "".join(cell for _, table in tables for row in table.rows for cell in row)
    for row in ways.values():
        if row["reason"]:
            of = [line for line in lines if row["reason"] in line]
            assert len(of) == 1 and f"with N as {row['params']} and C as 6nd" in of[0]
            assert row["reason"] in told


def test_summary_names_laws_flags_and_reasons(tmp_path):
    """The summary names laws flags and reasons."""
    text = summary(fitted(f"runs={table(tmp_path, budgets=2)}", QUICK).document)
    assert "35 runs" not in text and "14 runs = 14 used + 0 excluded" in text
    assert "refused: 2 budgets with a minimum, expected at least 3" in text
    assert "L = E + A N^-alpha + B D^-beta: E " in text


def test_summary_shows_escapes_as_text(tmp_path):
    """Terminal escapes in names are shown as text."""
    path = table(tmp_path)
    path.write_text(path.read_text().replace("run-000", "\x1b[31mrun"))
    document = fitted(f"runs={path}", QUICK, "n_bootstrap=0", "exclude=['\x1b[31mrun']").document
    assert "\x1b" not in summary(document)
    assert "excluded \\x1b[31mrun: excluded by request" in summary(document)


def of_two_groups():
    """Losses above a floor over sizes, steeper in one group only by their floor."""
    sizes = np.geomspace(1e7, 1e9, 7)
    return [
        {
            "run_id": f"{group}-{n:.0f}",
            "params": n,
            "tokens": 1.3e11,
            "loss": E + (scale / n) ** alpha,
            "group": group,
        }
        for group, E, scale, alpha in (("a", 1.0, 2.9e9, 0.14), ("b", 1.3, 8e7, 0.18))
        for n in sizes
    ]


def test_summary_says_the_form_of_each_exponent(tmp_path):
    """Of two groups the one that falls slower as a power has the greater exponent above E."""
    found = {}
    for group in "ab":
        rows = [row for row in of_two_groups() if row["group"] == group]
        _, lines = said(tmp_path, rows, "laws=[kaplan]")
        (line,) = [line for line in lines if line.startswith("  L(N) = ")]
        found[group] = [float(v) for v in re.findall(r"(?:alpha|E) ([0-9][0-9.]*)", line)]
        assert line.startswith("  L(N) = E + (N_c/N)^alpha: alpha ") and "delta BIC" in line
    (above_a, E_a, power_a), (above_b, E_b, power_b) = found["a"], found["b"]
    assert (above_a, above_b) == pytest.approx((0.14, 0.18), rel=1e-3)
    assert (E_a, E_b) == pytest.approx((1.0, 1.3), rel=1e-3)
    assert power_a > power_b


def test_summary_of_a_law_without_irreducible_loss(tmp_path):
    """Where BIC prefers no E, the form has none and the one with E stands beside it."""
    rng = np.random.default_rng(1)
    rows = [
        {"run_id": f"{n:.0f}", "params": n, "tokens": 1e13, "loss": (9e13 / n) ** 0.08 + e}
        for n, e in zip(np.geomspace(1e7, 1e9, 8), 0.01 * rng.normal(size=8), strict=True)
    ]
    _, lines = said(tmp_path, rows, "laws=[kaplan]")
    (line,) = [line for line in lines if line.startswith("  L(N) = ")]
    assert re.match(r"  L\(N\) = \(N_c/N\)\^alpha: alpha 0\.0\d+ \(above E \S+ 0\.\d+, delta", line)


def test_tables_say_the_form_of_each_exponent(tmp_path):
    """So do the tables of the report; an exponent of C is not called one of N."""
    document, _ = said(tmp_path, of_two_groups()[:7], "laws=[kaplan]")
    found = FitDocument.from_json(document)
    cells = [" ".join(row) for row in other_laws(found).rows]
    assert "L = E + (N_c/N)^alpha; without E 0.0" in cells[0] and "delta BIC" in cells[0]
    named = [row[:2] for row in parameters(found).rows if row[1].startswith("α")]
    assert named[0] == ("Kaplan's laws, L_N = E + (N_c/N)^alpha", "α")
    assert {symbol for _, symbol in named} == {"α"}


def test_predictions_are_printed_with_their_reach_and_their_flags(tmp_path):
    rows = bent_rows(BUDGETS, 0.02, sigma=0.001)
    _, lines = said(tmp_path, rows, "predict.flops=[1e18,1e20]", "laws=[isoflop]")
    inside, beyond = (line for line in lines if line.startswith("predict "))
    assert beyond.endswith(f"; 10 times outside the runs' FLOP; {BENDS}")
    assert "outside" not in inside and BENDS not in inside


def test_printed_is_twelve_lines_at_most_and_keeps_the_headline(tmp_path):
    """Whatever laws, flags and answers there are; verbose=true prints all that the summary has."""
    asked = "predict.flops=[1e20,2e20,4e20,8e20]", "predict.params=[1e9]"
    rows = [{**row, "run_id": f"{row['run_id']}-{i}"} for i, row in enumerate(tuned_rows())]
    document, lines = said(tmp_path, rows, *asked)
    found = FitDocument.from_json(document)
    few = printed(found, Path("out/report.html"), verbose=False).split("\n")
    assert len(document["laws"]) >= 5 and len(lines) > 12 >= len(few)
    assert set(few[:-1]) < set(lines) and few[:-1] == [line for line in lines if line in few]
    for name in ("isoflop", "parametric"):
        assert any(line.startswith(f"{name} ") for line in few)
    left = len(lines) - len(few) + 1
    start = "report: out/report.html (all numbers: fit.md, fit.json"
    assert few[-1] == f"{start}; {left} lines more: verbose=true)"
    whole = printed(found, Path("out/report.html"), verbose=True).split("\n")
    assert whole == [*lines, f"{start})"]


def test_printed_says_what_was_asked_before_what_was_not(tmp_path):
    """An answer stands where Kaplan's laws do not; a refused law keeps its reason."""
    rows = grid(1)
    document, _ = said(tmp_path, rows, "predict.flops=[1e20]", "holdout=none")
    text = printed(FitDocument.from_json(document), Path("r"), verbose=False)
    assert "refused: 1 budget with a minimum, expected at least 3" in text
    document, lines = said(tmp_path, grid(), *["predict.flops=[1e20,2e20,3e20]"])
    text = printed(FitDocument.from_json(document), Path("r"), verbose=False)
    assert text.count("predict 1e+20 FLOP") >= 2 and "L(N) = " not in text
    assert any("L(N) = " in line for line in lines)
