"""The envelope of curves: closed forms of its crossings, its doubts, and when it is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from fit_examples import config, isoflop_rows, observations, write_csv
from fit_schema import problems

from configs.files import to_json
from scaling.fit.cells import plural
from scaling.fit.envelope import fit_envelope
from scaling.fit.fit import fit
from scaling.fit.laws import PUBLISHED
from scaling.fit.staircase import Trace, hull_points, smoothed, stairs_of

SURFACE = PUBLISHED["besiroglu"]
SIZES = 1e8 * 2.0 ** np.arange(8)


def traces(sizes=SIZES, horizons=(400.0,), rate=lambda n: 6 * n, settled=0.0, sigma=0.0, seed=0):
    """Curves of a surface, 400 rows each, 1000 steps apart, from a tenth of a token a parameter."""
    rng = np.random.default_rng(seed)
    found = []
    for n in sizes:
        for horizon in horizons:
            tokens = np.geomspace(0.1 * n, horizon * n, 400)
            loss = SURFACE.predict_loss(n, tokens) + sigma * rng.standard_normal()
            step = 1000.0 * np.arange(1, 401)
            end = settled * tokens[-1]
            found.append(Trace(f"{n:g}-{horizon:g}", n, rate(n), step, tokens, loss, end))
    return found


def finals(curves):
    return observations(
        [
            {
                "params": t.params,
                "tokens": t.tokens[-1],
                "loss": t.loss[-1],
                "flops": t.tokens[-1] * t.flops_per_token,
            }
            for t in curves
        ]
    )


def fitted(curves, n_bootstrap=0):
    return fit_envelope(curves, finals(curves), n_bootstrap, 0)


def test_two_sizes_cross_where_the_closed_form_says():
    stairs = stairs_of(traces(), budgets=20_000)
    log_c, log_n, _ = (row[0] for row in stairs.crossings(np.ones((1, 8), dtype=bool)))
    alpha, beta, s = SURFACE.alpha, SURFACE.beta, np.sqrt(2.0)
    ratio = SURFACE.B / SURFACE.A * np.sinh(beta * np.log(s)) / np.sinh(alpha * np.log(s))
    middle = np.exp(log_n)
    assert middle == pytest.approx(SIZES[:-1] * s)
    expected = 6 * middle ** (1 / SURFACE.a) * ratio ** (1 / beta)
    # The grid's spacing is 7e-4, and curves are straight between rows a fiftieth apart.
    assert np.abs(log_c - np.log(expected)).max() < 2e-3


def test_the_exponents_are_those_of_the_surface():
    law = fitted(traces()).law
    assert law.estimates["a"].value == pytest.approx(SURFACE.a, abs=1e-3)
    assert law.estimates["b"].value == pytest.approx(SURFACE.b, abs=1e-3)
    n = law.estimates["n_coef"].value * 1e20 ** law.estimates["a"].value
    assert n == pytest.approx(SURFACE.optimal_allocation(1e20)[0], rel=0.01)
    assert law.status == "ok"


def test_a_and_b_need_not_add_up_to_one():
    # C = 6 k N^0.9 D: at the optimum D ~ N^(alpha/beta), so C ~ N^(0.9 + alpha/beta).
    law = fitted(traces(rate=lambda n: 6 * 10 * n**0.9)).law
    slope = SURFACE.alpha / SURFACE.beta
    assert law.estimates["a"].value == pytest.approx(1 / (0.9 + slope), abs=1e-3)
    assert law.estimates["b"].value == pytest.approx(slope / (0.9 + slope), abs=1e-3)


def test_least_squares_on_a_staircase_is_flat_by_one_over_its_steps_squared():
    # Four sizes whose curves are flat and rule one decade each: k equal whole steps.
    decades = []
    for j in range(4):
        tokens = 10.0 ** np.linspace(0, 4, 4001)
        loss = np.where(tokens <= 10.0 ** (j + 1), 3.0 - 0.1 * j, 4.0)
        loss = np.where(tokens < 10.0**j, 5.0, loss)
        step = 1000.0 * np.arange(4001)
        decades.append(Trace(str(j), 10.0**j, 1.0, step, tokens, loss, 0.0))
    details = fitted(decades).law.details["methods"]
    assert details["crossings"]["a"]["value"] == pytest.approx(1.0, abs=2e-3)
    assert details["budgets"]["a"]["value"] == pytest.approx(1 - 1 / 16, abs=2e-3)


def test_the_settled_share_is_that_of_the_last_tenth_of_each_schedule():
    curves = []
    for j in range(4):
        tokens = 10.0 ** np.linspace(j, j + 1, 101)
        step = 1000.0 * np.arange(101)
        curves.append(Trace(str(j), 2.0**j, 1.0, step, tokens, np.full(101, 3.0 - j / 9), 0.0))
    whole = stairs_of(curves)
    winners = whole.winners(np.ones((1, 4), dtype=bool))[0]
    assert whole.settled_share(winners) == 1.0
    late = stairs_of(
        [Trace(**{**vars(t), "settled_from": 0.9 * t.tokens[-1]}) for t in curves], budgets=40_000
    )
    winners = late.winners(np.ones((1, 4), dtype=bool))[0]
    assert late.settled_share(winners) == pytest.approx(np.log10(1 / 0.9), abs=1e-3)
    # No two of them were ever trained at one budget, so nothing was compared.
    reason = fitted(curves).law.reason
    assert reason is not None and "that were both trained at 0 budgets" in reason


def test_unfinished_schedules_are_flagged_and_predict_nothing():
    found = fitted(traces(settled=0.9))
    assert [flag.code for flag in found.law.flags] == ["unsettled_schedule"]
    assert found.law.details["settled_share"] < 0.1
    assert found.line is None
    assert fitted(traces()).line is not None


@pytest.mark.parametrize("count", [1, 2, 3])
def test_too_few_sizes_are_refused(count):
    law = fitted(traces(SIZES[:count])).law
    assert law.status == "refused"
    assert f"curves of {plural(count, 'size')}; 4 are needed" in str(law.reason)


def test_an_envelope_of_one_or_two_runs_is_refused():
    better = []
    for index, one in enumerate(traces()):
        loss = np.full(400, 2.0 if index in (2, 3) else 9.0)
        tokens = np.geomspace(1e18, 1e22, 400) / (6 * one.params)
        better.append(Trace(**{**vars(one), "tokens": tokens, "loss": loss - np.log(tokens) / 99}))
    reason = str(fitted(better).law.reason)
    assert reason == "the envelope is made of 1 run alone: 4e+08-400"


def test_no_curves_are_refused():
    law = fit_envelope([], finals(traces()), 0, 0).law
    assert str(law.reason).startswith("no training curves")


def test_intervals_hold_the_truth_and_failed_resamples_are_counted():
    curves = traces(horizons=(20.0, 80.0, 200.0, 400.0), sigma=0.003, seed=1)
    law = fitted(curves, 300).law
    low, high = law.estimates["a"].ci90
    assert low < SURFACE.a < high
    assert law.details["failed_resamples"] == 0
    few = fitted(traces(SIZES[:4]), 300).law
    # Three crossings of four runs: any resample that leaves out a run fails, 1 - 4!/4^4 of them.
    assert few.status == "refused"
    assert "resamples have no answer" in str(few.reason)


def test_noisy_curves_give_back_the_exponent_and_no_interval_is_too_narrow():
    """Thirty studies of eight sizes at four horizons, each run with an error of its own."""
    found = []
    for seed in range(30):
        curves = traces(horizons=(20.0, 80.0, 200.0, 400.0), sigma=0.003, seed=seed)
        found.append(fitted(curves).law.estimates["a"].value)
    scatter = np.std(found, ddof=1)
    assert np.mean(found) == pytest.approx(SURFACE.a, abs=3 * scatter / np.sqrt(30))
    stated = [
        fitted(traces(horizons=(20.0, 80.0, 200.0, 400.0), sigma=0.003, seed=seed), 200)
        for seed in range(2)
    ]
    assert min(one.law.estimates["a"].se for one in stated) > scatter


def test_a_resample_is_the_fit_of_the_runs_drawn():
    curves = traces(horizons=(30.0, 400.0), sigma=0.01)
    stairs = stairs_of(curves)
    drawn = np.array([True, False] * 8)
    drawn[3] = True
    part = stairs_of([t for t, there in zip(curves, drawn, strict=True) if there])
    of_all = stairs.crossings(drawn[None])[0][0]
    of_part = part.crossings(np.ones((1, len(part.traces)), dtype=bool))[0][0]
    step = stairs.log_c[1] - stairs.log_c[0]
    assert np.array_equal(np.isfinite(of_all), np.isfinite(of_part))
    assert np.nanmax(np.abs(of_all - of_part)) < 2 * step


def test_the_hull_of_final_points_follows_the_optimum():
    rows = isoflop_rows(SURFACE, np.geomspace(1e17, 1e21, 9), np.geomspace(1 / 4, 4, 33))
    runs = observations(rows)
    log_c, log_n, log_d = (row[0] for row in hull_points(runs, np.ones((1, len(runs)), dtype=bool)))
    on_hull = np.isfinite(log_n)
    assert on_hull.sum() >= 9
    best = np.log(SURFACE.optimal_allocation(np.exp(log_c[on_hull]))[0])
    assert np.abs(log_n[on_hull] - best).max() < 0.1
    assert np.allclose((log_n + log_d)[on_hull], (log_c - np.log(6))[on_hull])


def test_smoothing_is_a_gaussian_of_ten_steps():
    step = np.arange(100.0)
    assert smoothed(step, np.full(100, 3.0)) == pytest.approx(np.full(100, 3.0))
    assert smoothed(step, step)[5:-5] == pytest.approx(step[5:-5])
    spike = smoothed(step, (step == 50) * 1.0)
    weights = np.exp(-0.5 * (np.arange(-5, 6) / 2.5) ** 2)
    assert spike[45:56] == pytest.approx(weights / weights.sum())
    assert spike[:45].sum() == spike[56:].sum() == 0
    # Rows further apart than half the window are left as they are.
    noise = np.random.default_rng(0).standard_normal(100)
    assert np.array_equal(smoothed(6 * step, noise), noise)


def table(path, **counts):
    """The curves as rows; `counts` are further columns, as functions of the parameters."""
    rows = []
    for index, trace in enumerate(traces()):
        for step, tokens, loss in zip(trace.step, trace.tokens, trace.loss, strict=True):
            rows.append(
                {
                    "run_id": f"run-{index}",
                    "params": trace.params,
                    "tokens": tokens,
                    "step": step,
                    "loss": loss,
                    "is_final": int(tokens == trace.tokens[-1]),
                    "lr": 1e-3,
                    **{name: count(trace.params) for name, count in counts.items()},
                }
            )
    return write_csv(path, rows)


def test_a_curves_table_gets_the_law_in_fit_json(tmp_path):
    asked = config(f"runs={table(tmp_path / 'c.csv')}", "n_bootstrap=60", "predict.flops=[1e20]")
    found = fit(asked)
    document = found.document
    assert problems(json.loads(to_json(document))) == []
    law = document["laws"]["envelope"]
    assert law["settled_share"] == 1.0  # a constant learning rate leaves nothing unfinished
    assert law["a"]["value"] == pytest.approx(SURFACE.a, abs=2e-3)
    (row,) = (
        row for row in document["predictions"] if row["flops"] == 1e20 and row["law"] == "envelope"
    )
    n, d = SURFACE.optimal_allocation(1e20)
    assert row["n_opt"]["value"] == pytest.approx(n, rel=0.01)
    assert row["d_opt"]["value"] == pytest.approx(d, rel=0.01)
    assert found.curves["run-0"][-1]["step"] == 400_000


def test_another_count_of_parameters_moves_the_exponent_as_the_surface_says(tmp_path):
    # With N' = 3 N^g the loss falls as N'^-(alpha/g), and C = 6 N' D.
    g = 1.2
    path = table(tmp_path / "c.csv", params_total=lambda n: 3 * n**g)
    document = fit(config(f"runs={path}", "laws=[envelope]", "n_bootstrap=60")).document
    assert problems(json.loads(to_json(document))) == []
    (row,) = document["conventions"]
    assert (row["params"], row["flops"], row["law"]) == ("total", "6nd", "envelope")
    expected = SURFACE.beta / (SURFACE.alpha / g + SURFACE.beta)
    assert row["a"]["value"] == pytest.approx(expected, abs=2e-3)
    assert document["laws"]["envelope"]["a"]["value"] == pytest.approx(SURFACE.a, abs=2e-3)


def test_the_law_stands_alone_where_it_alone_is_asked_for(tmp_path):
    path = table(tmp_path / "c.csv")
    found = fit(config(f"runs={path}", "laws=[envelope]", "n_bootstrap=60"))
    assert list(found.document["laws"]) == ["envelope"]
    assert found.stands
    rows = [{"params": n, "tokens": 20 * n, "loss": 3.0} for n in SIZES]
    plain = write_csv(tmp_path / "p.csv", rows)
    found = fit(config(f"runs={plain}", "laws=[envelope]", "n_bootstrap=0"))
    assert found.document["laws"]["envelope"]["reason"].startswith("no training curves")
    assert not found.stands
    assert "envelope" not in fit(config(f"runs={plain}", "n_bootstrap=0")).document["laws"]


def test_excluded_runs_are_not_on_the_envelope(tmp_path):
    path = table(tmp_path / "c.csv")
    asked = config(f"runs={path}", "laws=[envelope]", "n_bootstrap=0", "exclude=[run-0,run-7]")
    law = fit(asked).document["laws"]["envelope"]
    assert law["curves"] == 6
    assert len(law["crossings"]) == 5


@pytest.mark.needs_reference
def test_the_olmo_ladder_is_flagged_as_unfinished(reference_dir: Path):
    path = reference_dir / "olmo_ladder_curves.csv"
    asked = config(f"runs={path}", "where.role=train", "laws=[envelope]", "n_bootstrap=400")
    law = fit(asked).document["laws"]["envelope"]
    codes = {flag["code"] for flag in law["flags"]}
    assert law["status"] == "flagged"
    assert {"unsettled_schedule", "few_budgets", "wide_interval"} <= codes
    assert len(law["crossings"]) == 3 and law["curves"] == 16
    # Least squares on the staircase would give about 0.28 and an interval of 0.05.
    assert law["methods"]["budgets"]["a"]["value"] < law["a"]["ci95"][0]
