"""Lines through minima alone: exact on exact ones, certified on public ones, refused if blind."""

import numpy as np
import pytest

from scaling.fit.laws import PUBLISHED
from scaling.fit.other_laws.minima import fit_minima
from scaling.fit.results import FitDocument
from tests.support.fit_examples import observations, write_csv
from tests.support.fit_runs import check, fitted
from tests.support.fit_tables import refusal

SURFACE = PUBLISHED["besiroglu"]


def points(budgets, power=1.0, sigma=0.0, seed=0):
    """Optima of the surface at these budgets, N counted as its `power`, with noise of log N."""
    rng = np.random.default_rng(seed)
    n, d = SURFACE.optimal_allocation(np.asarray(budgets))
    off = np.exp(sigma * rng.standard_normal(len(n)))
    return [
        {"params": (one * x) ** power, "tokens": two / x, "flops": c, "loss": 3.0}
        for one, two, c, x in zip(n, d, budgets, off, strict=True)
    ]


def test_fit_minima_recovers_the_optima_of_a_surface():
    """Both exponents and scales, with a + b = 1 where C is 6 N D."""
    law = fit_minima(observations(points(np.geomspace(1e18, 1e21, 6))), 60, 0)
    assert law.status == "ok"
    assert law.a.value == pytest.approx(SURFACE.a) and law.b.value == pytest.approx(SURFACE.b)
    assert law.a_plus_b.value == pytest.approx(1)
    size = SURFACE.optimal_allocation(1e20)[0]
    assert law.n_coef.value * 1e20**law.a.value == pytest.approx(size)
    assert law.share_of_budget == pytest.approx((1, 1))
    assert law.identifiability.rank == 2


def test_fit_minima_gives_a_plus_b_of_another_convention():
    """Of N counted as its 0.9 power a + b is 0.9 a + b, and it is told."""
    law = fit_minima(observations(points(np.geomspace(1e18, 1e21, 6), 0.9)), 60, 0)
    assert law.a_plus_b.value == pytest.approx(0.9 * SURFACE.a + SURFACE.b)
    assert [flag.code for flag in law.flags] == ["exponents_not_one"]


def test_fit_minima_intervals_are_those_of_students_t():
    """Of 200 tables of four minima about nine in ten 90% intervals hold the exponent."""
    budgets, hits = np.geomspace(1e18, 1e20, 4), 0
    for seed in range(200):
        law = fit_minima(observations(points(budgets, 1.0, 0.05, seed)), 400, seed)
        hits += law.a.ci90[0] <= SURFACE.a <= law.a.ci90[1]
    assert 166 <= hits <= 194


@pytest.mark.parametrize("by", [0.02, -0.03])
def test_fit_minima_says_where_log_n_bends(by):
    """Of five budgets or more, with the slopes at both ends; no resamples are needed."""
    budgets = np.geomspace(1e18, 1e20, 5)
    x = np.log(budgets) - np.log(budgets).mean()
    rows = points(budgets)
    for row, off in zip(rows, by * x**2, strict=True):
        row["params"] *= float(np.exp(off))
    (flag,) = (f for f in fit_minima(observations(rows), 0, 0).flags if f.code == "bent_frontier")
    low, high = (SURFACE.a + 2 * by * end for end in x[[0, -1]])
    assert f"a is {low:.2f} at 1e+18 FLOP and {high:.2f} at 1e+20" in flag.text
    assert not _bends(rows[1:])


def test_fit_minima_seldom_says_so_of_noise_alone():
    """At 99%: of 400 tables of seven minima off their line by 30% about 4."""
    budgets = np.geomspace(1e18, 1e20, 7)
    assert sum(_bends(points(budgets, 1.0, 0.3, seed)) for seed in range(400)) <= 10


def test_fit_minima_takes_a_table_of_any_length():
    """Of 200,000 rows too, whose covariance no machine holds."""
    rows = points(np.geomspace(1e18, 1e20, 200_000), 1.0, 0.1)
    law = fit_minima(observations(rows), 0, 0)
    assert law.status == "ok" and law.a.value == pytest.approx(SURFACE.a, abs=0.01)


def _bends(rows):
    return "bent_frontier" in {flag.code for flag in fit_minima(observations(rows), 0, 0).flags}


@pytest.mark.parametrize(
    ("budgets", "reason"),
    [([1e18, 1e19], "2 budgets, expected at least 3"), ([1e18] * 5, "1 budget, expected")],
)
def test_fit_minima_refuses(budgets, reason):
    law = fit_minima(observations(points(budgets)), 60, 0)
    assert law.status == "refused" and reason in law.reason


@pytest.mark.parametrize(
    ("convention", "a", "b"),
    [("kaplan", 0.5361, 0.4889), ("all", 0.3745, 0.5008), ("matrices", 0.6965, 0.4058)],
)
def test_fit_of_public_minima_without_losses(reference_dir, convention, a, b):
    """nanochat's four optima by its command: the published lines, under each convention."""
    columns = ("columns.params=params_opt", "columns.tokens=tokens_opt")
    asked = ("laws=[minima]", *columns, f"where.convention={convention}", "n_bootstrap=60")
    found = fitted(f"runs={reference_dir / 'nanochat_vertices.csv'}", *asked).document
    check(found.to_json())
    law = found.laws["minima"]
    assert (law.a.value, law.b.value) == pytest.approx((a, b), abs=1e-4)
    assert FitDocument.from_json(found.to_json()) == found


@pytest.mark.parametrize(
    ("model", "a", "b"),
    [
        ("Transformer++", 0.55188, 0.55063),
        ("Mamba", 0.38771, 0.48687),
        ("Hyena", 0.50404, 0.49868),
        ("StripedHyena", 0.48337, 0.53871),
    ],
)
def test_fit_of_public_minima_of_a_value_a_row(reference_dir, model, a, b):
    """Evo's: as published, but that C is the mean of both panels' readings, 0.5% apart."""
    asked = ("laws=[minima]", f"where.model={model}", "n_bootstrap=60")
    found = fitted(f"runs={reference_dir / 'evo_vertices.csv'}", *asked).document
    law = found.laws["minima"]
    assert (law.a.value, law.b.value) == pytest.approx((a, b), abs=1e-3)
    assert law.a_plus_b.value == pytest.approx(a + b, abs=2e-3)
    assert "melted_table" in {flag.code for flag in found.warnings}


def test_a_table_without_losses_has_no_other_law(tmp_path):
    """Only where lines through minima alone are asked for may a table have no loss."""
    rows = [{k: v for k, v in row.items() if k != "loss"} for row in points([1e18, 1e19, 1e20])]
    path = write_csv(tmp_path / "t.csv", rows)
    assert "no column 'loss'" in refusal(path)
    assert fitted(f"runs={path}", "laws=[minima]", "n_bootstrap=0").document.status == "ok"
