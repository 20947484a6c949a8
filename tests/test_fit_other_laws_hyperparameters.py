"""Learning-rate and batch laws: exact on exact profiles, edges not counted, coverage, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.other_laws.hyperparameters import fit_batch, fit_learning_rate, optima
from scaling.fit.pipeline import fit
from tests.support.fit_examples import config, observations, write_csv

SIZES, DATA = (2e7, 8e7, 3e8), (1e9, 4e9, 2e10)
FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)


def best_rate(n, d):
    return 1.79 * n**-0.713 * d**0.307


def best_batch(d):
    return 0.58 * d**0.571


def rows(cells, sigma=0.0, seed=0, off_centre=1.3, factors=FACTORS):
    """Every rate with every batch in each cell, a parabola in the logarithm of both."""
    rng = np.random.default_rng(seed)
    return [
        {
            "params": n,
            "tokens": d,
            "lr": best_rate(n, d) * x * off_centre,
            "batch_tokens": best_batch(d) * y / off_centre,
            "loss": 2
            + n**-0.1
            + d**-0.1
            + 0.05 * np.log(x * off_centre) ** 2
            + 0.03 * np.log(y / off_centre) ** 2
            + sigma * rng.normal(),
        }
        for n, d in cells
        for x in factors
        for y in factors
    ]


def runs(cells, **options):
    table = rows(cells, **options)
    columns = {name: np.array([row[name] for row in table]) for name in ("lr", "batch_tokens")}
    return replace(observations(table), columns=columns)


GRID = [(n, d) for n in SIZES for d in DATA]


def test_fit_learning_rate_recovers_step_law():
    """Step Law's form is recovered."""
    rate, batch = fit_learning_rate(runs(GRID), 60, 0), fit_batch(runs(GRID), 60, 0)
    for law, truths in (
        (rate, {"c": 1.79, "p": -0.713, "q": 0.307}),
        (batch, {"c": 0.58, "q": 0.571}),
    ):
        assert law.status == "ok"
        assert law.n_cells == 9
        for name, truth in truths.items():
            assert getattr(law, name).value == pytest.approx(truth, rel=1e-6)


def test_optima_at_the_edge_do_not_count():
    """An optimum at the edge does not count."""
    table = runs(GRID, off_centre=0.9)
    short = (table.params == SIZES[0]) & (table.columns["lr"] > best_rate(SIZES[0], table.tokens))
    table = table.take(~short)
    cells = optima(table, "lr")
    edge = [cell for cell in cells if cell.reason]
    assert {cell.params for cell in edge} == {SIZES[0]}
    assert "at the largest value tried" in edge[0].reason
    law = fit_learning_rate(table, 60, 0)
    assert law.status == "flagged"
    assert [flag.code for flag in law.flags][0] == "edge_optimum"
    assert law.p.value == pytest.approx(-0.713, rel=1e-6)


def test_fit_learning_rate_intervals_cover():
    hits = {"p": 0, "q": 0, "batch": 0}
    for seed in range(100):
        table = runs(GRID, sigma=0.003, seed=seed)
        rate, batch = fit_learning_rate(table, 400, seed), fit_batch(table, 400, seed)
        for name, estimate, truth in (
            ("p", rate.p, -0.713),
            ("q", rate.q, 0.307),
            ("batch", batch.q, 0.571),
        ):
            hits[name] += estimate.ci90[0] <= truth <= estimate.ci90[1]
    assert all(0.80 <= count / 100 <= 0.98 for count in hits.values()), hits


@pytest.mark.parametrize(
    ("cells", "factors", "reason"),
    [
        (GRID, (1.0,), "no (N, D) was run with several values of lr"),
        (GRID, (1.0, 2.0), "2 values, expected at least 3"),
        (GRID[:3], FACTORS, "3 of 3 (N, D) cells have an optimum, expected at least 4"),
        ([(n, 20 * n) for n in (1e7, 3e7, 1e8, 3e8, 1e9)], FACTORS, "hardly varies apart"),
    ],
)
def test_fit_learning_rate_refuses(cells, factors, reason):
    """Tables that show no law of the rate are refused."""
    law = fit_learning_rate(runs(cells, factors=factors), 60, 0)
    assert law.status == "refused"
    assert reason in law.reason


def test_fit_json_has_the_laws_of_its_columns(tmp_path):
    """The laws of a table stand in fit.json where it has the columns."""
    table = [{"run_id": f"r{i}"} | row for i, row in enumerate(rows(GRID))]
    path = write_csv(tmp_path / "tuning.csv", table)
    laws = fit(config(f"runs={path}", "n_bootstrap=60")).document.to_json()["laws"]
    assert laws["lr"]["p"]["value"] == pytest.approx(-0.713, rel=1e-6)
    assert laws["batch"]["q"]["value"] == pytest.approx(0.571, rel=1e-6)
    for row in table:
        del row["lr"], row["batch_tokens"]
    plain = write_csv(tmp_path / "plain.csv", table)
    found = fit(config(f"runs={plain}", "n_bootstrap=0")).document.to_json()["laws"]
    assert not {"lr", "batch"} & set(found)
    named = fit(config(f"runs={plain}", "laws=[lr]", "n_bootstrap=0"))
    assert named.document.to_json()["laws"]["lr"]["reason"] == "the table has no column lr"
    assert not named.stands
