"""Which runs make a profile, which profiles have a minimum, and what is said of the others."""

import numpy as np
import pytest

from scaling.fit.isoflop.budgets import budgets
from scaling.fit.isoflop.estimator import fit_isoflop
from scaling.fit.isoflop.profiles import WINDOW_FACTOR, find_profiles
from scaling.fit.observations import Exclusion
from scaling.fit.results.estimate import UNKNOWN
from tests.support.fit_examples import isoflop_rows, observations
from tests.support.fit_grid import BUDGETS, SIZES, TIED, law


def open_valley(row):
    return 3 - 0.1 * np.log(row["params"])


def concave_valley(row, centre):
    return 3 - 0.1 * (np.log(row["params"]) - centre) ** 2


def test_find_profiles_open_has_no_minimum():
    """Open profiles have no minimum."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        row["loss"] = open_valley(row)
    fitted = law(rows)
    assert fitted.status == "refused"
    assert "0 budgets with a minimum, expected at least 3" in fitted.reason
    assert "open: the largest of its 7 sizes has the lowest loss" in fitted.reason
    assert fitted.a == UNKNOWN


def test_find_profiles_concave_has_no_minimum():
    """Concave profiles have no minimum."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        row["loss"] = concave_valley(row, np.log(TIED.optimal_allocation(row["flops"])[0]))
    assert law(rows).status == "refused"


def test_find_profiles_dent_is_no_minimum():
    """A dent in a concave profile is no minimum."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        centre = np.log(TIED.optimal_allocation(row["flops"])[0])
        row["loss"] = concave_valley(row, centre)
        if abs(np.log(row["params"]) - centre) < 0.1:
            row["loss"] -= 0.3
    fitted = law(rows)
    assert fitted.status == "refused"
    assert "not convex around its lowest loss" in fitted.reason


def test_fit_isoflop_leaves_out_an_open_profile():
    """One open profile is left out and flagged."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for row in rows:
        if row["flops"] == BUDGETS[-1]:
            row["loss"] = open_valley(row)
    fitted = law(rows)
    assert fitted.status == "flagged"
    assert {flag.code for flag in fitted.flags} == {"edge_valley", "few_budgets"}
    assert fitted.a.value == pytest.approx(0.5, abs=1e-6)
    assert fitted.valleys[-1].n_opt.value is None
    assert fitted.valleys[-1].flags[0].code == "edge_valley"


def test_find_profiles_needs_three_sizes():
    """Two sizes are no profile."""
    fitted = law(isoflop_rows(TIED, BUDGETS, [1.0, 2.0]))
    assert fitted.status == "refused"
    assert "2 sizes, expected at least 3" in fitted.reason


def test_minima_lie_between_the_sizes():
    """No minimum lies outside the sampled sizes."""
    for seed in range(20):
        rows = isoflop_rows(TIED, BUDGETS, SIZES * 3, sigma=0.05, seed=seed)
        for profile in fit_isoflop(observations(rows), 0, 0, 0.2).profiles:
            sizes = np.exp(profile.log_n[[0, -1]])
            if profile.reason is None:
                minimum = profile.log_n[np.argmin(profile.loss)]
                assert sizes[0] < np.exp(minimum) < sizes[1]


def test_find_profiles_flags_a_lost_edge():
    """A missing edge run is flagged."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    lost = rows.pop()
    gone = Exclusion("big", "status oom", lost["flops_budget"], lost["params"])
    fitted = law(rows, excluded=(gone,))
    assert "edge_valley" in {flag.code for flag in fitted.flags}
    assert any("run big at its edge is missing" in flag.text for flag in fitted.flags)


def test_find_profiles_ignores_a_lost_inner_run():
    """A missing inner run is not flagged."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    lost = rows.pop(-3)
    gone = Exclusion("inner", "status failed", lost["flops_budget"], lost["params"])
    assert law(rows, excluded=(gone,)).status == "ok"


def test_budgets_by_flops():
    """Unnamed budgets are found by their FLOP."""
    rows = isoflop_rows(TIED, BUDGETS, SIZES)
    for index, row in enumerate(rows):
        del row["flops_budget"]
        row["flops"] *= 1 + 0.02 * (index % 3)
    groups = budgets(observations(rows), 0.2)
    assert [len(members) for _, members in groups] == [7] * 5
    assert law(rows).a.value == pytest.approx(0.5, abs=0.01)


def test_budgets_of_scattered_runs_are_none():
    """Runs scattered in FLOP are no budgets."""
    rng = np.random.default_rng(0)
    rows = isoflop_rows(TIED, 10 ** rng.uniform(17, 21, 25), [0.5, 2.0])
    for row in rows:
        del row["flops_budget"]
        row["flops"] *= float(np.exp(rng.uniform(-0.5, 0.5)))
    assert find_profiles(observations(rows), 0.2) == ()


def test_window_has_at_least_five_sizes():
    """The window is the sizes within its factor and at least five."""
    wide = find_profiles(
        observations(isoflop_rows(TIED, [1e18], np.geomspace(1 / 64, 64, 13))), 0.2
    )
    assert wide[0].window.sum() == 5
    dense = find_profiles(observations(isoflop_rows(TIED, [1e18], np.geomspace(1 / 8, 8, 25))), 0.2)
    assert np.ptp(dense[0].log_n[dense[0].window]) == pytest.approx(2 * np.log(WINDOW_FACTOR))
