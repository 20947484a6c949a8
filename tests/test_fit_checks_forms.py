"""Forms of the surface compared: a known form ranks first, nested tests hold their size."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.checks.forms import compare_forms
from scaling.fit.laws import PUBLISHED
from scaling.fit.parametric.form_laws import fit_bounded, fit_coupled
from scaling.fit.summary import summary
from scaling.report.tables.checks import forms
from scaling.report.text.forms import sentences
from tests.support.fit_examples import config, isoflop_rows, observations, write_csv
from tests.support.fit_runs import check, fitted

BUDGETS, FACTORS = np.geomspace(1e17, 1e19, 5), np.geomspace(1 / 4, 4, 7)
ASKED = config("runs=x")


def table(law=None, sd=0.002, seed=0, budgets=BUDGETS, surface="besiroglu"):
    """A planned grid with losses of `law(N, D)`, or of a published surface."""
    rows = isoflop_rows(PUBLISHED[surface], budgets, FACTORS, 0.0)
    rng = np.random.default_rng(seed)
    for row in rows:
        loss = row["loss"] if law is None else law(row["params"], row["tokens"])
        row["loss"] = float(loss + sd * rng.standard_normal())
    return observations(rows)


def coupled(n, d, k=0.5):
    return 1.7 + (2.0e5 * n**-0.7 + 4.0e6 * d**-0.75) ** k


def bounded(n, d):
    h = 250 * n**-0.4 + 3000 * d**-0.42
    return 1.0 + (np.log(256) - 1.0) * h / (1 + h)


def by_name(rows):
    return {row.form: row for row in rows}


def test_on_hoffmanns_surface_k_is_one_and_unequal_exponents_are_seen():
    """The likelihood ratio keeps k = 1 and rejects alpha = beta, as the truth has it."""
    found = by_name(compare_forms(table(surface="hoffmann"), ASKED))
    assert found["coupled"].against_hoffmann.p > 0.05
    assert found["coupled"].k.value == pytest.approx(1, abs=0.3)
    assert found["tied"].against_hoffmann.p < 1e-4
    assert found["hoffmann"].rank < found["tied"].rank


def test_a_coupled_truth_rejects_k_of_one_and_ranks_first():
    """Where k = 1/2 the coupled form is found, and predicts unseen budgets best."""
    rows = compare_forms(table(coupled, budgets=np.geomspace(1e16, 1e20, 7)), ASKED)
    assert rows[0].form == "coupled" and rows[0].rank == 1
    assert rows[0].k.value == pytest.approx(0.5, abs=0.08)
    assert rows[0].against_hoffmann.p < 1e-6


def test_a_bounded_truth_ranks_its_form_first():
    """Losses near that of guessing are predicted best by the form that knows it."""
    grid = table(bounded, budgets=np.geomspace(1e9, 1e15, 7))
    grid = replace(grid, columns={"vocab_size": np.full(len(grid), 256.0)})
    assert compare_forms(grid, ASKED)[0].form == "bounded"
    assert "bounded" not in by_name(compare_forms(replace(grid, columns={}), ASKED))


def test_the_test_of_k_rejects_as_often_as_it_says():
    """Of 20 grids with k = 1 about one in twenty rejects it at 5%."""
    grids = (table(sd=0.005, seed=seed) for seed in range(20))
    asked = config("runs=x", "holdout=none")
    rejected = [
        by_name(compare_forms(g, asked))["coupled"].against_hoffmann.p < 0.05 for g in grids
    ]
    assert sum(rejected) <= 4


def test_forms_without_a_surface_or_a_split_are_not_ranked():
    """Too few runs give no table; holdout=none gives one without errors or ranks."""
    assert compare_forms(table().take(np.arange(4)), ASKED) == ()
    rows = compare_forms(table(), config("runs=x", "holdout=none"))
    assert all(row.rank is None and row.held_out.top is None for row in rows)


def test_the_coupled_law_recovers_its_constants():
    """k, a and E of a coupled truth come back within three standard errors."""
    law = fit_coupled(table(coupled, seed=1, budgets=np.geomspace(1e16, 1e20, 7)), 100, 0)
    assert law.status != "refused" and law.objective < law.objective_of_hoffmann
    for found, true in ((law.k, 0.5), (law.a, 0.75 / 1.45), (law.E, 1.7)):
        assert abs(found.value - true) < 3 * found.se and found.se < 0.2 * true


def test_a_coupling_that_is_not_needed_is_flagged():
    """On Hoffmann's form the law says that k = 1 is not rejected."""
    law = fit_coupled(table(), 0, 0)
    assert "form_not_needed" in {flag.code for flag in law.flags}


def test_scatter_that_hides_k_is_flagged():
    """Scatter far above what k moves leaves it undetermined, which is said."""
    law = fit_coupled(table(sd=0.4, seed=2), 60, 0)
    assert {"wide_interval", "floor_unidentified"} <= {flag.code for flag in law.flags}
    assert "k" in law.identifiability.undetermined


def test_the_bounded_law_stays_below_the_loss_of_guessing():
    """E and a come back, and the ceiling is log V."""
    grid = table(bounded, budgets=np.geomspace(1e9, 1e15, 7))
    grid = replace(grid, columns={"vocab_size": np.full(len(grid), 256.0)})
    law = fit_bounded(grid, 60, 0)
    assert law.ceiling == pytest.approx(np.log(256))
    assert law.E.value == pytest.approx(1.0, abs=0.05)
    assert law.a.value == pytest.approx(0.42 / 0.82, abs=0.01)


@pytest.mark.parametrize(
    ("columns", "unit", "reason"),
    [
        ({}, "nats", "no one vocab_size"),
        ({"vocab_size": 8.0}, "nats", "run-000 has a loss at or above log V = 2.079"),
        ({"vocab_size": 50257.0}, "bpb", "in bits per byte the loss of guessing is not log V"),
    ],
)
def test_the_bounded_law_is_refused_without_a_ceiling(columns, unit, reason):
    """A ceiling that is unknown, exceeded or in another unit refuses the law."""
    grid = table()
    grid = replace(grid, columns={name: np.full(len(grid), v) for name, v in columns.items()})
    assert fit_bounded(grid, 0, 0, loss_unit=unit).reason.startswith(reason)


def test_one_ray_refuses_the_coupled_law():
    """D in one ratio to N shows no form of both."""
    rows = [
        {"params": n, "tokens": 20 * n, "loss": 3 - 0.1 * i}
        for i, n in enumerate(10.0 ** np.arange(6, 14))
    ]
    assert "one multiple of N" in fit_coupled(observations(rows), 0, 0).reason


def test_the_page_has_three_lines_on_forms(tmp_path):
    """The comparison is three sentences and a table, and laws=[coupled] prints k."""
    rows = isoflop_rows(PUBLISHED["hoffmann"], BUDGETS, FACTORS, 0.002)
    path = write_csv(tmp_path / "t.csv", rows)
    document = fitted(f"runs={path}", "laws=[parametric,coupled]", "n_bootstrap=60").document
    errors, ratios, rolling = sentences(document)
    assert errors.startswith("Error on the held-out budget by form: ")
    assert "k = 1 is not rejected (p = " in ratios and "alpha = beta is rejected" in ratios
    assert rolling.startswith("Least error rolling: by C ")
    assert [row[0] for row in forms(document).rows] == ["1", "2", "3"]
    assert "(A N^-alpha + B D^-beta)^k: k " in summary(document)
    check(document.to_json())
