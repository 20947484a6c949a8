"""Runs far off the surface are named where they cost a law its number, and the laws shown."""

from dataclasses import replace

import numpy as np
import pytest

from common.errors import ExitStatus
from scaling.fit.checks.influence import diagnostics
from scaling.fit.checks.outliers import name_outliers, outlier_warning
from scaling.fit.dispatch import fit_headline
from scaling.fit.laws import PUBLISHED
from tests.support.fit_examples import config, isoflop_rows, observations, write_csv
from tests.support.fit_runs import run

SURFACE = PUBLISHED["besiroglu"]


def grid(budgets=3, sigma=0.002, seed=0):
    spans = np.geomspace(1e18, 1e20, budgets), np.geomspace(1 / 4, 4, 7)
    return isoflop_rows(SURFACE, *spans, sigma, seed)


def checked(rows, *overrides):
    """The headline laws with outliers in their reasons, the warning, and the diagnostics."""
    points, asked = observations(rows), config("runs=x", *overrides)
    fits = fit_headline(points, asked, 60)
    outliers = diagnostics(points, fits, asked).outliers
    laws = name_outliers(fits.laws, outliers, len(points))
    return laws, outlier_warning(outliers, fits.laws, points), outliers


@pytest.mark.parametrize("rows", [(3, 10), (2, 17)])
def test_a_refusal_because_of_two_diverged_runs_names_them(rows):
    """The laws without them are those of the other runs."""
    table = grid()
    for row in rows:
        table[row]["loss"] = 10.8
    laws, (warning,), outliers = checked(table)
    names = {f"run-{row:03d}" for row in rows}
    assert {one.run_id for one in outliers.runs} == names
    refused = [law for law in laws.values() if law.status == "refused"]
    assert refused
    for law in refused:
        assert all(name in law.reason for name in names)
    assert all(name in warning.text for name in names) and "because of 2 of 21" in warning.text
    kept = [row for index, row in enumerate(table) if index not in rows]
    alone = fit_headline(observations(kept), config("runs=x"), 60)
    for one in outliers.without:
        assert one.a.value == pytest.approx(alone.laws[one.law].a.value, rel=1e-6)
        assert one.a.value == pytest.approx(SURFACE.a, abs=0.01)


def test_isoflop_alone_is_explained_by_one_run():
    """The surface need not be asked for; a loss far too low is found as one too high."""
    table = grid()
    table[6]["loss"] *= 0.6  # the largest size of its budget: its curve is open
    laws, (warning,), _ = checked(table, "laws=[isoflop]")
    assert "run-006" in laws["isoflop"].reason and "exclude=[run-006]" in warning.text


def test_a_refusal_for_another_reason_names_no_run():
    """Two budgets are too few, whatever the outliers."""
    table = grid(budgets=2)
    table[3]["loss"] *= 1.02
    laws, warning, _ = checked(table, "laws=[isoflop]")
    assert warning == () and "without" not in laws["isoflop"].reason


def test_laws_that_stand_name_no_run():
    table = grid(budgets=5)
    table[0]["loss"] *= 1.1
    _, warning, outliers = checked(table)
    assert warning == () and outliers.runs[0].run_id == "run-000"


def test_half_of_the_runs_are_not_a_few():
    table = grid()
    for row in range(0, 21, 3):
        table[row]["loss"] = 10.8
    assert checked(table)[1] == ()


def test_fit_says_which_runs_cost_the_laws_their_numbers(tmp_path, capsys):
    """The line goes to the screen, and the fit with what it says to leave out stands."""
    table = grid()
    for index, row in enumerate(table):
        row["run_id"] = f"r{index}"
    table[3]["loss"] = table[10]["loss"] = 10.8
    path = write_csv(tmp_path / "t.csv", table)
    asked = f"runs={path}", f"out={tmp_path / 'o'}", "n_bootstrap=60", "laws=[isoflop,parametric]"
    assert run(*asked) == ExitStatus.NO_LAW
    printed = capsys.readouterr().out
    assert "because of 2 of 21 runs, outliers: r" in printed
    cure = printed.split("exclude=[")[1].split("]")[0]
    assert set(cure.split(",")) == {"r3", "r10"}
    assert run(*asked, f"exclude=[{cure}]") == ExitStatus.DONE


def test_averaged_seeds_are_named_one_by_one():
    """An observation of several runs is left out by the names of its runs."""
    table = grid()
    table[3]["loss"] = 10.8
    points, asked = observations(table), config("runs=x")
    points = replace(points, members={"run-003": ("s0", "s1")})
    fits = fit_headline(points, asked, 60)
    outliers = diagnostics(points, fits, asked).outliers
    (warning,) = outlier_warning(outliers, fits.laws, points)
    assert "exclude=[s0,s1]" in warning.text
