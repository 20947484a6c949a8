"""Runs of a sweep are called by budget, shape and seed, and runs of other tables by their names."""

from dataclasses import replace

import numpy as np

from scaling.fit.observations import Exclusion, Observations
from scaling.report.text.run_titles import run_titles

A, B, C, D = (digit * 16 for digit in "abcd")


def runs(ids, **more):
    n = len(ids)
    columns = {"n_layer": np.full(n, 2.0), "n_embd": 32.0 * np.arange(1, n + 1)}
    ones = np.ones(n)
    return Observations(
        tuple(ids), ones, ones, ones, ones, 8e11 * ones, ones, columns=columns, **more
    )


def test_run_titles_of_a_sweep_name_budget_shape_and_seed():
    """Two runs of one cell have a part of run_id too."""
    found = runs([A, B])
    assert run_titles(found)[A] == "8e+11 FLOP 2x32"
    seeded = replace(found, columns=found.columns | {"seed": np.array([0.0, 1.0])})
    assert run_titles(seeded) == {A: "8e+11 FLOP 2x32 seed 0", B: "8e+11 FLOP 2x64 seed 1"}
    same = replace(found, columns=found.columns | {"n_embd": np.array([32.0, 32.0])})
    assert run_titles(same)[A] == "8e+11 FLOP 2x32 (aaaaaaaa)"


def test_run_titles_name_averages_their_seeds_and_excluded_runs():
    both = f"{A}+{B}"
    lost = (Exclusion(C, "failed", 8e11, 12_300.0), Exclusion(D, "failed"))
    assert run_titles(runs([both], members={both: (A, B)}, excluded=lost)) == {
        both: "8e+11 FLOP 2x32, 2 seeds",
        A: "8e+11 FLOP 2x32 (aaaaaaaa)",
        B: "8e+11 FLOP 2x32 (bbbbbbbb)",
        C: "8e+11 FLOP N 12.3k (cccccccc)",
    }


def test_run_titles_leave_names_that_owners_gave():
    """And a digest whose budget or shape is not known."""
    assert run_titles(runs(["a", "deadbeef"])) == {}
    assert run_titles(replace(runs([A]), columns={})) == {}
