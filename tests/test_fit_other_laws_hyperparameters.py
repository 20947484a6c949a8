"""Learning-rate and batch laws: exact on exact profiles, edges not counted, coverage, refusals."""

from dataclasses import replace

import numpy as np
import pytest

from scaling.fit.other_laws.hyperparameters import (
    fit_batch,
    fit_batch_with_size,
    fit_learning_rate,
    optima,
)
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


def test_an_optimum_at_the_edge_is_censored():
    """Of an optimum at the edge the side alone counts, and exact optima keep their line."""
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
    assert (law.n_cells, law.n_censored) == (6, 3)
    assert law.p.value == pytest.approx(-0.713, rel=1e-6)


def batches(p, q, sd, seed, values=tuple(2.0**k for k in range(15, 22))):
    """Five sizes at four horizons, each tried at the same batches: some optima lie outside."""
    rng = np.random.default_rng(seed)
    cells = [(n, d) for n in 10.0 ** np.arange(7, 9.1, 0.5) for d in n * np.array([5, 20, 80, 320])]
    found = []
    for n, d in cells:
        best = np.log(2.0e5 * (n / 1e8) ** p * (d / 2e9) ** q) + sd * rng.normal()
        for batch in values:
            loss = 3 + 0.02 * (np.log(batch) - best) ** 2
            found.append({"params": n, "tokens": d, "batch_tokens": batch, "loss": loss})
    columns = {"batch_tokens": np.array([row["batch_tokens"] for row in found])}
    return replace(observations(found), columns=columns)


@pytest.mark.parametrize("p", [-0.31, 0.14])
def test_the_batch_law_with_size_tells_the_sign_of_N(p):
    """Both published signs of N come back, which the law in D alone cannot show."""
    table = batches(p, 0.5, 0.1, 0)
    law = fit_batch_with_size(table, 200, 0)
    assert law.p.ci95[0] * law.p.ci95[1] > 0 and law.p.value * p > 0
    assert abs(law.p.value - p) < 3.5 * law.p.se and law.p.se < 0.05
    assert abs(law.q.value - 0.5) < 3.5 * law.q.se
    assert fit_batch(table, 200, 0).p is None


def test_censored_cells_mend_what_dropping_them_biases():
    """Over 30 tables with many optima above the largest batch, censoring halves the bias."""
    errors = []
    for seed in range(30):
        table = batches(0.0, 0.6, 0.5, seed, tuple(2.0**k for k in range(14, 20)))
        law = fit_batch(table, 0, seed)
        assert law.n_censored and law.n_censored >= 3
        known = [cell for cell in law.cells if cell.value]
        logs = np.log([(cell.tokens, cell.value) for cell in known])
        dropped = np.polyfit(logs[:, 0], logs[:, 1], 1)[0]
        errors.append((law.q.value - 0.6, dropped - 0.6))
    censored, dropped = np.abs(np.mean(errors, axis=0))
    assert dropped > 0.05 and censored < 0.5 * dropped


def test_intervals_with_censored_cells_cover():
    """Of 40 tables about nine in ten 90% intervals hold the exponent."""
    hits = 0
    for seed in range(40):
        law = fit_batch(batches(0.0, 0.6, 0.4, seed, tuple(2.0**k for k in range(14, 20))), 80, 1)
        hits += law.q.ci90[0] <= 0.6 <= law.q.ci90[1]
    assert 31 <= hits <= 39


def test_the_batch_law_with_size_is_refused_where_N_hardly_varies():
    """One size, or sizes that follow the data, show no exponent of N."""
    table = batches(-0.3, 0.5, 0.1, 0)
    near = replace(table, params=1e8 * (1 + 0.001 * (table.params > 1e8)))
    refused = fit_batch_with_size(near, 0, 0)
    assert "params hardly varies" in refused.reason
    assert "do not determine p; they determine q = " in refused.reason
    assert refused.identifiability.undetermined == ("p",)
    assert fit_batch(near, 0, 0).status != "refused"


def test_laws_of_tuned_values_say_what_their_optima_determine():
    """By the common mechanism: all directions, errors as of the line through nine optima."""
    law = fit_learning_rate(runs(GRID), 60, 0)
    found = law.identifiability
    assert (found.rank, found.constants, found.undetermined) == (3, 3, ())
    spread = np.std(np.log(SIZES))
    assert found.relative_se["p"] == pytest.approx(0.1 / (3 * spread), rel=1e-6)
    assert found.condition < 2 and not law.flags
    (batch,) = [fit_batch(runs(GRID), 60, 0).identifiability]
    assert set(batch.relative_se) == {"c", "q"}


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
